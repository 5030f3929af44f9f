//! Content that is read again and again comes from memory, and is the same there.

use orlop_engine::{Error, Options, io::Backend};

use crate::{common::*, damage::file_of};

const MIB: u64 = 1 << 20;

fn small() -> Options {
    options(Backend::Threads, orlop_engine::IndexKind::Memory)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_often_comes_from_memory() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let ns = namespace("app");
        let engine = open(root.path(), &options).await;
        let bytes = content(21, 3_500_000);
        let digest = push(&engine, &ns, &bytes).await;
        for times in 1..=2 {
            assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes, "{times} times");
            assert_eq!(engine.statistics().bytes_read_hot, 0, "{times} times");
        }
        // What memory has is right, whatever becomes of the file.
        std::fs::write(file_of(root.path(), &digest), vec![0; 3_500_000]).expect("overwritten");
        assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
        assert_eq!(engine.statistics().bytes_read_hot, 3_500_000);
        for range in [0..1, MIB - 1..MIB + 1, 10..3_499_999, 3_499_999..3_500_000, 5..5, 2 * MIB..3 * MIB] {
            let expected = &bytes[range.start as usize..range.end as usize];
            assert_eq!(pull_range(&engine, &ns, &digest, range.clone()).await.expect("pulled"), expected, "{range:?}");
        }
        engine.close().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_make_hot_what_they_touch_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &small()).await;
    let bytes = content(22, 3_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    for _ in 0..3 {
        let part = pull_range(&engine, &ns, &digest, MIB + 70_000..MIB + 70_100).await.expect("pulled");
        assert_eq!(part, bytes[(MIB + 70_000) as usize..][..100]);
    }
    assert_eq!(engine.statistics().bytes_read_hot, 100, "the third read");
    // A reader that finds one extent in memory and the next one not.
    assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
    assert_eq!(engine.statistics().bytes_read_hot, 100 + MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_lost_its_end_is_damage_also_when_it_becomes_hot() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &small()).await;
    let bytes = content(23, 3_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
    let file = std::fs::OpenOptions::new().write(true).open(file_of(root.path(), &digest)).expect("opened");
    // The end of a chunk: every byte that is left is right.
    file.set_len(MIB + 256 * 1024).expect("cut");
    let outcome = pull(&engine, &ns, &digest).await;
    assert!(matches!(outcome, Err(Error::Damaged { .. })), "{:?}", outcome.map(|bytes| bytes.len()));
    assert!(is_missing(&pull(&engine, &ns, &digest).await), "nobody gets it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_beyond_the_end_of_a_cut_file_is_damage_also_when_it_becomes_hot() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &small()).await;
    let bytes = content(25, 3_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    let range = MIB + 900_000..MIB + 900_100;
    let part = pull_range(&engine, &ns, &digest, range.clone()).await.expect("pulled");
    assert_eq!(part, bytes[range.start as usize..range.end as usize]);
    let file = std::fs::OpenOptions::new().write(true).open(file_of(root.path(), &digest)).expect("opened");
    file.set_len(MIB + 256 * 1024).expect("cut");
    let outcome = pull_range(&engine, &ns, &digest, range).await;
    assert!(matches!(outcome, Err(Error::Damaged { .. })), "{:?}", outcome.map(|bytes| bytes.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_memory_for_it_nothing_is_hot() {
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &Options { hot_bytes_max: 0, ..small() }).await;
    let bytes = content(24, 1_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    for _ in 0..4 {
        assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
    }
    assert_eq!(engine.statistics().bytes_read_hot, 0);
}
