//! What every disk does: one function per promise of the trait.

use super::*;

pub async fn unnamed_file_vanishes(fixture: Fixture) {
    let file = fixture.file(b"never linked").await;
    assert_eq!(fixture.read(&file, 0, 100).await, b"never linked");
    drop(file);
    assert_eq!(fixture.list(&StorePath::root()).await, []);
}

pub async fn linked_file_reads_back(fixture: Fixture) {
    let bytes = pattern(300_000, 1);
    let file = fixture.file(&bytes).await;
    let name = path("one");
    assert_eq!(fixture.disk.link(&file, &name).await.expect("link"), Linked::New);
    drop(file);
    let directory = fixture.disk.open(&StorePath::root(), false).await.expect("open the root");
    fixture.disk.sync(&directory, None).await.expect("sync the root");
    let file = fixture.disk.open(&name, false).await.expect("open");
    assert_eq!(fixture.read(&file, 0, 400_000).await, bytes);
}

pub async fn linking_over_a_name_changes_nothing(fixture: Fixture) {
    let (first, second) = (fixture.file(b"first").await, fixture.file(b"second").await);
    let name = path("names/taken");
    assert_eq!(fixture.disk.link(&first, &name).await.expect("link"), Linked::New);
    assert_eq!(fixture.disk.link(&second, &name).await.expect("link"), Linked::Exists);
    assert_eq!(fixture.disk.link(&first, &path("names")).await.expect("link"), Linked::Exists);
    let file = fixture.disk.open(&name, false).await.expect("open");
    assert_eq!(fixture.read(&file, 0, 100).await, b"first");
}

pub async fn a_kept_file_is_cut_and_has_its_name(fixture: Fixture) {
    let bytes = pattern(9_000, 4);
    let file = fixture.disk.create(100_000).await.expect("create");
    let buffer = fixture.filled(&bytes).await;
    fixture.disk.write(&file, buffer, 0).await.expect("write");
    let name = path("made/for/it");
    assert_eq!(keep(&*fixture.disk, &file, Some(9_000), &name).await.expect("keep"), Linked::New);
    let entries = fixture.list(&path("made/for")).await;
    assert_eq!(entries, [Entry { name: "it".to_owned(), size: 9_000, kind: EntryKind::File }]);
    let file = fixture.disk.open(&name, false).await.expect("open");
    assert_eq!(fixture.read(&file, 0, 10_000).await, bytes);
}

pub async fn keeping_over_a_name_changes_nothing(fixture: Fixture) {
    let (first, second) = (fixture.file(b"first").await, fixture.file(b"second").await);
    let name = path("names/taken");
    assert_eq!(keep(&*fixture.disk, &first, None, &name).await.expect("keep"), Linked::New);
    assert_eq!(keep(&*fixture.disk, &second, None, &name).await.expect("keep"), Linked::Exists);
    let error = keep(&*fixture.disk, &second, Some(5_000), &path("longer")).await;
    assert_eq!(kind(error), Some(io::ErrorKind::InvalidInput), "a file is never made longer");
    let file = fixture.disk.open(&name, false).await.expect("open");
    assert_eq!(fixture.read(&file, 0, 100).await, b"first");
}

pub async fn one_file_can_have_two_names(fixture: Fixture) {
    let file = fixture.file(b"shared").await;
    for name in ["a/one", "b/two"] {
        assert_eq!(fixture.disk.link(&file, &path(name)).await.expect("link"), Linked::New);
    }
    fixture.disk.unlink(&path("a/one")).await.expect("unlink");
    let file = fixture.disk.open(&path("b/two"), false).await.expect("open");
    assert_eq!(fixture.read(&file, 0, 100).await, b"shared");
}

