//! What the tests share: content from a seed, short ways to push and pull.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Engine, Error, IndexKind, Namespace, Options, Result, check, io::Backend,
};

pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a valid namespace")
}

/// Bytes that depend on the seed at every offset.
pub fn content(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

pub fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

pub fn options(backend: Backend, index: IndexKind) -> Options {
    Options { backend, index, upload_settle: Duration::from_millis(100), ..Options::default() }
}

/// Every backend this machine has, each with the index of a real store.
pub fn real() -> Vec<Options> {
    vec![options(Backend::Threads, IndexKind::Rocks), options(Backend::Ring, IndexKind::Rocks)]
}

pub async fn open(root: &Path, options: &Options) -> Engine {
    Engine::open(root, options.clone()).await.expect("the store opens")
}

/// Pushes through an upload session, in pieces of `piece` bytes.
pub async fn push_pieces(engine: &Engine, ns: &Namespace, content: &[u8], piece: usize, digest: &Digest) -> Result<()> {
    let id = engine.begin(ns, digest.algorithm()).await?;
    let mut upload = engine.resume(ns, id).await?;
    for piece in content.chunks(piece) {
        upload.append(piece).await?;
    }
    let sealed = upload.seal(digest).await?;
    let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await?;
    Ok(())
}

pub async fn push(engine: &Engine, ns: &Namespace, content: &[u8]) -> Digest {
    let digest = sha256(content);
    push_pieces(engine, ns, content, 100_000, &digest).await.expect("pushed");
    digest
}

pub async fn pull(engine: &Engine, ns: &Namespace, digest: &Digest) -> Result<Vec<u8>> {
    let blob = engine.open_blob(ns, digest).await?;
    let size = blob.size();
    pull_range(engine, ns, digest, 0..size).await
}

pub async fn pull_range(
    engine: &Engine,
    ns: &Namespace,
    digest: &Digest,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>> {
    let mut reader = engine.open_blob(ns, digest).await?.read(range);
    let mut bytes = Vec::new();
    while let Some(part) = reader.next().await {
        bytes.extend_from_slice(&part?);
    }
    Ok(bytes)
}

pub async fn document(engine: &Engine, ns: &Namespace, text: &str) -> orlop_engine::Sealed {
    let _ = ns;
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    engine.seal_bytes(sha256(text.as_bytes()), bytes).await.expect("sealed")
}

pub fn is_missing<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::NotFound { .. }))
}

/// Closes the engine and runs the offline checker.
pub async fn close_and_check(engine: Engine, root: &Path) -> check::Report {
    engine.close().await.expect("closed");
    drop(engine);
    let report = check::check(root).await.expect("the checker runs");
    assert!(report.is_clean(), "{report}");
    report
}
