//! Crashes at every operation of a collection, and every error of one: what is kept is there
//! afterwards, what goes is wholly gone or not at all, and the next collection ends what this one
//! began.

use std::sync::Arc;

use orlop_engine::{
    Batch, Digest, Edge, Engine, Error, Namespace, Result,
    index::{Index, Table},
    io::{Disk, StorePath},
};
use orlop_gc::{Flow, Options, Report, Rules};

use crate::common::*;

/// Crash states tried per crash point.
pub const STATES: u64 = 4;

pub fn rules() -> Options {
    let rules = Rules { delete_unnamed: true, delete_referring: true };
    Options { delay: 0, document_delay: 0, keep: Arc::new(rules), ..Options::default() }
}

/// What must stay, with its bytes.
pub type Kept = Vec<(Namespace, Digest, Vec<u8>)>;

/// Nested documents, shared and mounted content, referring documents, some of it named.
async fn fill(engine: &Engine) -> Result<Kept> {
    let (a, b) = (namespace("a"), namespace("b"));
    let mut kept = Kept::new();
    for (number, name) in [(1, Some("kept")), (2, None), (3, None)] {
        let parts = [content(number * 10), content(number * 10 + 1), content(7)];
        let mut edges = Vec::new();
        for part in &parts {
            edges.push(Edge::needs(push(engine, &a, part).await?));
        }
        let inner = push_document(engine, &a, &content(number * 100), edges, None).await?;
        let outer = content(number * 100 + 1);
        let outer_digest = push_document(engine, &a, &outer, vec![Edge::needs(inner)], name).await?;
        let refers = vec![Edge::refers(outer_digest, b"payload".to_vec())];
        let note = content(number * 100 + 2);
        let note_digest = push_document(engine, &a, &note, refers, None).await?;
        if name.is_some() {
            kept.extend(parts.iter().map(|part| (a.clone(), digest_of(part), part.to_vec())));
            kept.push((a.clone(), outer_digest, outer.to_vec()));
            kept.push((a.clone(), note_digest, note.to_vec()));
        }
    }
    // Content that goes here and stays there.
    let shared = content(21);
    let _ = engine.commit(Batch::new(b.clone()).mount(digest_of(&shared), vec![a.clone()])).await?;
    push_document(engine, &b, &content(500), vec![Edge::needs(digest_of(&shared))], Some("kept")).await?;
    kept.push((b, digest_of(&shared), shared.to_vec()));
    for number in [31, 41, 43, 45] {
        push(engine, &namespace("empty"), &content(number)).await?;
    }
    Ok(kept)
}

/// A store with garbage whose leases are over, open.
pub async fn filled(seed: u64) -> (Parts, Engine, Kept) {
    let parts = Parts::new(seed);
    let engine = parts.open().await;
    let kept = fill(&engine).await.expect("filled");
    advance(&engine, LEASE + 2).await;
    (parts, engine, kept)
}

pub async fn try_collect(engine: &Engine) -> Result<Report> {
    orlop_gc::collect(engine, &rules(), &mut |_: &Report| Flow::Continue(())).await
}

async fn verify(engine: &Engine, kept: &Kept) -> std::result::Result<(), String> {
    for (ns, digest, bytes) in kept {
        match pull(engine, ns, digest).await {
            Ok(pulled) if pulled == *bytes => {}
            Ok(_) => return Err(format!("{ns}: {digest} has wrong bytes")),
            Err(error) => return Err(format!("{ns}: {digest} must stay: {error}")),
        }
    }
    // The rest is whole or gone.
    for number in [10, 11, 7, 20, 21, 30, 31, 100, 101, 102, 200, 201, 202, 300, 301, 302] {
        match pull(engine, &namespace("a"), &digest_of(&content(number))).await {
            Ok(pulled) if pulled == content(number) => {}
            Ok(_) => return Err(format!("{number} has wrong bytes")),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(format!("{number} is neither there nor gone: {error}")),
        }
    }
    Ok(())
}

/// Opens what a crash left, checks it, ends the collection, and checks that nothing is left over.
pub async fn recover(parts: &Parts, kept: &Kept) -> std::result::Result<(), String> {
    for recovery in 1..=2 {
        let engine = parts.try_open().await.map_err(|error| format!("opening {recovery}: {error}"))?;
        verify(&engine, kept).await.map_err(|what| format!("opening {recovery}: {what}"))?;
        engine.close().await.map_err(|error| error.to_string())?;
        parts.check().await;
    }
    let engine = parts.open().await;
    advance(&engine, LEASE + 2).await;
    try_collect(&engine).await.map_err(|error| format!("the next collection: {error}"))?;
    verify(&engine, kept).await?;
    // What is stored again after all that is there.
    push(&engine, &namespace("a"), &content(31)).await.map_err(|error| format!("pushed again: {error}"))?;
    verify(&engine, &vec![(namespace("a"), digest_of(&content(31)), content(31).to_vec())]).await?;
    advance(&engine, LEASE + 2).await;
    try_collect(&engine).await.map_err(|error| format!("the last collection: {error}"))?;
    engine.close().await.map_err(|error| error.to_string())?;
    let report = parts.check().await;
    if report.unreferenced > 0 || report.garbage > 0 || report.members != 8 {
        return Err(format!("something is left over: {report}"));
    }
    Ok(())
}