pub async fn unlinked_file_stays_readable(fixture: Fixture) {
    let bytes = pattern(100_000, 2);
    let made = fixture.file(&bytes).await;
    let name = path("gone");
    fixture.disk.link(&made, &name).await.expect("link");
    let file = fixture.disk.open(&name, false).await.expect("open");
    fixture.disk.unlink(&name).await.expect("unlink");
    assert_eq!(kind(fixture.disk.open(&name, false).await), Some(io::ErrorKind::NotFound));
    assert_eq!(fixture.read(&file, 0, 200_000).await, bytes);
    fixture.disk.unlink(&name).await.expect("removing what is not there");
    fixture.disk.unlink(&path("no/such/place")).await.expect("removing what is not there");
}

pub async fn reads_need_no_alignment(fixture: Fixture) {
    let bytes = pattern(50_000, 3);
    let file = fixture.file(&bytes).await;
    for (offset, len) in [(0, 1), (1, 4095), (4095, 2), (4097, 20_000), (49_999, 1), (12_345, 0)] {
        assert_eq!(fixture.read(&file, offset as u64, len).await, bytes[offset..offset + len], "{offset}+{len}");
    }
}

pub async fn reads_are_short_at_the_end_only(fixture: Fixture) {
    let bytes = pattern(10_000, 4);
    let file = fixture.file(&bytes).await;
    assert_eq!(fixture.read(&file, 9_000, 5_000).await, bytes[9_000..]);
    assert_eq!(fixture.read(&file, 10_000, 10).await, b"");
    assert_eq!(fixture.read(&file, 1 << 40, 10).await, b"");
}

pub async fn reads_replace_what_the_buffer_held(fixture: Fixture) {
    let file = fixture.file(b"new").await;
    let buffer = fixture.filled(&[1; 5000]).await;
    let buffer = fixture.disk.read(&file, buffer, 0, 5000).await.expect("read");
    assert_eq!(buffer.filled(), b"new");
}

pub async fn rereads_bring_the_same_bytes(fixture: Fixture) {
    const UNIT: usize = 64 << 10;
    // Not whole blocks, whole blocks, whole units, less than a block, and none.
    for len in [300_001, 2 * UNIT + ALIGNMENT, 2 * UNIT, 77, 0] {
        let bytes = pattern(len, 9);
        let file = fixture.file(&bytes).await;
        let name = path(&format!("again-{len}"));
        keep(&*fixture.disk, &file, None, &name).await.expect("keep");
        let file = fixture.disk.open(&name, false).await.expect("open");
        let mut found = Vec::new();
        loop {
            let mut buffer = fixture.pool.take(UNIT).await;
            buffer.extend(b"what the buffer held");
            let unit = fixture.disk.reread(&file, buffer, found.len() as u64, UNIT).await.expect("reread");
            found.extend_from_slice(unit.filled());
            if unit.len() < UNIT {
                break;
            }
        }
        assert!(found == bytes, "{len} bytes");
        // Without alignment it is a read like any other.
        let buffer = fixture.pool.take(UNIT).await;
        let unit = fixture.disk.reread(&file, buffer, 5, 1000).await.expect("reread");
        let expected = bytes.get(5..).unwrap_or_default();
        assert_eq!(unit.filled(), &expected[..expected.len().min(1000)]);
    }
}

pub async fn reads_see_completed_writes(fixture: Fixture) {
    let file = fixture.disk.create(0).await.expect("create");
    for round in 0..20 {
        let bytes = pattern(2 * ALIGNMENT, round);
        let buffer = fixture.filled(&bytes).await;
        fixture.disk.write(&file, buffer, ALIGNMENT as u64).await.expect("write");
        assert_eq!(fixture.read(&file, ALIGNMENT as u64, bytes.len()).await, bytes, "round {round}");
    }
}

