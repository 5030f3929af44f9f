//! What an answer rested on holds exactly as long as the engine would answer the same.

use orlop_engine::{Batch, Removal};

use crate::{common::*, damage::file_of};

#[tokio::test(flavor = "multi_thread")]
async fn grounds_hold_until_the_name_moves_or_the_content_goes() {
    let root = tempfile::tempdir().expect("a directory");
    let (ns, other) = (namespace("app"), namespace("other"));
    let engine = open(root.path(), &real().remove(0)).await;
    let (first, second) = (document(&engine, &ns, "one").await, document(&engine, &ns, "two").await);
    let (one, two) = (*first.digest(), *second.digest());
    let batch = Batch::new(ns.clone()).document(first, b"t".to_vec(), vec![]).bind("latest", one);
    let _ = engine.commit(batch).await.expect("committed");
    let by_name = engine.resolve_open(&ns, "latest").await.expect("found");
    let by_digest = engine.find(&ns, &one).await.expect("found");
    let all_hold = |by_name: &orlop_engine::Blob| {
        (engine.still_holds(by_name.grounds(), 0), engine.still_holds(&by_digest.grounds, 0))
    };
    assert_eq!(all_hold(&by_name), (true, true));

    // What happens elsewhere makes no difference. The counter of a row is one of thousands.
    push(&engine, &other, b"something else").await;
    assert_eq!(all_hold(&by_name), (true, true));

    let batch = Batch::new(ns.clone()).document(second, b"t".to_vec(), vec![]).bind("latest", two);
    let _ = engine.commit(batch).await.expect("committed");
    assert_eq!(all_hold(&by_name), (false, true), "the name moved, the content is still there");
    assert!(engine.open_again(&by_name.bookmark()).is_none());

    let read = engine.statistics().bytes_read;
    let moved = engine.resolve_open(&ns, "latest").await.expect("found");
    assert_eq!(moved.inline().expect("small"), "two".as_bytes());
    assert!(engine.still_holds(moved.grounds(), 3));
    assert_eq!(engine.statistics().bytes_read, read + 3);
    let _ = engine.commit(Batch::new(ns.clone()).remove(one, Removal::Always)).await.expect("removed");
    assert_eq!(all_hold(&by_name), (false, false));
    assert!(engine.still_holds(moved.grounds(), 0));
    let _ = engine.commit(Batch::new(ns.clone()).unbind("latest")).await.expect("unbound");
    assert!(!engine.still_holds(moved.grounds(), 3));
    assert_eq!(engine.statistics().bytes_read, read + 3, "nothing is handed out on a no");
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_opens_sound_content_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &real().remove(0)).await;
    let bytes = content(31, 1_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    let bookmark = engine.open_blob(&ns, &digest).await.expect("found").bookmark();
    let blob = engine.open_again(&bookmark).expect("nothing changed");
    assert!(blob.inline().is_none() && !blob.begins_in_memory(), "a file that was not read");
    let mut reader = blob.read(0..1_500_000);
    let mut read = Vec::new();
    while let Some(part) = reader.next().await {
        read.extend_from_slice(&part.expect("sound"));
    }
    assert_eq!(read, bytes);

    // Damage that a reader finds is damage for everybody who comes after.
    std::fs::write(file_of(root.path(), &digest), vec![0; 1_500_000]).expect("overwritten");
    assert!(pull(&engine, &ns, &digest).await.is_err());
    assert!(engine.open_again(&bookmark).is_none());
    assert!(is_missing(&engine.open_blob(&ns, &digest).await));
    engine.close().await.expect("closed");
}
