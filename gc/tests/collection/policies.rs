//! Policies and collection together: names go, and then what only they kept.

use std::{sync::Arc, time::Duration};

use orlop_engine::{Digest, Edge, Engine, Namespace};
use orlop_gc::{
    Clock, Collector, Options, Report, Runs, Schedule,
    retention::{Glob, KeepNames, NamePattern, Policy, Retention, Rules},
};

use crate::common::*;

/// Epochs for which documents stay after they lost what kept them: more than a lease.
const DOCUMENT_DELAY: u64 = LEASE + 2;

/// Of `a`, one name and the unnamed document that was pulled last stay; of `c`, everything.
fn retention(dry_run: bool) -> Arc<Retention> {
    let globs = |text| vec![Glob::new(text).expect("a glob")];
    let keep = KeepNames { patterns: vec![NamePattern::new("^keep$").expect("a pattern")], ..KeepNames::default() };
    let a = Policy {
        namespaces: globs("a"),
        delete_referring: true,
        keep_names: vec![keep],
        keep_unnamed: Some(Rules { pulled_count: Some(1), ..Rules::default() }),
        ..Policy::default()
    };
    let c = Policy { namespaces: globs("c"), delete_unnamed: false, ..Policy::default() };
    Arc::new(Retention { dry_run, policies: vec![a, c], ..Retention::default() })
}

