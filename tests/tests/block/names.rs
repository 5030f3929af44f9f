//! What a file system keeps of names: the assumptions of the fault disk (`orlop_tests::faults`), and of RocksDB.
//!
//! Files are made and synced, directories are not. Then, for some of them, images of the moment at which the sync
//! had just been answered, and of later ones.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use orlop_tests::{
    block::{Disk, FileSystem, Image, Player, Recording},
    disk::temporary_directory,
    rig::{number, seed},
    stream::{Random, bytes},
};

const FILES: u64 = 12;
const IMAGES_DEFAULT: u64 = 8;

/// How a file got its name; its directory is never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Made in a directory that had been synced, then `fsync`.
    Made,
    /// The same with `fdatasync`.
    MadeForData,
    /// In directories that were just made.
    InNewDirectories,
    /// Made, synced, and renamed: only the new name counts.
    Renamed,
    /// Made, synced, and linked to another name: only that counts.
    Linked,
}

impl Way {
    const ALL: [Way; 5] = [Way::Made, Way::MadeForData, Way::InNewDirectories, Way::Renamed, Way::Linked];

    /// Whether a sync of the file is said to keep the name.
    fn is_kept(self) -> bool {
        matches!(self, Way::Made | Way::MadeForData | Way::InNewDirectories)
    }
}

/// A file that was synced when there were so many entries.
struct Synced {
    way: Way,
    path: PathBuf,
    content: Vec<u8>,
    at: usize,
}

fn make(root: &Path, way: Way, number: u64) -> (PathBuf, Vec<u8>) {
    let content = bytes(seed() ^ number, 1 + (number as usize * 7919) % 40_000).to_vec();
    let new = root.join(format!("new-{number}/deeper"));
    let directory = if way == Way::InNewDirectories { new } else { root.join("old") };
    fs::create_dir_all(&directory).expect("a directory can be made");
    let first = directory.join(format!("{number}"));
    let mut file = File::create_new(&first).expect("a file can be made");
    file.write_all(&content).expect("it can be written");
    match way {
        Way::MadeForData => file.sync_data(),
        _ => file.sync_all(),
    }
    .expect("it can be synced");
    let path = directory.join(format!("{number}-again"));
    match way {
        Way::Renamed => fs::rename(&first, &path).expect("it can be renamed"),
        Way::Linked => fs::hard_link(&first, &path).expect("it can be linked"),
        Way::Made | Way::MadeForData | Way::InNewDirectories => return (first, content),
    }
    (path, content)
}

/// Makes and syncs files, with others in between that are not synced.
fn record(file_system: FileSystem, directory: &Path) -> (Recording, Vec<Synced>) {
    let clock: Arc<std::sync::atomic::AtomicU64> = Arc::default();
    let empty = Disk::make(file_system, directory);
    let disk = Disk::mount(file_system, directory, &empty, Some(clock.clone()), "").expect("a new one can be mounted");
    let old = disk.path().join("old");
    fs::create_dir(&old).expect("a directory can be made");
    for made in [&old, disk.path()] {
        File::open(made).and_then(|directory| directory.sync_all()).expect("it can be synced");
    }
    let mut synced = Vec::new();
    for number in 0..FILES {
        for (part, way) in Way::ALL.into_iter().enumerate() {
            let number = number * Way::ALL.len() as u64 + part as u64;
            fs::write(old.join(format!("noise-{number}")), bytes(number, 5000)).expect("a file can be written");
            let (path, content) = make(disk.path(), way, number);
            synced.push(Synced { way, path, content, at: clock.load(Ordering::SeqCst) as usize });
        }
    }
    (disk.device.recording(), synced)
}

/// Of each way, how many of the files are there, and how many must have been.
fn kept(file_system: FileSystem, directory: &Path, image: &Image, synced: &[&Synced]) -> BTreeMap<Way, (u64, u64)> {
    let disk = Disk::mount(file_system, directory, image, None, "").unwrap_or_else(|broken| panic!("{broken}"));
    let mut kept = BTreeMap::<Way, (u64, u64)>::new();
    for Synced { way, path, content, .. } in synced {
        let found = fs::read(path).ok();
        let is_there = found.as_ref() == Some(content);
        let wrong = || format!("{} is there with other bytes: {way:?} on {file_system}", path.display());
        assert!(is_there || found.is_none(), "{}", wrong());
        let counts = kept.entry(*way).or_default();
        *counts = (counts.0 + u64::from(is_there), counts.1 + 1);
    }
    drop(disk);
    kept
}

/// The assumption: a sync of a file keeps the name that it was made under, without one of its directory.
fn assert_first_names_are_kept(file_system: FileSystem) {
    if let Some(obstacle) = file_system.obstacle() {
        eprintln!("rig names, {file_system}: not run: {obstacle}");
        return;
    }
    let directory = temporary_directory();
    let (recording, synced) = record(file_system, directory.path());
    let mut random = Random(seed());
    let mut all = BTreeMap::<Way, (u64, u64)>::new();
    let mut player = Player::new(&recording);
    for image in 0..number("ORLOP_BLOCK_IMAGES", IMAGES_DEFAULT) {
        let chosen = recording.durable_at(synced[random.below(synced.len() as u64) as usize].at);
        // The very moment at which its sync was answered, or a later one.
        let moment = match image % 2 {
            0 => recording.after_flush(chosen),
            _ => recording.between_flushes(chosen, &mut random),
        };
        let promised: Vec<&Synced> = synced.iter().filter(|synced| synced.at <= moment.until).collect();
        for (way, (there, of)) in kept(file_system, directory.path(), &player.image(&moment), &promised) {
            assert!(!way.is_kept() || there == of, "{way:?}: {there} of {of} on {file_system}, {moment}");
            let counts = all.entry(way).or_default();
            *counts = (counts.0 + there, counts.1 + of);
        }
    }
    let told = all.iter().map(|(way, (there, of))| format!("{way:?} {there}/{of}"));
    eprintln!("rig names, {file_system}: {}", told.collect::<Vec<_>>().join(", "));
}

#[test]
fn a_sync_keeps_the_first_name_on_ext4() {
    assert_first_names_are_kept(FileSystem::Ext4);
}

#[test]
fn a_sync_keeps_the_first_name_on_ext4_without_a_journal() {
    assert_first_names_are_kept(FileSystem::Ext4WithoutJournal);
}

#[test]
fn a_sync_keeps_the_first_name_on_xfs() {
    assert_first_names_are_kept(FileSystem::Xfs);
}

#[test]
fn a_sync_keeps_the_first_name_on_btrfs() {
    assert_first_names_are_kept(FileSystem::Btrfs);
}
