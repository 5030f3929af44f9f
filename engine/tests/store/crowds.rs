//! Many readers at once: the more they hold together, the less each of them gets.

use orlop_engine::{Options, Reader, io::Backend};

use crate::common::*;

const KIB: usize = 1 << 10;

/// Readers that hold this much together get a chunk at a time, in bytes; see `engine/src/read/reader.rs`.
const CROWDED: usize = 64 << 20;

/// And from here on a part of one.
const FULL: usize = 128 << 20;

async fn next(reader: &mut Reader) -> bytes::Bytes {
    reader.next().await.expect("there is more").expect("it is right")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_readers_hold_the_less_each_gets() {
    let options = Options { hot_bytes_max: 0, ..options(Backend::Threads, orlop_engine::IndexKind::Memory) };
    let root = tempfile::tempdir().expect("a directory");
    let ns = namespace("app");
    let engine = open(root.path(), &options).await;
    let bytes = content(41, 3_500_000);
    let digest = push(&engine, &ns, &bytes).await;
    let blob = engine.open_blob(&ns, &digest).await.expect("it is there");
    let begin = async || {
        let mut reader = blob.read(0..blob.size());
        let piece = next(&mut reader).await;
        (reader, piece)
    };

    let (mut held, mut total) = (Vec::new(), 0);
    while total <= FULL {
        let (reader, piece) = begin().await;
        let expected = if total <= CROWDED { 256 * KIB } else { 64 * KIB };
        // What was read ahead for others is held as well: less comes earlier than by the pieces alone.
        assert!(piece.len() == expected || (piece.len() < expected && held.len() > 1), "{} of {total}", piece.len());
        if piece.len() < 64 * KIB {
            break;
        }
        total += piece.len();
        held.push((reader, piece));
    }
    assert!(blob.is_crowded());
    let (mut slow, piece) = begin().await;
    assert_eq!(piece.len(), 16 * KIB);
    // It gets everything all the same, in small pieces and in order.
    let mut got = piece.to_vec();
    while got.len() < bytes.len() {
        let piece = next(&mut slow).await;
        assert!(piece.len() <= 16 * KIB, "{}", piece.len());
        got.extend_from_slice(&piece);
    }
    assert!(slow.next().await.is_none());
    assert!(got == bytes, "a wrong byte");
    // Ranges that begin and end within the same chunks, and what is left of chunks that others had begun.
    for range in [70_000..70_001, 65_536..65_537, 65_536..131_072, 65_537..400_000, 3_499_999..3_500_000] {
        let part = pull_range(&engine, &ns, &digest, range.clone()).await.expect("pulled");
        assert!(part == bytes[range.start as usize..range.end as usize], "{range:?}");
    }

    drop(held);
    assert!(!blob.is_crowded());
    assert_eq!(begin().await.1.len(), 256 * KIB, "nothing of it stays");
    engine.close().await.expect("closed");
}
