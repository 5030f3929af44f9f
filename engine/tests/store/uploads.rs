//! Sessions: one writer, bound to a namespace, surviving lost connections and restarts.

use std::{task::Poll, time::Duration};

use orlop_engine::{Algorithm, Batch, Digest, Error, UploadHome, UploadOwner, UploadsMax, What};

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_one_writer_and_one_namespace() {
    let root = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (namespace("ours"), namespace("theirs"));
    let engine = open(root.path(), &real().remove(0)).await;
    let id = engine.begin(&ours, Algorithm::Sha256).await.expect("begun");
    assert!(matches!(engine.upload_status(&theirs, id).await, Err(Error::NotFound { what: What::Upload })));
    assert!(matches!(engine.cancel(&theirs, id).await, Err(Error::NotFound { .. })));
    let mut writer = engine.resume(&ours, id).await.expect("resumed");
    assert!(matches!(engine.resume(&ours, id).await, Err(Error::Busy)));
    writer.append(b"12345").await.expect("appended");
    assert_eq!(engine.upload_status(&ours, id).await.expect("known").offset, 5);
    drop(writer);
    let writer = engine.resume(&ours, id).await.expect("free again");
    assert_eq!(writer.offset(), 5);
    writer.abandon().await.expect("abandoned");
    assert!(matches!(engine.upload_status(&ours, id).await, Err(Error::NotFound { .. })));
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_its_owners_alone_also_after_a_restart() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("shared");
    let home = |owner: Option<&str>| UploadHome {
        namespace: ns.clone(),
        owner: owner.map(|name| UploadOwner::known_by(name.as_bytes())),
    };
    let owners = [None, Some("ann"), Some("ben")];
    let variant = &real()[0];
    let mut engine = open(root.path(), variant).await;
    let mut ids = Vec::new();
    for owner in owners {
        let id = engine.begin(home(owner), Algorithm::Sha256).await.expect("begun");
        let mut upload = engine.resume(home(owner), id).await.expect("resumed");
        upload.append(b"12345").await.expect("appended");
        drop(upload);
        ids.push((id, owner));
    }
    for _ in 0..2 {
        for (id, owner) in &ids {
            for other in owners.iter().filter(|other| *other != owner) {
                let unknown = engine.upload_status(home(*other), *id).await;
                assert!(matches!(unknown, Err(Error::NotFound { what: What::Upload })), "{owner:?} {other:?}");
                assert!(matches!(engine.resume(home(*other), *id).await, Err(Error::NotFound { what: What::Upload })));
                assert!(matches!(engine.cancel(home(*other), *id).await, Err(Error::NotFound { what: What::Upload })));
            }
            assert_eq!(engine.upload_status(home(*owner), *id).await.expect("its own").offset, 5);
        }
        engine.close().await.expect("closed");
        drop(engine);
        engine = open(root.path(), variant).await;
    }
    for (id, owner) in ids {
        engine.cancel(home(owner), id).await.expect("its own");
    }
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_has_so_many_uploads_and_not_more_in_whatever_namespaces() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &real().remove(0)).await;
    let max = UploadsMax { of_owner: 2, ..UploadsMax::UNLIMITED };
    let home = |namespace: &str, owner: Option<&[u8]>| UploadHome {
        namespace: crate::common::namespace(namespace),
        owner: owner.map(UploadOwner::known_by),
    };
    let begin = async |home: UploadHome| engine.begin_within(home, Algorithm::Sha256, max).await;
    let first = begin(home("a", Some(b"ann"))).await.expect("one");
    begin(home("b", Some(b"ann"))).await.expect("two");
    assert!(matches!(begin(home("c", Some(b"ann"))).await, Err(Error::TooManyUploads { max: 2 })));
    begin(home("c", Some(b"ben"))).await.expect("somebody else's");
    for _ in 0..3 {
        begin(home("a", None)).await.expect("nobody's");
    }
    engine.cancel(home("a", Some(b"ann")), first).await.expect("given up");
    begin(home("c", Some(b"ann"))).await.expect("two again");
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_upload_continues_after_a_restart_wherever_it_was_cut() {
    for options in real() {
        for algorithm in Algorithm::ALL {
            for cut in [0usize, 1, 4096, 60_000, 65_537, 600_001, 1 << 20, 2_500_000] {
                let root = tempfile::tempdir().expect("a directory");
                let ns = namespace("app");
                let bytes = content(cut as u64, 3_000_000);
                let digest = Digest::of(algorithm, &bytes);
                let engine = open(root.path(), &options).await;
                let id = engine.begin(&ns, algorithm).await.expect("begun");
                let mut upload = engine.resume(&ns, id).await.expect("resumed");
                upload.append(&bytes[..cut]).await.expect("appended");
                assert_eq!(upload.suspend(), cut as u64);
                let report = close_and_check(engine, root.path()).await;
                assert_eq!(report.uploads, 1);

                let engine = open(root.path(), &options).await;
                assert_eq!(engine.upload_status(&ns, id).await.expect("survived").offset, cut as u64);
                let mut upload = engine.resume(&ns, id).await.expect("resumed");
                for piece in bytes[cut..].chunks(77_777) {
                    upload.append(piece).await.expect("appended");
                }
                let sealed = upload.seal(&digest).await.expect("sealed");
                let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
                assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes, "{algorithm} cut at {cut}");
                let report = close_and_check(engine, root.path()).await;
                assert_eq!((report.uploads, report.unreferenced), (0, 0));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_upload_leaves_memory_and_comes_back() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        let engine = open(root.path(), &options).await;
        let bytes = content(9, 1_000_000);
        let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
        let mut offset = 0;
        for piece in bytes.chunks(333_333) {
            let mut upload = engine.resume(&ns, id).await.expect("resumed");
            assert_eq!(upload.offset(), offset);
            upload.append(piece).await.expect("appended");
            offset = upload.suspend();
            let before = engine.statistics().uploads_checkpointed;
            // Written down once it was quiet for the settle time of these tests, 100 ms.
            while engine.statistics().uploads_checkpointed == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let upload = engine.resume(&ns, id).await.expect("resumed");
        let sealed = upload.seal(&sha256(&bytes)).await.expect("sealed");
        let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
        assert_eq!(pull(&engine, &ns, &sha256(&bytes)).await.expect("pulled"), bytes);
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_comes_while_its_upload_is_put_away_is_not_turned_away() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        let options = orlop_engine::Options { upload_settle: Duration::from_millis(1), ..options };
        let engine = open(root.path(), &options).await;
        let bytes = content(6, 400_000);
        let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
        for (round, piece) in bytes.chunks(4_000).enumerate() {
            let mut upload = engine.resume(&ns, id).await.expect("there is no other writer");
            assert_eq!(upload.offset(), round as u64 * 4_000);
            upload.append(piece).await.expect("appended");
            upload.suspend();
            // Not to wait for something, but to meet the tending at every moment of its work.
            tokio::time::sleep(Duration::from_micros(round as u64 * 150)).await;
        }
        assert!(engine.statistics().uploads_checkpointed > 3, "the upload was put away in between");
        let upload = engine.resume(&ns, id).await.expect("resumed");
        let sealed = upload.seal(&sha256(&bytes)).await.expect("sealed");
        let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
        close_and_check(engine, root.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_dropped_in_the_middle_leaves_an_exact_prefix() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        // So little memory that appends have to wait, and can be dropped while they do.
        let options = orlop_engine::Options { upload_memory_bytes_max: 256 << 10, ..options };
        let engine = open(root.path(), &options).await;
        let bytes = content(4, 8_000_000);
        let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
        let mut cuts = 0;
        loop {
            let mut upload = engine.resume(&ns, id).await.expect("resumed");
            let offset = usize::try_from(upload.offset()).expect("small");
            if offset == bytes.len() {
                let sealed = upload.seal(&sha256(&bytes)).await.expect("the prefix was exact every time");
                let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
                break;
            }
            let end = (offset + 2_000_000).min(bytes.len());
            let append = upload.append(&bytes[offset..end]);
            // Cut after a time that is different in each round.
            cuts += u64::from(tokio::time::timeout(Duration::from_micros(50 + cuts * 37), append).await.is_err());
        }
        assert_eq!(pull(&engine, &ns, &sha256(&bytes)).await.expect("pulled"), bytes);
        close_and_check(engine, root.path()).await;
    }
}

/// Drops a future that is not ready after so many polls.
async fn polled<F: Future>(polls_max: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls >= polls_max => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_at_the_end_leaves_all_or_nothing() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        // Every upload is written down on its way, so that there is something to leave behind.
        let options = orlop_engine::Options { checkpoint_bytes: 100_000, ..options };
        let engine = open(root.path(), &options).await;
        let mut cuts = [0; 2];
        for round in 0..120u64 {
            let bytes = content(round, 300_000);
            let digest = sha256(&bytes);
            let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
            let mut upload = engine.resume(&ns, id).await.expect("resumed");
            upload.append(&bytes).await.expect("appended");
            let polls = |step| if round % 2 == step { 1 + round as usize / 2 % 5 } else { usize::MAX };
            let Some(sealed) = polled(polls(0), upload.seal(&digest)).await else {
                cuts[0] += 1;
                continue;
            };
            let batch = Batch::new(ns.clone()).blob(sealed.expect("sealed"));
            cuts[1] += u32::from(polled(polls(1), engine.commit(batch)).await.is_none());
        }
        assert!(cuts[0] > 0 && cuts[1] > 0, "both steps were cut: {cuts:?}");
        assert_eq!(engine.uploads_open(), 0);
        let report = close_and_check(engine, root.path()).await;
        assert_eq!((report.unreferenced, report.uploads), (0, 0), "{cuts:?} cuts: {report}");
        assert_eq!(report.blobs, report.members);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_nobody_wants_is_discarded() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let options = orlop_engine::Options { upload_idle_max: Duration::from_millis(300), ..real().remove(0) };
    let engine = open(root.path(), &options).await;
    let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
    let mut upload = engine.resume(&ns, id).await.expect("resumed");
    upload.append(&content(1, 500_000)).await.expect("appended");
    upload.suspend();
    while engine.upload_status(&ns, id).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let report = close_and_check(engine, root.path()).await;
    assert_eq!((report.uploads, report.blobs), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_content_is_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let options = orlop_engine::Options { blob_bytes_max: 1000, ..real().remove(0) };
    let engine = open(root.path(), &options).await;
    let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
    let mut upload = engine.resume(&ns, id).await.expect("resumed");
    assert!(matches!(upload.announce(Some(1001), None).await, Err(Error::TooLarge { max: 1000, .. })));
    upload.append(&[0; 1000]).await.expect("at the limit");
    assert!(matches!(upload.append(&[0]).await, Err(Error::TooLarge { max: 1000, .. })));
    assert_eq!(upload.offset(), 1000);
}
