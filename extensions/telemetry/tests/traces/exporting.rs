//! What becomes of spans when the collector is not well, and that nobody else notices.

use http::Method;
use orlop_telemetry::{BATCH_SPANS_MAX, QUEUE_SPANS_MAX};
use orlop_tests::{Collector, collector::Mood};
use tokio::net::TcpListener;

use crate::rig::{Rig, expect};

async fn ask(rig: &Rig, requests: usize) {
    let mut client = rig.kept();
    for _ in 0..requests {
        expect(client.call(Method::GET, "/livez", "").await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let collector = Collector::start(Mood::Hangs).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    // The first batch is under way, and the queue is full behind it.
    ask(&rig, 1).await;
    collector.wait_for_requests(1).await;
    let requests = BATCH_SPANS_MAX + QUEUE_SPANS_MAX + 1000;
    ask(&rig, requests).await;
    assert!(rig.dropped("queue") > 0, "there is no room for all");
    assert_eq!(rig.exported(), 0);
    let (exported, dropped) = rig.stop().await;
    assert_eq!((exported, dropped), (0, requests as u64 + 1), "each is counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_answers_errors_or_is_not_there_costs_spans_and_nothing_else() {
    let collector = Collector::start(Mood::Answers(500)).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    ask(&rig, 10).await;
    rig.wait_for("the failure", |rig| rig.dropped("failed") == 10).await;
    collector.set(Mood::Takes);
    ask(&rig, 5).await;
    assert_eq!(collector.wait_for(5).await.len(), 5, "what comes later is not lost with it");
    rig.wait_for("the answer", |rig| rig.exported() == 5).await;
    assert_eq!(rig.stop().await, (5, 10));

    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("an address");
    let rig = Rig::start(&format!("http://{nobody}"), 1.0).await;
    ask(&rig, 10).await;
    assert_eq!(rig.stop().await, (0, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_for_a_moment_loses_nothing() {
    let collector = Collector::start(Mood::Answers(503)).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    ask(&rig, 10).await;
    collector.wait_for_requests(1).await;
    collector.set(Mood::Takes);
    assert_eq!(collector.wait_for(10).await.len(), 10);
    collector.set(Mood::Rejects(3));
    ask(&rig, 4).await;
    rig.wait_for("the rejection", |rig| rig.dropped("rejected") == 3).await;
    assert_eq!(rig.stop().await, (11, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_at_the_end_is_sent() {
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    ask(&rig, 700).await;
    assert_eq!(rig.stop().await, (700, 0));
    assert_eq!(collector.spans().len(), 700);
}