/// One run of a collector that follows the policies. Its epochs are too long to begin by themselves.
async fn run(engine: &Engine, retention: Arc<Retention>) -> Report {
    let options = Options { delay: 0, document_delay: DOCUMENT_DELAY, ..Options::default() };
    let collector = Collector::governed(engine.clone(), options, retention);
    let clock = Clock::of_lease(Duration::from_secs(36_000));
    let background = collector.spawn(Schedule { clock, runs: Runs::Never, window: None });
    assert!(collector.start());
    let ended = async {
        while collector.status().runs == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the run ends");
    background.stop().await;
    let status = collector.status();
    assert_eq!(status.error, None);
    status.last.expect("a report")
}

/// Members in the order of their digests. Nobody is told of them, which would renew leases.
async fn members(engine: &Engine, ns: &Namespace) -> Vec<Digest> {
    let ns = ns.clone();
    engine.survey(move |view| view.members(&ns, 100)).await.expect("listed")
}

/// Bytes of `a`: its own sum, and what its quota and that of all count beside `others`.
async fn assert_bytes(engine: &Engine, bytes: u64, others: u64) {
    let sizes = engine.sizes().await.expect("read");
    assert_eq!(sizes.iter().find(|size| size.namespace == namespace("a")).map(|size| size.bytes), Some(bytes));
    let used: Vec<_> = engine.quotas().into_iter().map(|quota| (quota.prefix, quota.used_bytes)).collect();
    assert_eq!(used, [(String::new(), bytes + others), ("a".to_owned(), bytes)]);
}

fn sorted(mut digests: Vec<Digest>) -> Vec<Digest> {
    digests.sort();
    digests
}

#[tokio::test]
async fn policies_drop_names_and_collection_what_they_leave() {
    let parts = Parts::new(5);
    let engine = parts.open().await;
    engine.waive_earlier_answers();
    let [a, c, d] = ["a", "c", "d"].map(namespace);
    let document = async |ns, text: &str, edges, name| {
        push_document(&engine, ns, text.as_bytes(), edges, name).await.expect("pushed")
    };
    let (old_part, part) = (push(&engine, &a, &content(1)).await, push(&engine, &a, &content(2)).await);
    let (old_part, part) = (old_part.expect("pushed"), part.expect("pushed"));
    let old = document(&a, "old", vec![Edge::needs(old_part)], Some("old")).await;
    let note = document(&a, "note", vec![Edge::refers(old, Vec::new())], None).await;
    let kept = document(&a, "kept", vec![Edge::needs(part)], Some("keep")).await;
    let loose = document(&a, "loose", Vec::new(), None).await;
    let pulled = document(&a, "pulled", Vec::new(), None).await;
    engine.note_pull(&a, &pulled);
    let in_c = document(&c, "in c", Vec::new(), None).await;
    let in_d = document(&d, "in d", Vec::new(), None).await;
    let bytes_of = |texts: &[&str], contents: &[u64]| {
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        (texts + contents.iter().map(|number| content(*number).len()).sum::<usize>()) as u64
    };
    let all = bytes_of(&["old", "note", "kept", "loose", "pulled"], &[1, 2]);
    assert_bytes(&engine, all, 8).await;

    // The leases are over, the delay is not: only the name goes, and only if it is no dry run.
    advance(&engine, DOCUMENT_DELAY - 1).await;
    run(&engine, retention(true)).await;
    assert_eq!(engine.names(&a, None, 9).await.expect("listed").len(), 2);
    let report = run(&engine, retention(false)).await;
    assert!(report.is_empty(), "{report}");
    let names = engine.names(&a, None, 9).await.expect("listed");
    assert_eq!(names.into_iter().map(|named| named.name).collect::<Vec<_>>(), ["keep"]);

    // Over for what never had a name: what nobody pulled goes, but not where the rule says no.
    advance(&engine, 1).await;
    let rehearsed = run(&engine, retention(true)).await;
    assert!(rehearsed.is_empty() && rehearsed.is_complete && rehearsed.looked_at > 0, "{rehearsed}");
    assert_bytes(&engine, all, 8).await;
    let report = run(&engine, retention(false)).await;
    assert_eq!((report.removed.members, report.removed.namespaces), (2, 1), "{report}");
    assert_eq!(members(&engine, &a).await, sorted(vec![old_part, part, old, note, kept, pulled]), "not {loose}");
    assert_eq!(members(&engine, &c).await, [in_c]);
    assert!(members(&engine, &d).await.is_empty(), "not {in_d}");
    assert_bytes(&engine, all - 5, 4).await;

    // Over for what lost its name: it goes with what it needed and what refers to it.
    advance(&engine, DOCUMENT_DELAY - 1).await;
    let report = run(&engine, retention(false)).await;
    assert_eq!(report.removed.members, 3, "{report}");
    assert_eq!(members(&engine, &a).await, sorted(vec![part, kept, pulled]));
    assert_bytes(&engine, bytes_of(&["kept", "pulled"], &[2]), 4).await;

    engine.close().await.expect("closed");
    let checked = parts.check().await;
    assert_eq!((checked.members, checked.blobs), (4, 4), "{checked}");
}

/// Policies and times that change while it waits or runs: what is no longer wanted is not done.
#[tokio::test]
async fn other_terms_hold_from_the_moment_they_are_set() {
    let parts = Parts::new(6);
    let (engine, a) = (parts.open().await, namespace("a"));
    push_document(&engine, &a, b"document", Vec::new(), Some("old")).await.expect("pushed");
    let options = Options { delay: 0, document_delay: DOCUMENT_DELAY, ..Options::default() };
    let clock = Clock::of_lease(Duration::from_secs(36_000));
    let never = Schedule { clock, runs: Runs::Never, window: None };
    let collector = Collector::governed(engine.clone(), options.clone(), Arc::default());
    let background = collector.spawn(never);
    assert!(collector.start());
    ran(&collector, 1).await;
    assert!(engine.resolve(&a, "old").await.is_ok(), "there is no policy");

    // One that would drop the name, and at once another one that does not.
    let soon = Schedule { runs: Runs::Every(Duration::from_millis(1)), ..never };
    collector.change(options.clone(), retention(true), soon);
    ran(&collector, 2).await;
    assert!(engine.resolve(&a, "old").await.is_ok(), "it only says what it would do");

    collector.change(options.clone(), retention(false), soon);
    let dropped = async {
        while engine.resolve(&a, "old").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), dropped).await.expect("the policy holds");

    collector.change(options, retention(false), never);
    assert!(collector.start() || collector.status().running.is_some(), "on request it goes on");
    background.stop().await;
    assert_eq!(collector.status().error, None);
    engine.close().await.expect("closed");
    parts.check().await;
}

/// Waits until so many runs ended from now on.
async fn ran(collector: &Collector, more: u64) {
    let runs = collector.status().runs + more;
    let ended = async {
        while collector.status().runs < runs {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it runs");
}
