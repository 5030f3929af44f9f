//! RocksDB's files: reopening, locking, damage.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use orlop_engine::index::{Cached, Changes, Durability, Index, IndexError, RocksIndex, RocksOptions, Table};

use crate::{apply, buffer, put};

/// What is done to a closed index's directory, and its name.
type Damage = (&'static str, fn(&Path));

/// Small, so that a test reaches table files and blob files.
fn options() -> RocksOptions {
    RocksOptions { cache_bytes: 4 << 20, write_buffer_bytes: 256 << 10, wal_bytes_max: 1 << 20, open_files_max: 64 }
}

pub fn open(root: &Path) -> RocksIndex {
    RocksIndex::open(root, options()).unwrap()
}

fn refused(root: &Path) -> IndexError {
    RocksIndex::open(root, options()).err().expect("it must be refused")
}

fn files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

/// The state of the files now, as a killed process leaves it.
fn killed(root: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}

fn flip_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// The one log with content.
fn log(root: &Path) -> PathBuf {
    let logs = files(root, "log").into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0);
    let [log] = logs.collect::<Vec<_>>().try_into().expect("one log");
    log
}

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// Writes enough content, none of it compressible away, that table and blob files appear.
fn fill(index: &RocksIndex) -> u32 {
    const KEYS: u32 = 400;
    for n in 0..KEYS {
        let value = vec![n as u8; if n % 2 == 0 { 8 << 10 } else { 1 << 10 }];
        buffer(index, &put(Table::Bytes, &key(n), &value));
    }
    apply(index, &Changes::default());
    KEYS
}

#[test]
fn a_reopened_index_has_everything() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    apply(&index, &put(Table::Names, b"synced", b"1"));
    buffer(&index, &put(Table::Names, b"buffered", b"2"));
    drop(index);
    let index = open(root.path());
    assert_eq!(index.get(Table::Names, b"synced").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(index.get(Table::Names, b"buffered").unwrap().as_deref(), Some(b"2".as_slice()));
}

#[test]
fn a_killed_process_loses_nothing_it_synced() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    for n in 0..100 {
        apply(&index, &put(Table::Names, &key(n), b"v"));
    }
    let copy = killed(root.path());
    assert_eq!(open(copy.path()).snapshot().scan(Table::Names, b"", None, 1000).unwrap().len(), 100);
}

#[test]
fn content_in_table_and_blob_files_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    let count = fill(&index);
    drop(index);
    let index = open(root.path());
    assert!(!files(root.path(), "sst").is_empty());
    assert!(!files(root.path(), "blob").is_empty(), "large values are kept apart");
    for n in 0..count {
        let value = index.get(Table::Bytes, &key(n)).unwrap().unwrap();
        assert_eq!(value, vec![n as u8; if n % 2 == 0 { 8 << 10 } else { 1 << 10 }]);
    }
    let found = index.snapshot().scan(Table::Bytes, b"", None, 1000).unwrap();
    assert!(found.iter().map(|(key, _)| key.clone()).eq((0..count).map(|n| key(n).to_vec())));
}

#[test]
fn what_only_the_disk_knows_is_unknown_until_it_was_read() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    fill(&index);
    drop(index);
    let index = open(root.path());
    // An even number: its value lies in a blob file.
    let at = key(10);
    assert_eq!(index.get_cached(Table::Bytes, &at).unwrap(), Cached::Unknown);
    let value = index.get(Table::Bytes, &at).unwrap();
    assert!(value.is_some());
    assert_eq!(index.get_cached(Table::Bytes, &at).unwrap(), Cached::Known(value));
}

#[test]
fn a_second_opener_is_refused_until_the_first_has_closed() {
    let root = tempfile::tempdir().unwrap();
    let first = open(root.path());
    apply(&first, &put(Table::Meta, b"k", b"v"));
    let error = refused(root.path());
    assert!(matches!(error, IndexError::InUse(_)), "{error}");
    // The refusal did not loosen the first one's hold.
    let error = refused(root.path());
    assert!(matches!(error, IndexError::InUse(_)), "{error}");
    apply(&first, &put(Table::Meta, b"k", b"w"));
    drop(first);
    assert_eq!(open(root.path()).get(Table::Meta, b"k").unwrap().as_deref(), Some(b"w".as_slice()));
}

/// As a tool of RocksDB's own would hold it, or a process of another version.
#[test]
fn the_lock_of_rocksdb_is_respected_too() {
    let root = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let held = rocksdb::DB::open(&options, root.path()).unwrap();
    let error = refused(root.path());
    assert!(matches!(error, IndexError::InUse(_)), "{error}");
    drop(held);
    drop(open(root.path()));
}

#[test]
fn a_table_of_another_version_is_refused() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    let names = Table::ALL.map(Table::name);
    let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), root.path(), names).unwrap();
    db.create_cf("unheard-of", &rocksdb::Options::default()).unwrap();
    drop(db);
    let error = refused(root.path());
    assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
}

