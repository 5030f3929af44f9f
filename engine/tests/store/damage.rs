//! Bytes that changed behind the store's back are never handed out, and a push heals them.

use std::{fs, path::PathBuf};

use orlop_engine::{Digest, Error};

use crate::common::*;

pub fn file_of(root: &std::path::Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
}

enum Harm {
    Flip(usize),
    Truncate(u64),
    Extend,
    Remove,
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_reported_and_healed_for_everybody() {
    for options in real() {
        for harm in [
            Harm::Flip(0),
            Harm::Flip(700_000),
            Harm::Flip(999_999),
            Harm::Truncate(0),
            Harm::Truncate(500_000),
            Harm::Extend,
            Harm::Remove,
        ] {
            let root = tempfile::tempdir().expect("a directory");
            let (ns, other) = (namespace("app"), namespace("other"));
            let engine = open(root.path(), &options).await;
            let bytes = content(11, 1_000_000);
            let digest = push(&engine, &ns, &bytes).await;
            push(&engine, &other, &bytes).await;
            let path = file_of(root.path(), &digest);
            let mut stored = fs::read(&path).expect("readable");
            let extended = matches!(harm, Harm::Extend);
            match harm {
                Harm::Flip(at) => {
                    stored[at] ^= 0x10;
                    fs::write(&path, stored).expect("written");
                }
                Harm::Truncate(len) => {
                    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(len)).expect("cut")
                }
                Harm::Extend => fs::write(&path, [stored.as_slice(), b"more"].concat()).expect("written"),
                Harm::Remove => fs::remove_file(&path).expect("removed"),
            }
            match pull(&engine, &ns, &digest).await {
                Ok(pulled) => assert!(extended && pulled == bytes, "wrong bytes were handed out"),
                Err(error) => {
                    assert!(matches!(error, Error::Damaged { .. } | Error::NotFound { .. }), "{error}");
                    assert!(is_missing(&engine.find(&ns, &digest).await), "known damage answers as not found");
                    assert!(is_missing(&engine.open_blob(&other, &digest).await), "in every namespace");
                    push(&engine, &other, &bytes).await;
                    assert_eq!(pull(&engine, &ns, &digest).await.expect("healed"), bytes);
                    assert_eq!(pull(&engine, &other, &digest).await.expect("healed"), bytes);
                    close_and_check(engine, root.path()).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_the_damage_is_served() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let bytes = content(12, 1_000_000);
    let digest = push(&engine, &ns, &bytes).await;
    let path = file_of(root.path(), &digest);
    let mut stored = fs::read(&path).expect("readable");
    stored[900_000] ^= 1;
    fs::write(&path, stored).expect("written");
    let part = pull_range(&engine, &ns, &digest, 10..100_000).await.expect("sound chunks");
    assert_eq!(part, bytes[10..100_000]);
    assert!(pull_range(&engine, &ns, &digest, 899_000..901_000).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_what_is_wrong() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let options = real().remove(0);
    let engine = open(root.path(), &options).await;
    let (flipped, missing) =
        (push(&engine, &ns, &content(1, 200_000)).await, push(&engine, &ns, &content(2, 200_000)).await);
    engine.close().await.expect("closed");
    drop(engine);
    let path = file_of(root.path(), &flipped);
    let mut stored = fs::read(&path).expect("readable");
    stored[5] ^= 1;
    fs::write(&path, stored).expect("written");
    fs::remove_file(file_of(root.path(), &missing)).expect("removed");
    let leftover = file_of(root.path(), &sha256(b"never complete"));
    fs::create_dir_all(leftover.parent().expect("a shard")).expect("made");
    fs::write(&leftover, "never comp").expect("written");
    fs::write(root.path().join("blobs/sha256/note.txt"), "foreign").expect("written");
    fs::create_dir_all(root.path().join("uploads")).expect("made");
    fs::write(root.path().join("uploads/0123"), "unknown").expect("written");
    let report = orlop_engine::check::check(root.path()).await.expect("the checker runs");
    let mut invariants: Vec<u8> = report.findings.iter().map(|finding| finding.invariant).collect();
    invariants.sort_unstable();
    assert_eq!(invariants, [1, 2, 3, 7], "{report}");
}

/// What a file system without a journal may leave of a directory that was just made.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_a_directory_is_moved_aside() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        let engine = open(root.path(), &options).await;
        let (first, second) = (content(71, 3_000_000), content(72, 3_000_000));
        let kept = push(&engine, &ns, &first).await;
        close_and_check(engine, root.path()).await;
        let path = file_of(root.path(), &sha256(&second));
        let place = path.parent().expect("a shard");
        assert!(!place.exists(), "the other content is in another shard");
        std::fs::write(place, "of somebody").expect("written");

        let engine = open(root.path(), &options).await;
        assert_eq!(close_and_check(engine, root.path()).await.unreferenced, 1, "counted, and no harm");
        let engine = open(root.path(), &options).await;
        let digest = push(&engine, &ns, &second).await;
        assert!(pull(&engine, &ns, &digest).await.expect("pulled") == second);
        assert!(pull(&engine, &ns, &kept).await.expect("pulled") == first);
        let stray = place.with_extension("stray");
        assert_eq!(std::fs::read(stray).expect("it is still there"), b"of somebody");
        assert_eq!(close_and_check(engine, root.path()).await.unreferenced, 1);
    }
}