pub async fn sync_cuts_to_the_length(fixture: Fixture) {
    let bytes = pattern(3 * ALIGNMENT, 5);
    let file = fixture.disk.create(64 << 10).await.expect("create");
    let buffer = fixture.filled(&bytes).await;
    fixture.disk.write(&file, buffer, 0).await.expect("write");
    fixture.disk.sync(&file, Some(9_001)).await.expect("sync");
    fixture.disk.link(&file, &path("cut")).await.expect("link");
    assert_eq!(fixture.read(&file, 0, 64 << 10).await, bytes[..9_001]);
    let expected = Entry { name: "cut".to_owned(), size: 9_001, kind: EntryKind::File };
    assert_eq!(fixture.list(&StorePath::root()).await, [expected]);
    fixture.disk.sync(&file, Some(9_001)).await.expect("a cut to the same length");
    fixture.disk.sync(&file, Some(0)).await.expect("a cut to nothing");
    assert_eq!(fixture.read(&file, 0, 100).await, b"");
}

pub async fn sync_never_lengthens(fixture: Fixture) {
    let file = fixture.file(b"short").await;
    assert_eq!(kind(fixture.disk.sync(&file, Some(6)).await), Some(io::ErrorKind::InvalidInput));
    assert_eq!(fixture.read(&file, 0, 100).await, b"short");
}

pub async fn reserved_files_hold_what_is_written(fixture: Fixture) {
    let bytes = pattern(1 << 20, 6);
    let file = fixture.disk.create(300 << 10).await.expect("create");
    // The rest is allocated when the file is there, if the disk knows how.
    for range in [300 << 10..700 << 10, 700 << 10..2 << 20] {
        if let Some(reserved) = fixture.disk.reserve(&file, range) {
            reserved.await.expect("reserve");
        }
    }
    for (index, chunk) in bytes.chunks(128 << 10).enumerate().rev() {
        let buffer = fixture.filled(chunk).await;
        fixture.disk.write(&file, buffer, (index * (128 << 10)) as u64).await.expect("write");
    }
    fixture.disk.sync(&file, Some(bytes.len() as u64)).await.expect("sync");
    assert_eq!(fixture.read(&file, 0, 1 << 20).await, bytes);
}

pub async fn impossible_reservation_is_reported(fixture: Fixture) {
    let error = fixture.disk.create(1 << 50).await.map(drop).expect_err("no device has a pebibyte");
    assert!(matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EFBIG)), "{error}");
}

pub async fn an_upload_is_taken_up_again(fixture: Fixture) {
    let bytes = pattern(20_000, 7);
    let file = fixture.file(&bytes[..5_000]).await;
    fixture.disk.link(&file, &path("uploads/one")).await.expect("link");
    drop(file);
    let file = fixture.disk.open(&path("uploads/one"), true).await.expect("open for writing");
    let buffer = fixture.filled(&bytes[ALIGNMENT..]).await;
    fixture.disk.write(&file, buffer, ALIGNMENT as u64).await.expect("write");
    fixture.disk.sync(&file, Some(20_000)).await.expect("sync");
    assert_eq!(fixture.read(&file, 0, 30_000).await, bytes);
}

pub async fn a_read_only_handle_refuses_writes(fixture: Fixture) {
    let file = fixture.file(b"sealed").await;
    fixture.disk.link(&file, &path("sealed")).await.expect("link");
    let file = fixture.disk.open(&path("sealed"), false).await.expect("open");
    let buffer = fixture.filled(b"other").await;
    let error = fixture.disk.write(&file, buffer, 0).await.expect_err("read only");
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    assert_eq!(fixture.read(&file, 0, 100).await, b"sealed");
    fixture.settle().await;
}

pub async fn misaligned_writes_are_refused(fixture: Fixture) {
    let file = fixture.disk.create(0).await.expect("create");
    let aligned = fixture.filled(b"block").await;
    assert_eq!(kind(fixture.disk.write(&file, aligned, 512).await), Some(io::ErrorKind::InvalidInput));
    let mut ragged = fixture.pool.take(10).await;
    ragged.extend(b"ragged");
    assert_eq!(kind(fixture.disk.write(&file, ragged, 0).await), Some(io::ErrorKind::InvalidInput));
    let small = fixture.pool.take(ALIGNMENT).await;
    let outcome = fixture.disk.read(&file, small, 0, ALIGNMENT + 1).await;
    assert_eq!(kind(outcome), Some(io::ErrorKind::InvalidInput));
    fixture.settle().await;
}

