//! A log that ends anywhere gives the state after some change, and an opening makes up for what is missing.

use std::{collections::BTreeMap, fs};

use orlop_engine::index::Index;

use crate::common::*;

/// A store with its history in the log only, and its rows after each change.
async fn with_history() -> (Parts, BTreeMap<u64, Rows>) {
    let parts = Parts::new();
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    let mut states = BTreeMap::from([(sequence(&*parts.index), rows(&*parts.index))]);
    history(&engine, || {
        states.insert(sequence(&*parts.index), rows(&*parts.index));
    })
    .await;
    engine.close().await.expect("closed");
    states.insert(sequence(&*parts.index), rows(&*parts.index));
    (parts, states)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_gives_the_index_again() {
    let (parts, _) = with_history().await;
    parts.assert_rebuilds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_at_any_byte_gives_the_state_after_some_change() {
    let (parts, states) = with_history().await;
    let log = logs(&parts.journal).pop().expect("a log");
    let whole = fs::read(&log).expect("readable");
    let mut reached = 0;
    for cut in 0..=whole.len() {
        fs::write(&log, &whole[..cut]).expect("written");
        let (rebuilt, report) = parts.rebuild_unchecked(&parts.journal, false).await;
        assert!(report.is_clean(), "cut to {cut} bytes: {report:?}");
        assert_eq!(Some(&rows(&*rebuilt)), states.get(&report.sequence), "cut to {cut} bytes");
        assert!(report.sequence >= reached, "more of the log gives a later state");
        reached = report.sequence;
    }
    assert_eq!(Some(&reached), states.keys().last());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_log_was_cut_gets_a_new_base() {
    let (mut parts, _) = with_history().await;
    let log = logs(&parts.journal).pop().expect("a log");
    let whole = fs::read(&log).expect("readable");
    let (index, journal) = (parts.index.clone(), parts.copy("kept"));
    // Every byte of the last frames, and a sample of the rest.
    let tail = whole.len().saturating_sub(300);
    for cut in (0..tail).step_by(97).chain(tail..=whole.len()) {
        parts.index = index.crash(0).into();
        fs::remove_dir_all(&parts.journal).expect("removed");
        copy_directory(&journal, &parts.journal);
        fs::write(&log, &whole[..cut]).expect("written");
        // What the log says is synced was, unless the disk lied.
        forget_synced(&parts);
        let engine = parts.open().await;
        engine.journal_settled().await.expect("settled");
        assert!(engine.journal_is_whole());
        push(&engine, &namespace("later"), b"and it goes on").await;
        engine.close().await.expect("closed");
        parts.assert_rebuilds().await;
    }
}

/// The index as it was before the log was synced for the last time.
fn forget_synced(parts: &Parts) {
    use orlop_engine::index::{Changes, Durability, Table};
    let mut record = parts.index.get(Table::Meta, b"journal").expect("memory").expect("there is a journal");
    record[9..17].fill(0);
    let writes = vec![(Table::Meta, b"journal".to_vec(), Some(record))];
    parts.index.write(&Changes { conditions: vec![], writes }, Durability::Synced).expect("memory");
}

/// What was acknowledged is in the journal at that moment: a killed process loses nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_is_in_the_files_of_the_journal() {
    let parts = Parts::new();
    let engine = parts.open().await;
    engine.journal_settled().await.expect("settled");
    let mut copies = Vec::new();
    history(&engine, || {
        let copy = parts.copy(&format!("copy-{}", copies.len()));
        copies.push((copy, rows(&*parts.index)));
    })
    .await;
    engine.close().await.expect("closed");
    for (copy, expected) in copies {
        let (rebuilt, report) = parts.rebuild(&copy, false).await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(rows(&*rebuilt), expected);
    }
}