/// The disk operations of the whole collection: from, to.
async fn operations() -> (u64, u64) {
    let (parts, engine, kept) = filled(0).await;
    let from = parts.disk.operations();
    let report = try_collect(&engine).await.expect("collects");
    assert!(report.removed.contents > 5, "{report}");
    let to = parts.disk.operations();
    verify(&engine, &kept).await.expect("the rest stays");
    engine.close().await.expect("closed");
    parts.check().await;
    (from, to)
}

async fn crash_states(parts: &Parts, kept: &Kept, at: &str) {
    for state in 0..STATES {
        let crashed = Parts {
            disk: parts.disk.crash(state),
            index: Arc::new(parts.index.crash(state)),
            options: parts.options.clone(),
        };
        let recovered = recover(&crashed, kept).await;
        recovered.unwrap_or_else(|what| panic!("{at}, state {state}: {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_disk_operation_loses_nothing_and_leaves_nothing() {
    let (from, to) = operations().await;
    assert!(to - from > 10, "the collection is worth crashing: {from} to {to}");
    for at in 0..=to - from {
        let (parts, engine, kept) = filled(at).await;
        parts.disk.crash_after(parts.disk.operations() + at);
        // Its end is the crash.
        let _ = try_collect(&engine).await;
        crash_states(&parts, &kept, &format!("disk operation {at} of {}", to - from)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_index_write_loses_nothing_and_leaves_nothing() {
    let mut at = 0;
    loop {
        let (parts, engine, kept) = filled(at).await;
        parts.index.fail_writes_after(at);
        let is_whole = try_collect(&engine).await.is_ok();
        crash_states(&parts, &kept, &format!("index write {at}")).await;
        if is_whole {
            break;
        }
        at += 1;
    }
    assert!(at >= 2, "what goes and what is forgotten of it: {at} writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_any_disk_operation_leaves_it_to_the_next_run() {
    let (from, to) = operations().await;
    for errno in [libc::EIO, libc::EBUSY, libc::EROFS] {
        for at in 0..to - from {
            let (parts, engine, kept) = filled(at).await;
            parts.disk.fail_at(parts.disk.operations() + at, errno);
            let _ = try_collect(&engine).await;
            engine.close().await.expect("closed");
            let recovered = recover(&parts, &kept).await;
            recovered.unwrap_or_else(|what| panic!("errno {errno} at disk operation {at}: {what}"));
        }
    }
}

/// A push that ended between placing its file and its commit.
#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_record_are_found_after_an_unclean_end() {
    let parts = Parts::new(1);
    let engine = parts.open().await;
    push(&engine, &namespace("a"), &content(1)).await.expect("pushed");
    parts.index.fail_writes_after(0);
    push(&engine, &namespace("a"), &content(3)).await.expect_err("the index is gone");
    // One of the states a crash may leave is that the failed batch did not reach the device.
    let lost = (0..).map(|state| parts.index.crash(state)).find(|index| index.estimate(Table::Blobs) == 1);
    let index = Arc::new(lost.expect("some state loses it"));
    let crashed = Parts { disk: parts.disk.clone(), index, options: parts.options.clone() };
    let engine = crashed.open().await;
    assert!(engine.may_have_orphans().await.expect("memory"));
    let report = collect(&engine, &rules()).await;
    assert_eq!(report.removed.contents, 1, "{report}");
    assert!(!engine.may_have_orphans().await.expect("memory"), "searched once");
    assert_eq!(pull(&engine, &namespace("a"), &digest_of(&content(1))).await.expect("stays"), content(1));
    engine.close().await.expect("closed");
    assert_eq!(crashed.check().await.unreferenced, 0);
}

/// A batch that is refused takes its file back at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_leaves_no_file() {
    let parts = Parts::new(1);
    let engine = parts.open().await;
    let missing = vec![Edge::needs(digest_of(b"missing"))];
    let refused = push_document(&engine, &namespace("a"), &content(3), missing, None).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
    let path = StorePath::root().join("blobs").join("sha256").join(&digest_of(&content(3)).hex()[..2]);
    assert_eq!(parts.disk.list(&path).await.expect("memory"), []);
    assert_eq!(parts.index.estimate(Table::Blobs), 0);
    engine.close().await.expect("closed");
    assert_eq!(parts.check().await.unreferenced, 0);
}