#[test]
fn a_torn_tail_that_was_not_synced_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    apply(&index, &put(Table::Meta, b"synced", b"1"));
    buffer(&index, &put(Table::Meta, b"buffered", b"2"));
    buffer(&index, &put(Table::Meta, b"torn", &[3; 100]));
    for damage in [|log: &Path| cut(log, 30), |log: &Path| flip_byte(log, fs::read(log).unwrap().len() - 30)] {
        let copy = killed(root.path());
        damage(&log(copy.path()));
        let left = open(copy.path());
        assert_eq!(left.get(Table::Meta, b"synced").unwrap().as_deref(), Some(b"1".as_slice()));
        assert_eq!(left.get(Table::Meta, b"buffered").unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(left.get(Table::Meta, b"torn").unwrap(), None);
        apply(&left, &put(Table::Meta, b"torn", b"4"));
    }
}

#[test]
fn damage_to_synced_changes_in_the_log_is_reported_and_not_repaired_away() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    for n in 0..100 {
        apply(&index, &put(Table::Meta, &key(n), &[5; 50]));
    }
    for damage in [|log: &Path| flip_byte(log, fs::read(log).unwrap().len() / 2), |log: &Path| cut(log, 30)] {
        let copy = killed(root.path());
        let log = log(copy.path());
        damage(&log);
        let damaged = fs::read(&log).unwrap();
        for _ in 0..2 {
            let error = refused(copy.path());
            assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
            assert_eq!(fs::read(&log).unwrap(), damaged, "the log is left for salvage");
        }
        let error = RocksIndex::open_read_only(copy.path()).err().expect("it must be refused");
        assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
        // The way out that the error names: accept the loss.
        fs::remove_file(copy.path().join("synced-sequence")).unwrap();
        let left = open(copy.path()).snapshot().scan(Table::Meta, b"", None, 1000).unwrap().len();
        assert!((1..100).contains(&left), "{left} of 100 left");
    }
}

#[test]
fn damaged_or_missing_files_are_reported() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    fill(&index);
    drop(index);
    let damages: [Damage; 5] = [
        ("CURRENT is garbage", |root| fs::write(root.join("CURRENT"), "garbage").unwrap()),
        ("CURRENT names nothing", |root| {
            let name = fs::read_to_string(root.join("CURRENT")).unwrap();
            let absent = name.replace(|c: char| c.is_ascii_digit(), "9");
            fs::write(root.join("CURRENT"), absent).unwrap();
        }),
        ("CURRENT is missing", |root| fs::remove_file(root.join("CURRENT")).unwrap()),
        ("a table file is short", |root| cut(&files(root, "sst")[0], 100)),
        ("a table file is missing", |root| fs::remove_file(&files(root, "sst")[0]).unwrap()),
    ];
    for (what, damage) in damages {
        let copy = killed(root.path());
        damage(copy.path());
        let error = refused(copy.path());
        assert!(matches!(error, IndexError::Corrupt(_)), "{what}: {error}");
        let error = RocksIndex::open_read_only(copy.path()).err();
        assert!(matches!(error, Some(IndexError::Corrupt(_))), "{what}: {error:?}");
    }
}

#[test]
fn damage_inside_a_table_file_is_reported_when_it_is_read() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    fill(&index);
    drop(index);
    for path in files(root.path(), "blob") {
        let middle = fs::read(&path).unwrap().len() / 2;
        flip_byte(&path, middle);
    }
    let index = open(root.path());
    let error = index.snapshot().scan(Table::Bytes, b"", None, 1000).unwrap_err();
    assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
}

#[test]
fn a_damaged_record_of_the_synced_sequence_does_not_stop_the_start() {
    let root = tempfile::tempdir().unwrap();
    apply(&open(root.path()), &put(Table::Meta, b"k", b"v"));
    flip_byte(&root.path().join("synced-sequence"), 0);
    assert_eq!(open(root.path()).get(Table::Meta, b"k").unwrap().as_deref(), Some(b"v".as_slice()));
}

#[test]
fn a_reader_sees_everything_and_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    let count = fill(&index);
    drop(index);
    let reader = RocksIndex::open_read_only(root.path()).unwrap();
    assert_eq!(reader.snapshot().scan(Table::Bytes, b"", None, 1000).unwrap().len(), count as usize);
    let refused = reader.write(&put(Table::Meta, b"k", b"v"), Durability::Synced);
    assert!(matches!(refused, Err(IndexError::Io(_))), "{refused:?}");
}

#[test]
fn a_reader_creates_no_index() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("absent");
    assert!(RocksIndex::open_read_only(&path).is_err());
    assert!(!path.join("CURRENT").exists());
}

#[test]
fn missing_tables_are_created() {
    let root = tempfile::tempdir().unwrap();
    drop(open(root.path()));
    let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), root.path(), Table::ALL.map(Table::name)).unwrap();
    db.drop_cf(Table::Uploads.name()).unwrap();
    drop(db);
    let reader = RocksIndex::open_read_only(root.path()).unwrap();
    assert_eq!(reader.get(Table::Uploads, b"k").unwrap(), None);
    drop(reader);
    apply(&open(root.path()), &put(Table::Uploads, b"k", b"v"));
}
