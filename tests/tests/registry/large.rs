//! A blob larger than memory, in and out.

use http::Method;
use orlop_tests::{
    Io, Options, Registry, disk,
    http::{empty, request},
    repository::with_query,
    stream::{Large, drain},
};

const BLOB_BYTES: u64 = 10 << 30;

/// Of the whole process, index caches and buffer pools included.
const MEMORY_BYTES_MAX: u64 = 200 << 20;

/// 10 GiB stream in by PATCH and out by GET; the process stays small all the way.
#[tokio::test(flavor = "multi_thread")]
async fn ten_gibibytes_pass_through_little_memory() {
    disk::require_room(BLOB_BYTES + (2 << 30));
    let registry = Registry::start(Options::io(Io::Auto)).await;
    let repository = registry.repository("large");
    let session = repository.open_upload().await;
    let (body, sent) = Large::body(BLOB_BYTES);
    let session = repository.client.send(request(Method::PATCH, &session, body)).await.expect(202).location();
    let digest = sent.digest();
    repository.client.put(&with_query(&session, &format!("digest={digest}")), "").await.expect(201);

    let pull = request(Method::GET, &repository.blob_path(&digest), empty());
    let answer = repository.client.open(pull).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let received = drain(answer.into_body()).await.expect("the body ends where it should");
    assert_eq!(received, (BLOB_BYTES, digest));

    let peak = registry.memory_peak_bytes();
    assert!(peak < MEMORY_BYTES_MAX, "the process took {} MiB", peak >> 20);
    registry.finish();
}
