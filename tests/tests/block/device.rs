//! The device itself: what the kernel takes it for, and the images that follow from a recording.

use std::{fs::File, io::Write, os::unix::fs::FileExt, sync::Arc};

use orlop_tests::{
    block::{Device, Entry, FileSystem, Image, Left, Moment, Player, Recording},
    disk::temporary_directory,
};

const BYTES: u64 = 16 << 20;

fn write(offset: u64, byte: u8, length: usize) -> Entry {
    Entry::Write { offset, bytes: vec![byte; length] }
}

/// What makes a recording worth anything: the kernel takes the device for one with a volatile cache and
/// without FUA, so all that is to be durable arrives as a flush.
#[test]
fn every_sync_arrives_as_a_flush() {
    if let Some(obstacle) = FileSystem::Ext4.obstacle() {
        eprintln!("rig block: not run: {obstacle}");
        return;
    }
    let directory = temporary_directory();
    let clock = Arc::default();
    let image = Image::empty(BYTES);
    let device = Device::attach(&directory.path().join("device"), &image, 512, Some(clock)).expect("a device");
    assert_eq!(device.setting("write_cache"), "write back");
    assert_eq!(device.setting("fua"), "0");
    let mut opened = File::options().write(true).open(device.path()).expect("it can be opened");
    opened.write_all(&[7; 8192]).expect("it can be written");
    opened.write_all_at(&[9; 4096], 1 << 20).expect("it can be written");
    opened.sync_all().expect("it can be synced");
    let recording = device.recording();
    assert_eq!(recording.entries.last(), Some(&Entry::Flush));
    assert!(recording.entries.len() > 1, "{:?}", recording.entries);
    let last = recording.durable_at(recording.entries.len());
    let durable = Player::new(&recording).image(&recording.after_flush(last));
    assert!(durable.read(0, 8193) == [&[7; 8192][..], &[0]].concat(), "what was synced is not what was written");
    assert!(durable.read(1 << 20, 4096) == [9; 4096], "what was synced is not what was written");
    assert_eq!(device.image().read(8191, 2), [7, 0]);
}

#[test]
fn an_image_has_what_was_flushed_and_some_of_the_rest() {
    let entries = vec![write(0, 1, 8192), Entry::Flush, write(0, 2, 4096), write(4096, 3, 4096), write(0, 4, 512)];
    let recording = Recording { base: Image::empty(BYTES), entries, sector_bytes: 512 };
    assert_eq!(recording.flushed(), [2]);
    assert_eq!([0, 1, 2, 5].map(|until| recording.durable_at(until)), [0, 0, 2, 2]);
    let mut player = Player::new(&recording);
    let first = |image: &Image| [0, 512, 4096].map(|offset| image.read(offset, 1)[0]);
    let mut of = |left, seed| first(&player.image(&Moment { durable: 2, until: 5, left, seed }));
    assert_eq!(of(Left::Nothing, 0), [1, 1, 1]);
    let entries = |seed| of(Left::Entries, seed);
    let seen: std::collections::BTreeSet<[u8; 3]> = (0..200).map(entries).collect();
    // Each of three entries or not; the third lies over the first.
    let all = [[1, 1, 1], [1, 1, 3], [2, 2, 1], [2, 2, 3], [4, 1, 1], [4, 1, 3], [4, 2, 1], [4, 2, 3]];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    let ones: std::collections::BTreeSet<[u8; 3]> = (0..50).map(|seed| of(Left::One, seed)).collect();
    assert_eq!(ones.into_iter().collect::<Vec<_>>(), [[1, 1, 3], [2, 2, 1], [4, 1, 1]]);
    let others: std::collections::BTreeSet<[u8; 3]> = (0..50).map(|seed| of(Left::AllButOne, seed)).collect();
    assert_eq!(others.into_iter().collect::<Vec<_>>(), [[2, 2, 3], [4, 1, 3], [4, 2, 1]]);
    let mut torn = (0..50).map(|seed| player.image(&Moment { durable: 2, until: 5, left: Left::Sectors, seed }));
    let is_torn =
        |image: Image| image.read(4096, 4096).chunks(512).any(|sector| sector != [3; 512] && sector == [1; 512]);
    assert!(torn.any(is_torn), "no write was torn");
    // Back to what was before the flush.
    assert_eq!(first(&player.image(&Moment { durable: 0, until: 0, left: Left::Nothing, seed: 0 })), [0, 0, 0]);
}

#[test]
fn an_image_can_be_kept() {
    let directory = temporary_directory();
    let path = directory.path().join("image");
    let mut image = Image::empty(BYTES);
    image.write(100_000, b"in the middle");
    image.save(&path).expect("it can be kept");
    let loaded = Image::load(&path).expect("it can be read");
    assert_eq!(loaded.bytes(), BYTES);
    assert_eq!(loaded.read(0, BYTES as usize), image.read(0, BYTES as usize));
}
