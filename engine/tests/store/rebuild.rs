//! Stores on disk whose index is gone: refused, rebuilt, and as they were.

use std::{fs, path::Path};

use orlop_engine::{
    Batch, Edge, Engine, Error, Options, check,
    rebuild::{self, Report},
};

use crate::{common::*, damage::file_of};

async fn rebuild_with(root: &Path, options: rebuild::Options) -> orlop_engine::Result<Report> {
    rebuild::rebuild(root, options, &mut |_| {}).await
}

/// A store with files, inline content and a name, closed with a whole journal.
async fn filled(root: &Path, options: &Options) {
    let engine = open(root, options).await;
    let ns = namespace("app");
    let part = push(&engine, &ns, &content(1, 200_000)).await;
    push(&engine, &namespace("other"), &content(2, 300)).await;
    let sealed = document(&engine, &ns, "a document").await;
    let digest = *sealed.digest();
    let batch = Batch::new(ns).document(sealed, b"type".to_vec(), vec![Edge::needs(part)]).bind("v1", digest);
    let _ = engine.commit(batch).await.expect("committed");
    engine.journal_settled().await.expect("settled");
    engine.close().await.expect("closed");
}

async fn assert_serves(root: &Path, options: &Options) {
    let engine = open(root, options).await;
    let ns = namespace("app");
    let digest = engine.resolve(&ns, "v1").await.expect("the name is there");
    assert_eq!(pull(&engine, &ns, &digest).await.expect("the document"), b"a document");
    assert_eq!(pull(&engine, &ns, &sha256(&content(1, 200_000))).await.expect("a file"), content(1, 200_000));
    let other = namespace("other");
    assert_eq!(pull(&engine, &other, &sha256(&content(2, 300))).await.expect("inline"), content(2, 300));
    assert!(is_missing(&engine.find(&other, &digest).await), "nothing of another namespace");
    engine.journal_settled().await.expect("settled");
    close_and_check(engine, root).await;
}

fn assert_names_the_command(result: Result<impl Sized, Error>) {
    match result {
        Err(Error::Store { reason, .. }) => assert!(reason.contains("orlop rebuild"), "{reason}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("a store without its index was taken for an empty one"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_refused_and_made_again() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        filled(root, &options).await;
        // Twice: a rebuilt store gets a journal of its own.
        for _ in 0..2 {
            fs::remove_dir_all(root.join("index")).expect("removed");
            assert_names_the_command(Engine::open(root, options.clone()).await);
            assert_names_the_command(check::check(root).await);
            fs::create_dir_all(root.join("uploads")).expect("made");
            fs::write(root.join("uploads/0123"), "of a session that is gone").expect("written");

            let report = rebuild_with(root, rebuild::Options { verify: true, ..Default::default() }).await;
            let report = report.expect("rebuilt");
            assert!(report.is_clean(), "{report:?}");
            assert_eq!((report.blobs, report.members, report.names, report.edges), (3, 3, 1, 1));
            assert_eq!((report.namespaces, report.uploads_dropped, report.unknown_files), (2, 1, 0));
            let checked = check::check(root).await.expect("the checker runs");
            assert!(checked.is_clean(), "{checked}");
            assert_serves(root, &options).await;
        }
    }
}

/// The journal has had no time for anything in the background.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_lost_at_once_is_made_again() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        let engine = open(root, &options).await;
        let ns = namespace("app");
        let digest = push(&engine, &ns, &content(1, 200_000)).await;
        engine.close().await.expect("closed");
        drop(engine);
        fs::remove_dir_all(root.join("index")).expect("removed");
        let report = rebuild_with(root, rebuild::Options::default()).await.expect("rebuilt");
        assert!(report.is_clean(), "{report:?}");
        let engine = open(root, &options).await;
        assert_eq!(pull(&engine, &ns, &digest).await.expect("the blob"), content(1, 200_000));
        close_and_check(engine, root).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_there_is_only_moved_aside_when_asked() {
    let root = tempfile::tempdir().expect("a directory");
    let (root, options) = (root.path(), real().remove(0));
    filled(root, &options).await;
    let refused = rebuild_with(root, rebuild::Options::default()).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    // Damage of the index: it does not open, and nobody wants to lose what may be salvaged.
    fs::remove_file(root.join("index/CURRENT")).expect("removed");
    assert_names_the_command(Engine::open(root, options.clone()).await);
    // A crash in the middle of an earlier attempt left something.
    fs::create_dir(root.join("index.new")).expect("made");
    fs::write(root.join("index.new/CURRENT"), "half").expect("written");
    let replace = rebuild::Options { replace: true, ..Default::default() };
    for number in 1..=2 {
        rebuild_with(root, replace).await.expect("rebuilt");
        assert!(root.join(format!("index.old-{number}")).exists());
        assert!(!root.join("index.new").exists());
    }
    assert_serves(root, &options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_store_and_one_without_a_journal_are_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let (root, options) = (root.path(), real().remove(0));
    filled(root, &options).await;
    let engine = open(root, &options).await;
    let replace = rebuild::Options { replace: true, ..Default::default() };
    let refused = rebuild_with(root, replace).await;
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    engine.close().await.expect("closed");
    drop(engine);

    // The base is gone: what is left of the log is only brought back when asked.
    let journal = root.join("journal");
    fs::remove_dir_all(root.join("index")).expect("removed");
    for entry in fs::read_dir(&journal).expect("readable").map(|entry| entry.expect("readable")) {
        if entry.file_name().to_string_lossy().starts_with("base-") {
            fs::remove_dir_all(entry.path()).expect("removed");
        }
    }
    let refused = rebuild_with(root, rebuild::Options::default()).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    let report = rebuild_with(root, rebuild::Options { partial: true, ..Default::default() }).await;
    assert!(!report.expect("rebuilt").is_clean(), "the missing base is told");

    fs::remove_dir_all(root.join("index")).expect("removed");
    fs::remove_dir_all(&journal).expect("removed");
    assert!(file_of(root, &sha256(&content(1, 200_000))).exists());
    assert_names_the_command(Engine::open(root, options).await);
    let refused = rebuild_with(root, replace).await;
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
}

/// An empty root is no lost index, whatever directories it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_is_not_taken_for_a_lost_one() {
    let root = tempfile::tempdir().expect("a directory");
    let (root, options) = (root.path(), real().remove(0));
    open(root, &options).await.close().await.expect("closed");
    fs::remove_dir_all(root.join("index")).expect("removed");
    fs::remove_dir_all(root.join("journal")).expect("removed");
    fs::create_dir_all(root.join("blobs/sha256/aa")).expect("made");
    open(root, &options).await.close().await.expect("closed");
}
