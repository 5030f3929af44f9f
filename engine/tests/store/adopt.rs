//! Files of other trees: linked, never copied, never written, and never trusted.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use orlop_engine::{Adoption, Batch, Digest, Engine, Error, Moment, Namespace, Removal, Taken, io::Linked};

use crate::{common::*, damage::file_of};

/// A file beside the store, on the same file system.
fn foreign(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    path
}

async fn adopt(
    engine: &Engine,
    ns: &Namespace,
    digest: Digest,
    path: &Path,
    adoption: Adoption,
) -> orlop_engine::Result<Taken> {
    let adopted = engine.adopt(digest, File::open(path).expect("opens"), adoption).await?;
    let _ = engine.commit(Batch::new(ns.clone()).blob(adopted.sealed)).await?;
    Ok(adopted.taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_a_second_name_and_stays_what_it_is() {
    for options in real() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        let (ns, other) = (namespace("app"), namespace("other"));
        let engine = open(&root, &options).await;
        // More than one read of the file, and an odd end.
        let bytes = content(3, 2_500_001);
        let digest = sha256(&bytes);
        let path = foreign(directory.path(), "file", &bytes);
        let before = fs::metadata(&path).expect("there");
        assert_eq!(adopt(&engine, &ns, digest, &path, Adoption::Link).await.expect("adopted"), Taken::Linked);

        let (after, stored) =
            (fs::metadata(&path).expect("there"), fs::metadata(file_of(&root, &digest)).expect("there"));
        assert_eq!((stored.ino(), stored.nlink(), stored.mode()), (before.ino(), 2, before.mode()));
        assert_eq!((after.mtime_nsec(), after.blocks()), (before.mtime_nsec(), before.blocks()));
        assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
        assert_eq!(pull_range(&engine, &ns, &digest, 2_000_000..2_500_001).await.expect("pulled"), bytes[2_000_000..]);
        assert!(is_missing(&engine.find(&other, &digest).await), "only where it was put");

        // The store has it: whatever the file holds is not looked at.
        let wrong = foreign(directory.path(), "wrong", b"something else");
        assert_eq!(adopt(&engine, &other, digest, &wrong, Adoption::Link).await.expect("adopted"), Taken::Known);
        assert_eq!(pull(&engine, &other, &digest).await.expect("pulled"), bytes);

        // What leaves the store leaves the other tree alone.
        for ns in [&ns, &other] {
            let removal = Batch::new(ns.clone()).remove(digest, Removal::Always);
            let _ = engine.commit(removal).await.expect("removed");
        }
        assert_eq!(fs::read(&path).expect("readable"), bytes);
        close_and_check(engine, &root).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_content_is_inline_and_copies_are_files_of_their_own() {
    for options in real() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        let ns = namespace("app");
        let engine = open(&root, &options).await;
        for (name, len) in [("empty", 0), ("small", 1), ("limit", 64 << 10)] {
            let bytes = content(5, len);
            let path = foreign(directory.path(), name, &bytes);
            let taken = adopt(&engine, &ns, sha256(&bytes), &path, Adoption::Link).await.expect("adopted");
            assert_eq!(taken, Taken::Inline, "{name}");
            assert_eq!(fs::metadata(&path).expect("there").nlink(), 1);
            assert_eq!(pull(&engine, &ns, &sha256(&bytes)).await.expect("pulled"), bytes);
        }
        let bytes = content(6, 3_000_000);
        let path = foreign(directory.path(), "copied", &bytes);
        let taken = adopt(&engine, &ns, sha256(&bytes), &path, Adoption::Copy).await.expect("adopted");
        assert_eq!(taken, Taken::Copied);
        let stored = fs::metadata(file_of(&root, &sha256(&bytes))).expect("there");
        assert_ne!(stored.ino(), fs::metadata(&path).expect("there").ino());
        assert_eq!(pull(&engine, &ns, &sha256(&bytes)).await.expect("pulled"), bytes);
        close_and_check(engine, &root).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_another_digest_or_is_no_plain_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    let ns = namespace("app");
    let engine = open(&root, &real().remove(0)).await;
    for len in [10, 100_000] {
        let bytes = content(7, len);
        let path = foreign(directory.path(), "file", &bytes);
        let mut wrong = bytes.to_vec();
        wrong[len / 2] ^= 1;
        for adoption in [Adoption::Link, Adoption::Copy] {
            let refused = adopt(&engine, &ns, sha256(&wrong), &path, adoption).await;
            assert!(
                matches!(refused, Err(Error::DigestMismatch { found, .. }) if found == sha256(&bytes)),
                "{refused:?}"
            );
        }
        assert_eq!(fs::read(&path).expect("readable"), bytes);
    }
    let bytes = content(8, 100_000);
    let path = foreign(directory.path(), "writable", &bytes);
    let writable = File::options().read(true).write(true).open(&path).expect("opens");
    for file in [writable, File::open(directory.path()).expect("opens")] {
        let refused = engine.adopt(sha256(&bytes), file, Adoption::Link).await;
        assert!(matches!(refused, Err(Error::Unreadable { .. })), "{:?}", refused.err());
    }
    let report = close_and_check(engine, &root).await;
    assert_eq!((report.blobs, report.unreferenced), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_system_is_said_and_only_a_copy_helps() {
    let directory = tempfile::tempdir_in("/dev/shm").expect("memory as a file system");
    let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let root = store.path().join("root");
    let ns = namespace("app");
    let engine = open(&root, &real().remove(0)).await;
    let bytes = content(9, 200_000);
    let path = foreign(directory.path(), "file", &bytes);
    let refused = adopt(&engine, &ns, sha256(&bytes), &path, Adoption::Link).await;
    assert!(matches!(refused, Err(Error::CannotLink { .. })), "{refused:?}");
    assert!(is_missing(&engine.find(&ns, &sha256(&bytes)).await));
    let taken = adopt(&engine, &ns, sha256(&bytes), &path, Adoption::Copy).await.expect("adopted");
    assert_eq!(taken, Taken::Copied);
    assert_eq!(pull(&engine, &ns, &sha256(&bytes)).await.expect("pulled"), bytes);
    close_and_check(engine, &root).await;
}

/// Whoever writes to the file in place damages the store, which notices, and a push heals it
/// without a write to the other tree.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_place_is_damage_and_a_push_heals_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    let ns = namespace("app");
    let engine = open(&root, &real().remove(0)).await;
    let bytes = content(10, 300_000);
    let digest = sha256(&bytes);
    let path = foreign(directory.path(), "file", &bytes);
    adopt(&engine, &ns, digest, &path, Adoption::Link).await.expect("adopted");
    let mut changed = bytes.to_vec();
    changed[150_000] ^= 1;
    fs::write(&path, &changed).expect("written in place");

    let pulled = pull(&engine, &ns, &digest).await;
    assert!(matches!(pulled, Err(Error::Damaged { .. })), "{pulled:?}");
    let again = adopt(&engine, &ns, digest, &path, Adoption::Link).await;
    assert!(matches!(again, Err(Error::DigestMismatch { .. })), "{again:?}");
    push(&engine, &ns, &bytes).await;
    assert_eq!(pull(&engine, &ns, &digest).await.expect("healed"), bytes);
    assert_eq!(fs::read(&path).expect("readable"), changed);
    close_and_check(engine, &root).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_leaves_by_a_link_if_it_has_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (root, out) = (directory.path().join("root"), directory.path().join("out"));
    fs::create_dir(&out).expect("made");
    let ns = namespace("app");
    let engine = open(&root, &real().remove(0)).await;
    let (large, small) = (content(12, 100_000), content(13, 100));
    let (large_digest, small_digest) = (push(&engine, &ns, &large).await, push(&engine, &ns, &small).await);
    let target = Arc::new(File::open(&out).expect("opens"));
    let blob = engine.open_blob(&ns, &large_digest).await.expect("opens");
    assert_eq!(blob.link_into(&target, "one").await.expect("linked"), Some(Linked::New));
    assert_eq!(blob.link_into(&target, "one").await.expect("there"), Some(Linked::Exists));
    assert_eq!(fs::read(out.join("one")).expect("readable"), large);
    assert_eq!(fs::metadata(out.join("one")).expect("there").nlink(), 2);
    let blob = engine.open_blob(&ns, &small_digest).await.expect("opens");
    assert_eq!(blob.link_into(&target, "two").await.expect("inline"), None);
    let memory = tempfile::tempdir_in("/dev/shm").expect("memory as a file system");
    let elsewhere = Arc::new(File::open(memory.path()).expect("opens"));
    let blob = engine.open_blob(&ns, &large_digest).await.expect("opens");
    let root_device = fs::metadata(&root).expect("there").dev();
    if fs::metadata(memory.path()).expect("there").dev() != root_device {
        let refused = blob.link_into(&elsewhere, "one").await;
        assert!(matches!(refused, Err(Error::CannotLink { .. })), "{refused:?}");
    }
    close_and_check(engine, &root).await;
}

/// What comes from elsewhere can count as older than it is here, never as later.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_as_of_the_moment_that_is_said() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let now = engine.clock();
    let old = Moment { unix_ms: 5, clock_ms: now.clock_ms - 1000 };
    let future = Moment { unix_ms: 7, clock_ms: now.clock_ms + 1_000_000_000 };
    let sealed = document(&engine, &ns, "one").await;
    let digest = *sealed.digest();
    let batch = Batch::new(ns.clone()).as_of(old).document(sealed, b"t".to_vec(), vec![]);
    let batch = batch.bind("old", digest).as_of(future).bind("future", digest);
    let _ = engine.commit(batch).await.expect("committed");
    let _ = engine.commit(Batch::new(ns.clone()).bind("now", digest)).await.expect("committed");

    let names = engine.names_used(&ns, None, 10).await.expect("listed");
    let bound = |name: &str| names.iter().find(|used| used.name == name).expect("bound").bound;
    assert_eq!(bound("old"), old);
    assert_eq!(bound("future").unix_ms, 7);
    let (first, second) = (bound("future").clock_ms, bound("now").clock_ms);
    assert!((now.clock_ms..=second).contains(&first), "{first} is later than {second}");
    assert_eq!(engine.document_use(&ns, &digest).await.expect("there").since_clock_ms, old.clock_ms);

    let listed = engine.documents(&ns, None, 10).await.expect("listed");
    assert_eq!((listed.0.len(), listed.0[0].digest, listed.1), (1, digest, None));
    close_and_check(engine, root.path()).await;
    let engine = open(root.path(), &real().remove(0)).await;
    assert!(engine.clock().clock_ms < now.clock_ms + 1_000_000, "the clock did not follow");
    close_and_check(engine, root.path()).await;
}