pub async fn foreign_handles_are_refused(fixture: Fixture) {
    let foreign = Handle::clone(&SimDisk::new(1).create(0).await.expect("create"));
    assert_eq!(kind(fixture.disk.sync(&foreign, None).await), Some(io::ErrorKind::InvalidInput));
    assert_eq!(kind(fixture.disk.link(&foreign, &path("x")).await), Some(io::ErrorKind::InvalidInput));
    let buffer = fixture.filled(b"x").await;
    assert_eq!(kind(fixture.disk.write(&foreign, buffer, 0).await), Some(io::ErrorKind::InvalidInput));
    let buffer = fixture.pool.take(1).await;
    assert_eq!(kind(fixture.disk.read(&foreign, buffer, 0, 1).await), Some(io::ErrorKind::InvalidInput));
}

pub async fn directories_are_made_and_listed(fixture: Fixture) {
    for name in ["tree/a/one", "tree/a/two", "tree/b/deep/er/three"] {
        let file = fixture.file(name.as_bytes()).await;
        assert_eq!(fixture.disk.link(&file, &path(name)).await.expect("link"), Linked::New);
    }
    let directory = |name: &str| Entry { name: name.to_owned(), size: 0, kind: EntryKind::Directory };
    let file = |name: &str, size| Entry { name: name.to_owned(), size, kind: EntryKind::File };
    assert_eq!(fixture.list(&path("tree")).await, [directory("a"), directory("b")]);
    assert_eq!(fixture.list(&path("tree/a")).await, [file("one", 10), file("two", 10)]);
    assert_eq!(fixture.list(&path("tree/b/deep/er")).await, [file("three", 20)]);
    assert_eq!(fixture.list(&path("tree/c")).await, []);
    assert_eq!(kind(fixture.disk.list(&path("tree/a/one")).await), Some(io::ErrorKind::InvalidData));
    for name in ["tree", "tree/b/deep", "tree/a"] {
        let handle = fixture.disk.open(&path(name), false).await.expect("open a directory");
        fixture.disk.sync(&handle, None).await.expect("sync a directory");
    }
}

pub async fn what_is_not_there_is_not_found(fixture: Fixture) {
    for name in ["nothing", "no/such/directory"] {
        assert_eq!(kind(fixture.disk.open(&path(name), false).await), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(fixture.disk.open(&path(name), true).await), Some(io::ErrorKind::NotFound));
    }
}

pub async fn a_file_is_no_directory(fixture: Fixture) {
    let file = fixture.file(b"plain").await;
    fixture.disk.link(&file, &path("plain")).await.expect("link");
    assert_eq!(kind(fixture.disk.open(&path("plain/x"), false).await), Some(io::ErrorKind::InvalidData));
    assert_eq!(kind(fixture.disk.link(&file, &path("plain/x")).await), Some(io::ErrorKind::InvalidData));
    assert_eq!(kind(fixture.disk.unlink(&path("plain/x")).await), Some(io::ErrorKind::InvalidData));
}

pub async fn writes_in_any_order_all_arrive(fixture: Fixture) {
    const BLOCK: usize = 16 << 10;
    const BLOCKS: usize = 400;
    let bytes = pattern(BLOCKS * BLOCK, 8);
    let file = fixture.disk.create(0).await.expect("create");
    let mut running = Vec::new();
    for step in 0..BLOCKS {
        // 147 has no factor in common with 400: every block once.
        let block = step * 147 % BLOCKS;
        let start = block * BLOCK;
        let buffer = fixture.filled(&bytes[start..start + BLOCK]).await;
        running.push(fixture.disk.write(&file, buffer, start as u64));
    }
    for op in running.into_iter().rev() {
        op.await.expect("write");
    }
    fixture.disk.sync(&file, Some(bytes.len() as u64)).await.expect("sync");
    for (block, expected) in bytes.chunks(1 << 20).enumerate() {
        assert_eq!(fixture.read(&file, (block << 20) as u64, 1 << 20).await, expected, "MiB {block}");
    }
}

