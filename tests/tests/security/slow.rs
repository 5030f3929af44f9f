//! Clients that take their time: to ask, to send, and to read.

use std::time::{Duration, Instant};

use orlop_tests::{
    Registry,
    repository::with_query,
    stream::{bytes, sha256},
};
use serde_json::json;
use tokio::{io::AsyncReadExt, task::JoinSet, time::interval};

use crate::common::{CONNECTIONS_DEFAULT, Wire, connections, limits, metric, within};

const HEADER_TIME: Duration = Duration::from_millis(1_000);

/// Slowloris. hyper without a timer has no header time-out, and says nothing: then this does not end.
#[tokio::test(flavor = "multi_thread")]
async fn heads_that_trickle_are_cut_however_many() {
    let header = u64::try_from(HEADER_TIME.as_millis()).expect("a second");
    let registry = Registry::start(limits(json!({ "headerTimeoutMs": header, "connectionsMax": 12_000 }))).await;
    let attackers = connections(CONNECTIONS_DEFAULT);
    let mut tasks = JoinSet::new();
    for number in 0..attackers {
        let mut wire = Wire::open(&registry).await;
        tasks.spawn(async move {
            let begin = Instant::now();
            // Half of them begin with nothing at all, so that only the clock of the first byte runs.
            if number % 2 == 0 {
                wire.send("GET /v2/ HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
            }
            let mut pace = interval(Duration::from_millis(100));
            let mut byte = [0];
            loop {
                tokio::select! {
                    _ = pace.tick() => if number % 2 == 0 { wire.send("x").await; },
                    // The end, or a reset: nothing is answered.
                    read = wire.stream.read(&mut byte) => break (begin.elapsed(), read.unwrap_or(0)),
                }
            }
        });
    }
    let client = registry.client();
    let mut served = 0;
    let mut last = Duration::ZERO;
    while !tasks.is_empty() {
        client.get("/v2/").await.expect(200);
        served += 1;
        while let Some(ended) = tasks.try_join_next() {
            let (elapsed, answered) = ended.expect("no panic");
            assert_eq!(answered, 0);
            last = last.max(elapsed);
        }
    }
    println!("{attackers} slow heads: all cut, the last after {last:?}; {served} requests served meanwhile");
    let line = "orlop_connection_ends_total{cause=\"header_timeout\"}";
    metric(&registry, line, |ended| ended == attackers as u64).await;
    registry.finish();
}

/// zot #4079: uploads were killed after a minute, whatever progress they made.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_on_may_take_any_time() {
    let limits = limits(json!({
        "headerTimeoutMs": 300, "idleTimeoutMs": 300, "stallTimeoutMs": 300, "progressWindowMs": 400,
        "progressBytesMin": 1000,
    }));
    let registry = Registry::start(limits).await;
    let repository = registry.repository("slow");
    let content = bytes(1, 100_000);
    let session = repository.open_upload().await;
    let digest = sha256(&content);
    let mut wire = Wire::open(&registry).await;
    let close = with_query(&session, &format!("digest={digest}"));
    wire.send(format!("PUT {close} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", content.len())).await;
    let mut pace = interval(Duration::from_millis(60));
    for chunk in content.chunks(2_500) {
        pace.tick().await;
        assert!(wire.send(chunk).await, "cut although it made progress");
    }
    assert_eq!(wire.reply().await.expect("an answer").status, 201);
    assert!(repository.blob(&digest).await.expect(200).body == content);
    registry.finish();
}

/// A body that stops is given up, and what arrived of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_is_given_up_and_can_go_on() {
    let registry = Registry::start(limits(json!({ "progressWindowMs": 300, "progressBytesMin": 1000 }))).await;
    let repository = registry.repository("stopped");
    let content = bytes(1, 100_000);
    let session = repository.open_upload().await;
    let mut wire = Wire::open(&registry).await;
    wire.send(format!("PATCH {session} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", content.len())).await;
    wire.send(&content[..40_000]).await;
    let reply = wire.reply().await.expect("an answer");
    assert_eq!(reply.status, 408);
    assert!(reply.head.contains("range: 0-39999\r\n"), "{reply:?}");
    assert!(wire.rest().await.is_empty(), "the connection is closed");
    let close = with_query(&session, &format!("digest={}", sha256(&content)));
    repository.client.put(&close, content.slice(40_000..)).await.expect(201);
    registry.finish();
}

/// Whoever reads nothing is cut; whoever reads slowly is served to the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_are_cut_and_slow_ones_are_served() {
    const BLOB_BYTES: usize = 24 << 20;
    let registry = Registry::start(limits(json!({ "stallTimeoutMs": 1_500 }))).await;
    let repository = registry.repository("readers");
    let content = bytes(1, BLOB_BYTES);
    let digest = repository.push(content.clone()).await;
    let get = format!("GET {} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", repository.blob_path(&digest));
    let mut stopped = Wire::open(&registry).await;
    stopped.send(&get).await;
    let mut slow = Wire::open(&registry).await;
    slow.send(&get).await;
    let mut received = Vec::new();
    let mut buffer = vec![0; 512 << 10];
    let mut pace = interval(Duration::from_millis(60));
    loop {
        pace.tick().await;
        let read = within(slow.stream.read(&mut buffer)).await.expect("the slow reader is served");
        if read == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..read]);
    }
    let head = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert!(received[head..] == content, "{} bytes came", received.len() - head);
    metric(&registry, "orlop_connection_ends_total{cause=\"stalled\"}", |ended| ended == 1).await;
    let rest = stopped.rest().await;
    assert!(!rest.is_empty() && rest.len() < BLOB_BYTES, "{} bytes", rest.len());
    registry.finish();
}

/// Pushes that trickle take nothing from a pull.
#[tokio::test(flavor = "multi_thread")]
async fn slow_pushes_leave_a_pull_alone() {
    const PULLS: usize = 20;
    let registry = Registry::start(limits(json!({ "connectionsMax": 12_000 }))).await;
    let repository = registry.repository("mixed");
    let content = bytes(1, 1 << 20);
    let digest = repository.push(content.clone()).await;
    let pulls = async || {
        let mut times = Vec::with_capacity(PULLS);
        for _ in 0..PULLS {
            let begin = Instant::now();
            assert!(repository.blob(&digest).await.expect(200).body == content);
            times.push(begin.elapsed());
        }
        times.sort();
        times[PULLS / 2]
    };
    let alone = pulls().await;
    let pushes = connections(CONNECTIONS_DEFAULT);
    let mut writers = JoinSet::new();
    for number in 0..pushes {
        let path = format!("/v2/slow/{number}/blobs/uploads/?digest={digest}");
        let mut wire = Wire::open(&registry).await;
        writers.spawn(async move {
            wire.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n")).await;
            let mut pace = interval(Duration::from_millis(200));
            loop {
                pace.tick().await;
                assert!(wire.send([b'x'; 300]).await, "a slow push was cut");
            }
        });
    }
    metric(&registry, "orlop_uploads_open", |open| open == pushes as u64).await;
    let beside = pulls().await;
    println!("a pull of 1 MiB: {alone:?} alone, {beside:?} beside {pushes} slow pushes");
    assert!(writers.try_join_next().is_none(), "no push was cut meanwhile");
    writers.shutdown().await;
    metric(&registry, "orlop_uploads_open", |open| open == 0).await;
    registry.finish();
}
