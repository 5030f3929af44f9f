//! The operators' path to collection: who may use it, and what it answers.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use orlop_api::{
    Maintenance, Operators, Policy,
    limits::Limits,
    metrics::{Statistic, StatisticKind},
};
use support::TestRegistry;

/// Counts the runs it was asked for; only the first is new.
#[derive(Default)]
struct Counting(AtomicU64);

impl Maintenance for Counting {
    fn start_collection(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn collection(&self) -> String {
        format!("{{\"runs\":{}}}", self.0.load(Ordering::Relaxed))
    }

    fn statistics(&self) -> Vec<Statistic> {
        vec![Statistic { name: "collection_runs", help: "Runs", kind: StatisticKind::Counter, value: 7, label: None }]
    }
}

const PATH: &str = "/v2/_orlop/gc";

async fn registry(operators: Operators) -> TestRegistry {
    let mut test = TestRegistry::with(Limits::default(), Policy { operators, ..Policy::default() }).await;
    test.registry = test.registry.clone().with_maintenance(Arc::new(Counting::default()));
    test
}

#[tokio::test]
async fn an_operator_starts_a_run_and_sees_what_it_did() {
    let test = registry(Operators::Anywhere).await;
    assert_eq!(test.get(PATH).await.text(), "{\"runs\":0}");
    let started = test.send("POST", PATH, &[], "").await;
    assert_eq!((started.status.as_u16(), started.text()), (202, "{\"runs\":1}"));
    assert_eq!(test.send("POST", PATH, &[], "").await.status, 409, "one is under way");
    assert_eq!(test.send("PUT", PATH, &[], "").await.status, 405);
    let answer = test.get(PATH).await;
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    assert!(test.get("/metrics").await.text().contains("orlop_collection_runs_total 7\n"));
}

/// Requests of these tests have no peer, so they come from nowhere near.
#[tokio::test]
async fn others_are_refused() {
    for operators in [Operators::Loopback, Operators::Nowhere] {
        let test = registry(operators).await;
        for method in ["GET", "POST"] {
            let answer = test.send(method, PATH, &[], "").await;
            assert_eq!(answer.status, 403);
            assert!(answer.text().contains("DENIED"), "{}", answer.text());
        }
    }
    let without = TestRegistry::with(Limits::default(), Policy { operators: Operators::Anywhere, ..Policy::default() });
    assert_eq!(without.await.get(PATH).await.status, 404, "nothing collects here");
}
