//! Names, documents and edges: together or not at all.

use orlop_engine::{Batch, Edge, Error, Removal, What};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_and_its_old_target_stays() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let (first, second) = (document(&engine, &ns, "one").await, document(&engine, &ns, "two").await);
    let (one, two) = (*first.digest(), *second.digest());
    let _ = engine
        .commit(Batch::new(ns.clone()).document(first, b"t".to_vec(), vec![]).bind("latest", one))
        .await
        .expect("committed");
    assert_eq!(engine.resolve(&ns, "latest").await.expect("bound"), one);
    let batch = Batch::new(ns.clone()).document(second, b"t".to_vec(), vec![]).bind("latest", two).bind("v2", two);
    let _ = engine.commit(batch).await.expect("committed");
    assert_eq!(engine.resolve(&ns, "latest").await.expect("bound"), two);
    assert_eq!(pull(&engine, &ns, &one).await.expect("still there"), b"one");

    let names: Vec<String> =
        engine.names(&ns, None, 10).await.expect("listed").into_iter().map(|named| named.name).collect();
    assert_eq!(names, ["latest", "v2"]);
    let after: Vec<String> =
        engine.names(&ns, Some("latest"), 1).await.expect("listed").into_iter().map(|named| named.name).collect();
    assert_eq!(after, ["v2"]);

    let _ = engine.commit(Batch::new(ns.clone()).unbind("latest")).await.expect("unbound");
    assert!(matches!(engine.resolve(&ns, "latest").await, Err(Error::NotFound { what: What::Name })));
    assert!(is_missing(&engine.commit(Batch::new(ns.clone()).unbind("latest")).await));
    let _ = engine.commit(Batch::new(ns.clone()).remove(two, Removal::Always)).await.expect("removed");
    assert!(matches!(engine.resolve(&ns, "v2").await, Err(Error::NotFound { what: What::Name })));
    assert!(matches!(engine.resolve(&namespace("other"), "v2").await, Err(Error::NotFound { what: What::Namespace })));
    assert_eq!(engine.namespaces(None, 10).await.expect("listed"), ["app"]);
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_what_it_needs_changes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let absent = sha256(b"absent");
    let sealed = document(&engine, &ns, "doc").await;
    let doc = *sealed.digest();
    let batch = Batch::new(ns.clone()).bind("early", doc);
    assert!(matches!(engine.commit(batch).await, Err(Error::Missing { digest }) if digest == doc));
    let batch = Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![Edge::needs(absent)]).bind("latest", doc);
    assert!(matches!(engine.commit(batch).await, Err(Error::Missing { digest }) if digest == absent));
    assert!(is_missing(&engine.find(&ns, &doc).await));
    assert!(is_missing(&engine.resolve(&ns, "latest").await));

    let sealed = document(&engine, &ns, "doc").await;
    let batch = Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![Edge::needs_sparse(absent)]);
    let _ = engine.commit(batch).await.expect("declared sparse");
    let report = close_and_check(engine, root.path()).await;
    assert_eq!((report.members, report.edges), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_is_not_removed_unless_that_is_wanted() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let part = push(&engine, &ns, b"part").await;
    let sealed = document(&engine, &ns, "whole").await;
    let whole = *sealed.digest();
    let batch = Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![Edge::needs(part)]);
    let _ = engine.commit(batch).await.expect("committed");
    let refused = engine.commit(Batch::new(ns.clone()).remove(part, Removal::UnlessNeeded)).await;
    assert!(matches!(refused, Err(Error::Needed { digest, by }) if digest == part && by == whole));
    let _ = engine.commit(Batch::new(ns.clone()).remove(whole, Removal::UnlessNeeded)).await.expect("removed");
    let _ = engine.commit(Batch::new(ns.clone()).remove(part, Removal::UnlessNeeded)).await.expect("removed");
    let report = close_and_check(engine, root.path()).await;
    assert_eq!((report.members, report.edges, report.garbage), (0, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_listed_where_they_refer_to() {
    let root = tempfile::tempdir().expect("a directory");
    let (ns, other) = (namespace("app"), namespace("other"));
    let engine = open(root.path(), &real().remove(0)).await;
    let subject = sha256(b"not pushed yet");
    let mut expected = Vec::new();
    for at in 0..5 {
        let sealed = document(&engine, &ns, &format!("note {at}")).await;
        let digest = *sealed.digest();
        let payload = format!("payload {at}").into_bytes();
        let batch =
            Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![Edge::refers(subject, payload.clone())]);
        let _ = engine.commit(batch).await.expect("committed");
        expected.push((digest, payload));
    }
    expected.sort();
    let mut seen = Vec::new();
    while let Some(next) = engine
        .referring(&ns, &subject, seen.last().map(|(digest, _)| digest), 2)
        .await
        .expect("listed")
        .into_iter()
        .next()
    {
        seen.push((next.digest, next.payload));
    }
    assert_eq!(seen, expected);
    assert!(engine.referring(&other, &subject, None, 10).await.expect("listed").is_empty());
    let _ = engine.commit(Batch::new(ns.clone()).remove(expected[0].0, Removal::Always)).await.expect("removed");
    assert_eq!(engine.referring(&ns, &subject, None, 10).await.expect("listed").len(), 4);
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_bound_at_once_all_appear() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..64 {
        let (engine, ns) = (engine.clone(), ns.clone());
        tasks.spawn(async move {
            for round in 0..10 {
                let sealed = document(&engine, &ns, &format!("{at}/{round}")).await;
                let digest = *sealed.digest();
                let batch = Batch::new(ns.clone())
                    .document(sealed, b"t".to_vec(), vec![])
                    .bind("shared", digest)
                    .bind(format!("own-{at}"), digest);
                let _ = engine.commit(batch).await.expect("committed");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    assert_eq!(engine.names(&ns, None, 1000).await.expect("listed").len(), 65);
    let statistics = engine.statistics();
    assert!(statistics.commit_syncs < statistics.commits, "640 commits by 64 writers share syncs: {statistics:?}");
    close_and_check(engine, root.path()).await;
}
