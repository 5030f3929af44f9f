//! The disk itself: it is a file system like others, and it loses what it should lose.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
};

use orlop_tests::{
    faults::{Class, Fault, FaultDisk, Harm, Kind, Left},
    stream::Random,
};
use rustix::{
    fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, linkat, openat},
    io::Errno,
};

use crate::common::mounted;

const SEED: u64 = 7;

fn write(path: &Path, bytes: &[u8]) -> File {
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path).expect("a file");
    file.write_all(bytes).expect("it can be written");
    file
}

fn sync_directory(path: &Path) {
    File::open(path).expect("a directory").sync_all().expect("it can be synced");
}

fn cut_power(disk: &mut FaultDisk, left: Left) {
    disk.lose_power(left, &mut Random(SEED));
}

#[test]
fn only_what_was_synced_and_whose_name_was_synced_is_left() {
    let Some((mut disk, _directory)) = mounted("disk") else { return };
    let root = disk.path().join("root");
    fs::create_dir(&root).expect("a directory");
    sync_directory(disk.path());
    write(&root.join("whole"), b"bytes").sync_all().expect("synced");
    write(&root.join("empty"), b"bytes");
    sync_directory(&root);
    write(&root.join("made"), b"bytes").sync_all().expect("synced");
    fs::hard_link(root.join("whole"), root.join("linked")).expect("linked");
    File::open(root.join("whole")).expect("it is there").sync_all().expect("synced");
    let mut more = OpenOptions::new().append(true).open(root.join("whole")).expect("it is there");
    more.write_all(b" and more").expect("it can be written");
    cut_power(&mut disk, Left::Durable);
    assert_eq!(fs::read(root.join("whole")).expect("it was synced"), b"bytes");
    assert_eq!(fs::read(root.join("empty")).expect("its name was synced"), b"");
    assert_eq!(fs::read(root.join("made")).expect("synced under its first name"), b"bytes");
    assert!(!root.join("linked").exists(), "its second name was not synced");
}

#[test]
fn a_rename_is_lost_as_a_whole_or_not_at_all() {
    let Some((mut disk, _directory)) = mounted("disk") else { return };
    let root = disk.path().join("root");
    fs::create_dir(&root).expect("a directory");
    write(&root.join("old"), b"old").sync_all().expect("synced");
    write(&root.join("new"), b"new").sync_all().expect("synced");
    sync_directory(&root);
    sync_directory(disk.path());
    let begin = disk.image();
    let mut found = [0; 2];
    for seed in 0..20 {
        disk.restore(&begin);
        fs::rename(root.join("new"), root.join("old")).expect("renamed");
        disk.lose_power(Left::Some, &mut Random(seed));
        let names: Vec<bool> = ["old", "new"].map(|name| root.join(name).exists()).to_vec();
        let bytes = fs::read(root.join("old")).expect("the old name leads to one of them");
        match (names.as_slice(), bytes.as_slice()) {
            ([true, true], b"old") => found[0] += 1,
            ([true, false], b"new") => found[1] += 1,
            other => panic!("half of a rename: {other:?}"),
        }
    }
    assert!(found.iter().all(|count| *count > 0), "both come out: {found:?}");
}

#[test]
fn files_without_a_name_direct_writes_and_mapped_reads_work() {
    let Some((mut disk, _directory)) = mounted("disk") else { return };
    let root = disk.path().join("root");
    fs::create_dir(&root).expect("a directory");
    sync_directory(disk.path());
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let plain = openat(CWD, &root, flags, Mode::RUSR | Mode::WUSR).expect("a file without a name");
    fallocate(&plain, FallocateFlags::empty(), 0, 1 << 20).expect("allocated");
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&plain));
    let direct = openat(CWD, path, OFlags::WRONLY | OFlags::DIRECT, Mode::empty()).expect("past the page cache");
    // A page of the heap is aligned if enough of it is taken.
    let room = vec![0x5a_u8; 3 * 4096];
    let aligned = room.as_ptr().align_offset(4096);
    assert_eq!(rustix::io::pwrite(&direct, &room[aligned..aligned + 8192], 4096), Ok(8192));
    rustix::fs::ftruncate(&plain, 8000).expect("cut");
    rustix::fs::fdatasync(&plain).expect("synced");
    linkat(plain.as_fd(), "", CWD, root.join("linked"), AtFlags::EMPTY_PATH).expect("it gets a name");
    sync_directory(&root);
    cut_power(&mut disk, Left::Durable);
    let mut file = File::open(root.join("linked")).expect("name and bytes were synced");
    assert_eq!(file.metadata().expect("it is there").len(), 8000);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4095).expect("read");
    assert_eq!(byte, [0], "a hole");
    file.seek(SeekFrom::Start(4096)).expect("a place");
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).expect("read");
    assert_eq!(rest, vec![0x5a; 8000 - 4096]);
}

#[test]
fn a_failed_sync_loses_the_bytes_and_the_next_one_succeeds() {
    let Some((mut disk, _directory)) = mounted("disk") else { return };
    let root = disk.path().join("root");
    fs::create_dir(&root).expect("a directory");
    sync_directory(disk.path());
    let file = write(&root.join("file"), b"lost");
    sync_directory(&root);
    let harm = Harm::Error(Errno::IO);
    disk.set_fault(Some(Fault { at: 1, kinds: vec![Kind::Sync], class: Some(Class::Other), harm, lasts: false }));
    assert_eq!(file.sync_all().expect_err("it fails").raw_os_error(), Some(Errno::IO.raw_os_error()));
    file.sync_all().expect("the second one succeeds");
    assert_eq!(fs::read(root.join("file")).expect("still in memory"), b"lost");
    cut_power(&mut disk, Left::Everything);
    assert_eq!(fs::read(root.join("file")).expect("its name was synced"), [0; 4], "its bytes never came to the device");
}

#[test]
fn what_breaks_a_rule_is_noticed() {
    let Some((disk, _directory)) = mounted("disk") else { return };
    let blobs = disk.path().join("root/blobs");
    fs::create_dir_all(&blobs).expect("directories");
    fs::create_dir(disk.path().join("elsewhere")).expect("a directory");
    let early = write(&disk.path().join("root/early"), b"not synced");
    fs::rename(disk.path().join("root/early"), blobs.join("early")).expect("renamed");
    early.write_all_at(b"late", 0).expect("written");
    early.set_len(1).expect("cut");
    let broken = disk.broken_rules();
    for part in ["elsewhere, outside the store", "before its bytes are durable", "Write of root/blobs/early", "Resize"]
    {
        assert!(broken.iter().any(|rule| rule.contains(part)), "{part}: {broken:?}");
    }
}