/// Operations dropped in flight: they still happen, and never touch memory that has been
/// given to somebody else.
pub async fn a_storm_of_cancellations_corrupts_nothing(fixture: Fixture) {
    const BLOCK: usize = 64 << 10;
    const BLOCKS: u64 = 96;
    let (kept, storm) = tokio::join!(fixture.disk.create(0), fixture.disk.create(0));
    let (kept, storm) = (kept.expect("create"), storm.expect("create"));
    for block in 0..BLOCKS {
        let offset = block * BLOCK as u64;
        let abandoned = fixture.filled(&pattern(BLOCK, 1000 + block)).await;
        drop(fixture.disk.write(&storm, abandoned, offset));
        let read = fixture.pool.take(BLOCK).await;
        drop(fixture.disk.read(&storm, read, offset / 2, BLOCK));
        let expected = pattern(BLOCK, block);
        let buffer = fixture.filled(&expected).await;
        let mut op = fixture.disk.write(&kept, buffer, offset);
        if block % 3 == 0 {
            // Polled once, then dropped: the answer is waited for when it is abandoned.
            let mut again = fixture.disk.read(&storm, fixture.pool.take(BLOCK).await, offset, BLOCK);
            let polled =
                std::future::poll_fn(|context| std::task::Poll::Ready(again.as_mut().poll(context).is_ready()));
            polled.await;
        }
        let buffer = std::future::poll_fn(|context| op.as_mut().poll(context)).await.expect("write");
        assert_eq!(buffer.filled(), expected, "the buffer comes back as it was given");
    }
    fixture.settle().await;
    for block in 0..BLOCKS {
        let offset = block * BLOCK as u64;
        assert_eq!(fixture.read(&kept, offset, BLOCK).await, pattern(BLOCK, block), "kept block {block}");
        let stormed = fixture.read(&storm, offset, BLOCK).await;
        assert_eq!(stormed, pattern(BLOCK, 1000 + block), "abandoned block {block}");
    }
}

pub async fn operations_outlive_the_disk(fixture: Fixture) {
    let bytes = pattern(64 << 10, 9);
    let file = fixture.file(&bytes).await;
    fixture.disk.link(&file, &path("last")).await.expect("link");
    let fresh = fixture.disk.create(1 << 20).await.expect("create");
    let mut running = Vec::new();
    for index in 0..16 {
        let buffer = fixture.filled(&bytes).await;
        running.push(fixture.disk.write(&fresh, buffer, index * (64 << 10)));
    }
    let opened = fixture.disk.open(&path("last"), false);
    drop(fixture.disk);
    for op in running {
        assert_eq!(op.await.expect("a write under way").filled(), bytes);
    }
    opened.await.expect("an open under way");
}

pub async fn buffers_press_back(fixture: Fixture) {
    const BLOCK: usize = 1 << 20;
    let file = fixture.disk.create(0).await.expect("create");
    let mut bytes_out_max = 0;
    for index in 0..32 {
        let buffer = fixture.filled(&pattern(BLOCK, index)).await;
        bytes_out_max = bytes_out_max.max(fixture.pool.bytes_out());
        drop(fixture.disk.write(&file, buffer, index * BLOCK as u64));
    }
    assert!((BLOCK..=POOL_BYTES).contains(&bytes_out_max), "{bytes_out_max} bytes were out");
    fixture.settle().await;
    assert_eq!(fixture.pool.bytes_out(), 0);
    assert_eq!(fixture.read(&file, 31 * BLOCK as u64, BLOCK).await, pattern(BLOCK, 31));
}
