//! Pulls of documents: counted in memory, written down in bulk, gone with the document.

use std::time::Duration;

use orlop_engine::{Batch, Digest, Engine, Error, Namespace, Options, Removal, Survey, Usage};

use crate::common::*;

/// Nothing is written down unless a test asks for it.
fn quiet() -> Options {
    Options { usage_flush: Duration::from_secs(3600), ..real().remove(0) }
}

async fn push_document(engine: &Engine, ns: &Namespace, text: &str, name: &str) -> Digest {
    let sealed = document(engine, ns, text).await;
    let digest = *sealed.digest();
    let batch = Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![]).bind(name, digest);
    let _ = engine.commit(batch).await.expect("committed");
    digest
}

async fn usage(engine: &Engine, ns: &Namespace, digest: &Digest) -> Usage {
    engine.document_use(ns, digest).await.expect("a document").usage
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_are_counted_without_a_write_for_each() {
    let root = tempfile::tempdir().expect("a directory");
    let (ns, other) = (namespace("app"), namespace("other"));
    let engine = open(root.path(), &quiet()).await;
    let digest = push_document(&engine, &ns, "one", "v1").await;
    push_document(&engine, &other, "one", "v1").await;
    let plain = push(&engine, &ns, b"plain content").await;
    let commits = engine.statistics().commits;
    for _ in 0..10_000 {
        engine.note_pull(&ns, &digest);
    }
    engine.note_pull(&ns, &plain);
    engine.note_pull(&ns, &sha256(b"never pushed"));
    assert_eq!(engine.statistics().commits, commits);
    assert_eq!(usage(&engine, &ns, &digest).await, Usage::default());

    engine.record_pulls().await.expect("recorded");
    let used = usage(&engine, &ns, &digest).await;
    let pulled = used.pulled.expect("pulled");
    assert_eq!(used.pulls, 10_000);
    assert!(pulled.clock_ms <= engine.clock().clock_ms);
    assert_eq!(usage(&engine, &other, &digest).await, Usage::default(), "each namespace counts for itself");
    assert!(is_missing(&engine.document_use(&ns, &plain).await), "plain content is no document");
    let statistics = engine.statistics();
    assert_eq!((statistics.pulls_noted, statistics.pulls_recorded, statistics.pulls_lost), (10_002, 10_002, 0));
    assert!(statistics.commits <= commits + 3, "{statistics:?}");

    engine.note_pull(&ns, &digest);
    engine.record_pulls().await.expect("recorded");
    assert_eq!(usage(&engine, &ns, &digest).await.pulls, 10_001);
    let names = engine.names_used(&ns, None, 10).await.expect("listed");
    assert_eq!((names[0].name.as_str(), names[0].digest, names[0].usage.pulls), ("v1", digest, 10_001));
    assert!(is_missing(&engine.names_used(&namespace("none"), None, 10).await));
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_writes_pulls_down_and_a_survey_reads_them() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &quiet()).await;
    let digest = push_document(&engine, &ns, "one", "v1").await;
    engine.note_pull(&ns, &digest);
    let before = engine.clock().clock_ms;
    assert!(matches!(Survey::open(root.path()), Err(Error::InUse { .. })));
    close_and_check(engine, root.path()).await;

    let survey = Survey::open(root.path()).expect("nobody has it open");
    let names = survey.names_used(&ns, None, 10).expect("listed");
    assert_eq!((names.len(), names[0].usage.pulls), (1, 1));
    assert!(names[0].bound.clock_ms <= before);
    let closed_at = survey.clock_ms().expect("read");
    assert!(closed_at >= before, "{closed_at} {before}");
    drop(survey);

    let engine = open(root.path(), &quiet()).await;
    assert!(engine.clock().clock_ms >= closed_at, "the clock never goes back");
    assert_eq!(usage(&engine, &ns, &digest).await.pulls, 1);
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_gone_has_no_row_and_gets_none() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &quiet()).await;
    let digest = push_document(&engine, &ns, "one", "v1").await;
    engine.note_pull(&ns, &digest);
    engine.record_pulls().await.expect("recorded");
    engine.note_pull(&ns, &digest);
    let _ = engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await.expect("removed");
    engine.record_pulls().await.expect("recorded");
    assert!(is_missing(&engine.document_use(&ns, &digest).await));
    push_document(&engine, &ns, "one", "v1").await;
    assert_eq!(usage(&engine, &ns, &digest).await, Usage::default(), "it starts anew");
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_are_written_down_by_themselves() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &Options { usage_flush: Duration::from_millis(20), ..quiet() }).await;
    let digest = push_document(&engine, &ns, "one", "v1").await;
    engine.note_pull(&ns, &digest);
    let recorded = async {
        while usage(&engine, &ns, &digest).await.pulls == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), recorded).await.expect("written down");
    close_and_check(engine, root.path()).await;
}
