//! Damage of the journal and of content: everything else comes back, the tables agree with each
//! other, and the damage is told.

use std::{fs, path::PathBuf};

use orlop_engine::{
    Error,
    index::{Changes, Durability, Index, Table},
    io::{Disk, StorePath},
};

use crate::common::*;

/// Bytes between two places that are damaged in turn; not a divisor of any record's length.
const STRIDE: usize = 13;

async fn damage_everywhere(parts: &Parts, path: &PathBuf) -> u64 {
    let whole = fs::read(path).expect("readable");
    let (mut told, all) = (0, rows(&*parts.index).len());
    for at in (0..whole.len()).step_by(STRIDE) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(path, damaged).expect("written");
        // Compares the tables with each other, whatever is left.
        let (rebuilt, report) = parts.rebuild(&parts.journal, false).await;
        let is_same = rows(&*rebuilt) == rows(&*parts.index);
        assert!(is_same || !report.is_clean() || rows(&*rebuilt).len() < all, "byte {at}: {report:?}");
        told += u64::from(!report.is_clean());
    }
    fs::write(path, whole).expect("written");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_gives_everything_but_the_change_that_was_hit() {
    let parts = Parts::new();
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    history(&engine, || {}).await;
    engine.close().await.expect("closed");
    let log = logs(&parts.journal).pop().expect("a log");
    let whole = fs::read(&log).expect("readable");
    let told = damage_everywhere(&parts, &log).await;
    // All but the last frames: behind those there is nothing that would show that they are missing.
    assert!(told as usize > whole.len() / STRIDE * 3 / 4, "{told} of {} told", whole.len() / STRIDE);
    parts.assert_rebuilds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_base_is_told() {
    let parts = Parts::new();
    let engine = parts.open_without().await;
    history(&engine, || {}).await;
    engine.close().await.expect("closed");
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    let part = base_parts(&parts.journal).pop().expect("a part");
    let whole = fs::read(&part).expect("readable");
    let told = damage_everywhere(&parts, &part).await;
    assert_eq!(told as usize, whole.len().div_ceil(STRIDE), "every damage is told");

    // Cut, or gone as a whole.
    for len in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&part, &whole[..len]).expect("written");
        let (_, report) = parts.rebuild(&parts.journal, false).await;
        assert!(!report.is_clean(), "cut to {len} bytes");
    }
    fs::write(&part, &whole).expect("written");
    parts.assert_rebuilds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_missing_or_wrong_is_known_as_damaged_and_healed_by_a_push() {
    let mut parts = Parts::new();
    let engine = parts.open().await;
    let (ns, other) = (namespace("a"), namespace("b"));
    let (missing, kept) = (push(&engine, &ns, &content(1)).await, push(&engine, &ns, &content(3)).await);
    push(&engine, &other, &content(1)).await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    let hex = missing.hex();
    let path = StorePath::root().join("blobs").join("sha256").join(&hex[..2]).join(&hex);
    parts.disk.unlink(&path).await.expect("removed");
    orlop_engine::io::sync_directory(&parts.disk, &path.parent()).await.expect("synced");

    let (rebuilt, report) = parts.rebuild(&parts.journal, false).await;
    assert_eq!((report.damaged, report.findings.len()), (1, 1), "{report:?}");
    assert!(report.findings[0].contains("missing"), "{report:?}");
    parts.index = rebuilt;
    let engine = parts.open().await;
    for ns in [&ns, &other] {
        assert!(matches!(engine.find(ns, &missing).await, Err(Error::NotFound { .. })));
    }
    push(&engine, &other, &content(1)).await;
    for (ns, digest, number) in [(&ns, &missing, 1), (&other, &missing, 1), (&ns, &kept, 3)] {
        let blob = engine.open_blob(ns, digest).await.expect("there");
        assert_eq!(blob.bytes(1 << 20).await.expect("readable"), content(number));
    }
    // A rebuilt index gets a journal of its own.
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    parts.assert_rebuilds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nothing_speaks_of_stay() {
    let parts = Parts::new();
    let engine = parts.open().await;
    push(&engine, &namespace("a"), &content(1)).await;
    engine.journal_settled().await.expect("settled");
    // The last second before the machine stopped is missing in the journal, and then the index is lost.
    let journal = parts.copy("before");
    let unknown = push(&engine, &namespace("a"), &content(3)).await;
    engine.close().await.expect("closed");
    let (_, report) = parts.rebuild(&journal, true).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.blobs, report.unknown_files, report.unknown_bytes), (1, 1, content(3).len() as u64));
    let hex = unknown.hex();
    let shard = StorePath::root().join("blobs").join("sha256").join(&hex[..2]);
    assert!(parts.disk.list(&shard).await.expect("memory").iter().any(|entry| entry.name == hex));
}

/// Bytes with the right digest are what was pushed, whatever the record says of their parts.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_checksums_of_right_bytes_are_made_again() {
    let mut parts = Parts::new();
    let engine = parts.open_without().await;
    let ns = namespace("a");
    let pushed = [push(&engine, &ns, &content(1)).await, push(&engine, &ns, &content(2)).await];
    engine.close().await.expect("closed");
    let mut changes = Changes::default();
    for (key, mut record) in parts.index.snapshot().scan(Table::Blobs, &[], None, 10).expect("memory") {
        // The checksum of the only chunk ends the record.
        *record.last_mut().expect("not empty") ^= 1;
        changes.writes.push((Table::Blobs, key, Some(record)));
    }
    parts.index.write(&changes, Durability::Synced).expect("memory");
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");

    let (rebuilt, report) = parts.rebuild_unchecked(&parts.journal, false).await;
    assert!(report.is_clean(), "only reading the bytes can tell: {report:?}");
    drop(rebuilt);
    let (rebuilt, report) = parts.rebuild(&parts.journal, true).await;
    assert_eq!((report.damaged, report.findings.len()), (0, 2), "{report:?}");
    assert!(report.findings.iter().all(|finding| finding.contains("made again from its bytes")), "{report:?}");
    parts.index = rebuilt;
    let engine = parts.open().await;
    for (digest, number) in pushed.iter().zip(1..) {
        let blob = engine.open_blob(&ns, digest).await.expect("there");
        assert_eq!(blob.bytes(1 << 20).await.expect("readable"), content(number));
    }
    engine.close().await.expect("closed");
}
