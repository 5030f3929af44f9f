//! The operators' paths to collection and scrub: who may use them, and what they answer.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use orlop_api::{
    Document, Maintenance, Operators, Policy,
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

    fn start_scrub(&self) -> bool {
        self.start_collection()
    }

    fn scrub(&self) -> Option<Document<'_>> {
        Some(Box::pin(async { Ok(self.collection()) }))
    }

    fn statistics(&self) -> Vec<Statistic> {
        vec![Statistic { name: "collection_runs", help: "Runs", kind: StatisticKind::Counter, value: 7, label: None }]
    }
}

/// Both paths follow the same rules.
const PATHS: [&str; 2] = ["/v2/_orlop/gc", "/v2/_orlop/scrub"];

async fn registry(operators: Operators) -> TestRegistry {
    let mut test = TestRegistry::with(Limits::default(), Policy { operators, ..Policy::default() }).await;
    test.registry = test.registry.clone().with_maintenance(Arc::new(Counting::default()));
    test
}

#[tokio::test]
async fn an_operator_starts_a_run_and_sees_what_it_did() {
    for path in PATHS {
        let test = registry(Operators::Anywhere).await;
        assert_eq!(test.get(path).await.text(), "{\"runs\":0}");
        let started = test.send("POST", path, &[], "").await;
        assert_eq!((started.status.as_u16(), started.text()), (202, "{\"runs\":1}"));
        assert_eq!(test.send("POST", path, &[], "").await.status, 409, "one is under way");
        assert_eq!(test.send("PUT", path, &[], "").await.status, 405);
        let answer = test.get(path).await;
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        assert!(test.get("/metrics").await.text().contains("orlop_collection_runs_total 7\n"));
    }
}

/// Requests of these tests have no peer, so they come from nowhere near.
#[tokio::test]
async fn others_are_refused() {
    for path in PATHS {
        for operators in [Operators::Loopback, Operators::Nowhere] {
            let test = registry(operators).await;
            for method in ["GET", "POST"] {
                let answer = test.send(method, path, &[], "").await;
                assert_eq!(answer.status, 403);
                assert!(answer.text().contains("DENIED"), "{}", answer.text());
            }
        }
        let anywhere = Policy { operators: Operators::Anywhere, ..Policy::default() };
        let without = TestRegistry::with(Limits::default(), anywhere).await;
        assert_eq!(without.get(path).await.status, 404, "nobody does it here");
    }
}
