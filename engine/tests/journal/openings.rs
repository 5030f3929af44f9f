//! Openings of a store whose index and journal do not agree, and what happens when the journal cannot
//! be written.

use std::fs;

use orlop_engine::{
    Batch,
    index::{Index, Table},
};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_before_there_was_a_journal_gets_one() {
    let parts = Parts::new();
    let engine = parts.open_without().await;
    history(&engine, || {}).await;
    engine.close().await.expect("closed");
    for _ in 0..2 {
        let engine = parts.open().await;
        engine.journal_settled().await.expect("settled");
        assert!(engine.journal_is_whole());
        push(&engine, &namespace("later"), &content(2)).await;
        engine.close().await.expect("closed");
        parts.assert_rebuilds().await;
        // Opened in between by a version without one: what it does is not in the log.
        let index = parts.index.clone();
        let writes = vec![(Table::Meta, b"journal".to_vec(), None)];
        let changes = orlop_engine::index::Changes { conditions: vec![], writes };
        index.write(&changes, orlop_engine::index::Durability::Synced).expect("memory");
        let engine = parts.open_without().await;
        push(&engine, &namespace("between"), &content(4)).await;
        engine.close().await.expect("closed");
    }
}

/// A power cut takes changes from the index that the log has: they are cut off, and what comes after is
/// not mixed up with them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_index_lost_is_cut_off_the_log() {
    for seed in 0..6 {
        let mut parts = Parts::new();
        let engine = parts.open().await;
        history(&engine, || {}).await;
        engine.journal_settled().await.expect("settled");
        // Pulls and removals of collection are not synced by themselves.
        for number in 0..4 {
            engine.note_pull(&namespace("a"), &digest_of(b"second"));
            engine.record_pulls().await.expect("recorded");
            assert!(sequence(&*parts.index) > number);
        }
        // The process and the machine end here; what the operating system had of the log is there.
        let (index, journal) = (parts.index.crash(seed), parts.copy("cut"));
        engine.close().await.expect("closed");
        let before = sequence(&index);
        (parts.index, parts.journal) = (index.into(), journal);

        let engine = parts.open().await;
        assert!(engine.journal_is_whole(), "seed {seed}: nothing is missing, so no base is needed");
        push(&engine, &namespace("later"), &content(6)).await;
        assert_eq!(sequence(&*parts.index), before + 1, "seed {seed}");
        engine.journal_settled().await.expect("settled");
        engine.close().await.expect("closed");
        parts.assert_rebuilds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_from_a_copy_or_a_journal_that_is_gone_begins_anew() {
    let mut parts = Parts::new();
    let engine = parts.open().await;
    push(&engine, &namespace("a"), &content(0)).await;
    let old = parts.index.crash(0);
    history(&engine, || {}).await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    parts.index = old.into();
    for journal_is_gone in [false, true] {
        if journal_is_gone {
            fs::remove_dir_all(&parts.journal).expect("removed");
        }
        let engine = parts.open().await;
        push(&engine, &namespace("later"), &content(2)).await;
        engine.journal_settled().await.expect("settled");
        engine.close().await.expect("closed");
        parts.assert_rebuilds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_longer_than_its_base_is_replaced() {
    let parts = Parts::new();
    let options = orlop_engine::Options { inline_bytes_max: 1 << 20, ..Default::default() };
    let disk = std::sync::Arc::new(parts.disk.clone());
    let engine = orlop_engine::Engine::simulated_with_journal(disk, parts.index.clone(), &parts.journal, options).await;
    let engine = engine.expect("opens");
    engine.journal_settled().await.expect("settled");
    let written = engine.statistics().journal_bases;
    let ns = namespace("a");
    // More than the smallest log that is replaced; what is deleted again is not in the base.
    for number in 0..70_u64 {
        let bytes = bytes::Bytes::from(number.to_le_bytes().repeat((1 << 20) / 8));
        let digest = digest_of(&bytes);
        let sealed = engine.seal_bytes(digest, bytes).await.expect("sealed");
        let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
    }
    // Each waits for one round of the keeper, which writes a base when it finds the log too long.
    while engine.statistics().journal_bases == written {
        engine.journal_settled().await.expect("settled");
    }
    engine.close().await.expect("closed");
    let log_bytes: u64 = logs(&parts.journal).iter().map(|log| fs::metadata(log).expect("there").len()).sum();
    assert!(log_bytes < 32 << 20, "{log_bytes} bytes of log are left");
    parts.assert_rebuilds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_written_stops_nothing_and_is_made_whole_by_the_next_opening() {
    let parts = Parts::new();
    let engine = parts.open().await;
    history(&engine, || {}).await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    let engine = parts.open().await;
    // No new file can be begun there.
    let aside = parts.scratch.path().join("aside");
    fs::rename(&parts.journal, &aside).expect("moved");
    fs::write(&parts.journal, "not a directory").expect("written");
    push(&engine, &namespace("later"), &content(1)).await;
    push(&engine, &namespace("later"), &content(2)).await;
    assert_eq!(engine.statistics().journal_failures, 1);
    assert!(!engine.journal_is_whole());
    assert!(engine.journal_settled().await.is_err());
    assert_eq!(parts.index.get(Table::Meta, b"journal").expect("memory"), None);
    engine.close().await.expect("closed");
    fs::remove_file(&parts.journal).expect("removed");
    fs::rename(&aside, &parts.journal).expect("moved back");
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
    parts.assert_rebuilds().await;
}
