//! What was pushed comes back, and only where it was pushed.

use std::sync::Arc;

use orlop_engine::{Algorithm, Batch, Digest, Engine, Error, Options, What, index::MemoryIndex, io::SimDisk};

use crate::common::*;

const SIZES: [usize; 11] = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1 << 20, (3 << 20) + 17, (9 << 20) + 4096];

#[tokio::test(flavor = "multi_thread")]
async fn content_of_every_size_comes_back_also_after_a_restart() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("team/app");
        let engine = open(root.path(), &options).await;
        let mut digests = Vec::new();
        for (seed, size) in SIZES.into_iter().enumerate() {
            let bytes = content(seed as u64, size);
            let digest = push(&engine, &ns, &bytes).await;
            assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes, "{size} bytes");
            digests.push(digest);
        }
        engine.close().await.expect("closed");
        drop(engine);
        let engine = open(root.path(), &options).await;
        for (seed, (size, digest)) in SIZES.into_iter().zip(&digests).enumerate() {
            assert_eq!(pull(&engine, &ns, digest).await.expect("pulled"), content(seed as u64, size));
        }
        let report = close_and_check(engine, root.path()).await;
        assert_eq!((report.blobs, report.unreferenced), (SIZES.len() as u64, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_range_is_exact() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("a");
        let engine = open(root.path(), &options).await;
        let bytes = content(7, 1_000_003);
        let digest = push(&engine, &ns, &bytes).await;
        for (start, end) in [(0, 0), (0, 1), (65_535, 65_537), (1_000_002, 1_000_003), (262_143, 524_289), (5, 999_999)]
        {
            let part = pull_range(&engine, &ns, &digest, start..end).await.expect("a range");
            assert_eq!(part, bytes[start as usize..end as usize], "{start}..{end}");
        }
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_names_content_also_one_that_was_not_announced() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("a");
        let engine = open(root.path(), &options).await;
        for size in [10, 200_000, 1_500_000] {
            for begun in Algorithm::ALL {
                for named in Algorithm::ALL {
                    let bytes = content(size as u64 + begun as u64 * 3 + named as u64, size);
                    let digest = Digest::of(named, &bytes);
                    let id = engine.begin(&ns, begun).await.expect("begun");
                    let mut upload = engine.resume(&ns, id).await.expect("resumed");
                    upload.append(&bytes).await.expect("appended");
                    let sealed = upload.seal(&digest).await.expect("sealed");
                    let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
                    assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
                }
            }
        }
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_refused_and_leave_nothing() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("a");
        let engine = open(root.path(), &options).await;
        for size in [10, 300_000] {
            let wanted = sha256(&content(1, size));
            let pushed = push_pieces(&engine, &ns, &content(2, size), 1 << 20, &wanted).await;
            assert!(matches!(pushed, Err(Error::DigestMismatch { expected, .. }) if expected == wanted));
            assert!(is_missing(&pull(&engine, &ns, &wanted).await));
        }
        assert_eq!(engine.uploads_open(), 0);
        let report = close_and_check(engine, root.path()).await;
        assert_eq!((report.blobs, report.unreferenced, report.uploads), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pushes_of_one_content_store_it_once() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let engine = open(root.path(), &options).await;
        let bytes = content(3, 2_000_000);
        let digest = sha256(&bytes);
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..32 {
            let (engine, bytes) = (engine.clone(), bytes.clone());
            tasks.spawn(
                async move { push_pieces(&engine, &namespace(&format!("n{at}")), &bytes, 70_000, &digest).await },
            );
        }
        while let Some(pushed) = tasks.join_next().await {
            pushed.expect("no panic").expect("pushed");
        }
        for at in 0..32 {
            assert_eq!(pull(&engine, &namespace(&format!("n{at}")), &digest).await.expect("pulled"), bytes);
        }
        assert_eq!(engine.statistics().blobs_stored, 1);
        let report = close_and_check(engine, root.path()).await;
        assert_eq!((report.blobs, report.bytes, report.members, report.unreferenced), (1, 2_000_000, 32, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_digest_that_is_stored_is_hashed_and_not_written() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let (first, second) = (namespace("first"), namespace("second"));
        // Long enough for several checkpoints, which bytes that are only hashed must survive.
        let options = Options { checkpoint_bytes: 100_000, ..options };
        let engine = open(root.path(), &options).await;
        let bytes = content(5, 700_000);
        let digest = push(&engine, &first, &bytes).await;

        let id = engine.begin(&second, Algorithm::Sha256).await.expect("begun");
        let mut upload = engine.resume(&second, id).await.expect("resumed");
        upload.announce(Some(700_000), Some(digest)).await.expect("announced");
        upload.append(&bytes[..500_000]).await.expect("appended");
        // The connection is lost: bytes that were only hashed do not count.
        assert_eq!(upload.suspend(), 0);
        let mut upload = engine.resume(&second, id).await.expect("resumed");
        upload.announce(None, Some(digest)).await.expect("announced");
        upload.append(&bytes[..699_999]).await.expect("appended");
        let short = upload.seal(&digest).await;
        assert!(matches!(short, Err(Error::DigestMismatch { .. })), "knowing the digest is not enough");
        assert!(is_missing(&engine.find(&second, &digest).await));

        let id = engine.begin(&second, Algorithm::Sha512).await.expect("begun");
        let mut upload = engine.resume(&second, id).await.expect("resumed");
        upload.announce(Some(700_000), Some(digest)).await.expect("announced");
        upload.append(&bytes).await.expect("appended");
        let sealed = upload.seal(&digest).await.expect("sealed");
        let _ = engine.commit(Batch::new(second.clone()).blob(sealed)).await.expect("committed");
        assert_eq!(pull(&engine, &second, &digest).await.expect("pulled"), bytes);
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_stored_content_share_little_memory_without_waiting_for_each_other_for_ever() {
    for hash_threads in [0, 1, 3] {
        let root = tempfile::tempdir().expect("a directory");
        // Less than one of them would like to have.
        let options = Options { hash_threads, upload_memory_bytes_max: 1 << 20, ..real().remove(0) };
        let engine = open(root.path(), &options).await;
        let bytes = content(6, 3_000_000);
        let digest = push(&engine, &namespace("first"), &bytes).await;
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..12 {
            let (engine, bytes, ns) = (engine.clone(), bytes.clone(), namespace(&format!("n{at}")));
            tasks.spawn(async move {
                let id = engine.begin(&ns, Algorithm::Sha256).await?;
                let mut upload = engine.resume(&ns, id).await?;
                upload.announce(Some(bytes.len() as u64), Some(digest)).await?;
                for piece in bytes.chunks(100_000) {
                    upload.append(piece).await?;
                }
                let sealed = upload.seal(&digest).await?;
                engine.commit(Batch::new(ns).blob(sealed)).await
            });
        }
        while let Some(pushed) = tasks.join_next().await {
            let _receipt = pushed.expect("no panic").expect("pushed");
        }
        let report = close_and_check(engine, root.path()).await;
        assert_eq!((report.blobs, report.members), (1, 13));
    }
}

#[tokio::test]
async fn stored_content_whose_digest_comes_last_is_not_written_either() {
    let disk = SimDisk::new(1);
    let index = Arc::new(MemoryIndex::default());
    let engine = Engine::simulated(Arc::new(disk.clone()), index, Options::default()).await.expect("opens");
    let (first, second) = (namespace("first"), namespace("second"));
    let bytes = content(11, 900_000);
    let digest = push(&engine, &first, &bytes).await;

    let before = disk.operations();
    let id = engine.begin(&second, Algorithm::Sha256).await.expect("begun");
    for (part, offset) in [(&bytes[..300_000], 300_000), (&bytes[300_000..], 900_000)] {
        let mut upload = engine.resume(&second, id).await.expect("resumed");
        upload.append(part).await.expect("appended");
        assert_eq!(upload.suspend(), offset);
    }
    let upload = engine.resume(&second, id).await.expect("resumed");
    let sealed = upload.seal(&digest).await.expect("sealed");
    let _ = engine.commit(Batch::new(second.clone()).blob(sealed)).await.expect("committed");
    assert_eq!(disk.operations(), before, "nothing was written");
    assert_eq!(engine.statistics().blobs_deduplicated, 1);
    assert_eq!(pull(&engine, &second, &digest).await.expect("pulled"), bytes);
    engine.close().await.expect("closed");
}

/// Bytes that wait in memory for their digest must not keep others from going on.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_share_little_memory_to_the_end() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let options = Options { upload_memory_bytes_max: 256 << 10, ..options };
        let engine = open(root.path(), &options).await;
        let pushes = (0..24).map(|number| {
            let engine = engine.clone();
            tokio::spawn(async move { push(&engine, &namespace("app"), &content(number, 700_000)).await })
        });
        for push in pushes.collect::<Vec<_>>() {
            let digest = push.await.expect("pushed");
            assert_eq!(engine.find(&namespace("app"), &digest).await.expect("there").size, 700_000);
        }
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_visible_only_in_its_namespaces() {
    let options = real().remove(0);
    let root = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (namespace("ours"), namespace("theirs"));
    let engine = open(root.path(), &options).await;
    let digest = push(&engine, &ours, b"secret").await;
    assert!(is_missing(&pull(&engine, &theirs, &digest).await));
    assert!(is_missing(&engine.find(&theirs, &digest).await));

    let from_nowhere = Batch::new(theirs.clone()).mount(digest, vec![namespace("elsewhere")]);
    assert!(matches!(engine.commit(from_nowhere).await, Err(Error::NotFound { what: What::Blob })));
    let _ = engine.commit(Batch::new(theirs.clone()).mount(digest, vec![ours.clone()])).await.expect("mounted");
    assert_eq!(pull(&engine, &theirs, &digest).await.expect("pulled"), b"secret");

    let remove = Batch::new(ours.clone()).remove(digest, orlop_engine::Removal::Always);
    let _ = engine.commit(remove).await.expect("removed");
    assert!(is_missing(&pull(&engine, &ours, &digest).await));
    assert_eq!(pull(&engine, &theirs, &digest).await.expect("pulled"), b"secret");
    // Without saying from where: anybody who holds it will do.
    let _ = engine.commit(Batch::new(ours.clone()).mount(digest, Vec::new())).await.expect("mounted");
    assert_eq!(pull(&engine, &ours, &digest).await.expect("pulled"), b"secret");
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_a_foreign_directory_are_refused() {
    let options = real().remove(0);
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &options).await;
    let second = orlop_engine::Engine::open(root.path(), options.clone()).await;
    assert!(matches!(second, Err(Error::InUse { .. })));
    assert!(matches!(orlop_engine::check::check(root.path()).await, Err(Error::InUse { .. })));
    engine.close().await.expect("closed");
    drop(engine);
    std::fs::write(root.path().join("FORMAT"), "orlop store 999\n").expect("written");
    let foreign = orlop_engine::Engine::open(root.path(), options.clone()).await;
    assert!(matches!(foreign, Err(Error::Foreign { .. })));
    let other = tempfile::tempdir().expect("a directory");
    std::fs::write(other.path().join("precious.txt"), "not a store").expect("written");
    let foreign = orlop_engine::Engine::open(other.path(), options).await;
    assert!(matches!(foreign, Err(Error::Foreign { .. })));
    assert!(matches!(orlop_engine::check::check(other.path()).await, Err(Error::Foreign { .. })));
    assert_eq!(std::fs::read_dir(other.path()).expect("readable").count(), 1, "it was left alone");
}
