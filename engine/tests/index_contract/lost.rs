//! Tables whose names a failed sync has lost, as a power cut after it shows.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use orlop_engine::index::{Index, IndexError, RocksIndex, RocksOptions, Table};

use crate::{apply, put};

const OPENINGS: u32 = 3;
const KEYS: u32 = 50;

fn open(root: &Path) -> Result<RocksIndex, IndexError> {
    RocksIndex::open(root, RocksOptions::default())
}

fn tables(root: &Path) -> BTreeSet<PathBuf> {
    let paths = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect()
}

/// An index with some tables from logs; each opening but the first leaves some.
fn filled(root: &Path) -> RocksIndex {
    for opening in 0..OPENINGS {
        let index = open(root).unwrap();
        for n in 0..KEYS {
            apply(&index, &put(Table::Names, &(opening * KEYS + n).to_be_bytes(), &opening.to_be_bytes()));
        }
    }
    open(root).unwrap()
}

/// Compacts everything and closes the index. Gives the tables from before, kept elsewhere.
fn compacted(index: RocksIndex, root: &Path) -> (tempfile::TempDir, BTreeSet<PathBuf>) {
    let (aside, before) = (tempfile::tempdir_in(root.parent().unwrap()).unwrap(), tables(root));
    for path in &before {
        fs::hard_link(path, aside.path().join(path.file_name().unwrap())).unwrap();
    }
    index.compact().unwrap();
    drop(index);
    (aside, before)
}

fn lose(root: &Path, kept: &BTreeSet<PathBuf>) {
    let lost: Vec<PathBuf> = tables(root).difference(kept).cloned().collect();
    assert!(!lost.is_empty(), "the compaction made tables");
    lost.iter().for_each(|path| fs::remove_file(path).unwrap());
}

#[test]
fn a_compaction_whose_tables_are_lost_is_undone() {
    let root = tempfile::tempdir().unwrap();
    let (aside, before) = compacted(filled(root.path()), root.path());
    lose(root.path(), &before);
    for path in &before {
        drop(fs::hard_link(aside.path().join(path.file_name().unwrap()), path));
    }
    for _ in 0..2 {
        let index = open(root.path()).unwrap();
        let rows = index.snapshot().scan(Table::Names, b"", None, 1000).unwrap();
        let expected = (0..OPENINGS * KEYS).map(|n| (n.to_be_bytes().to_vec(), (n / KEYS).to_be_bytes().to_vec()));
        assert!(rows.into_iter().eq(expected));
        apply(&index, &put(Table::Meta, b"k", b"v"));
    }
}

#[test]
fn a_compaction_is_not_undone_when_what_it_replaced_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let (_aside, before) = compacted(filled(root.path()), root.path());
    lose(root.path(), &before);
    let error = open(root.path()).err().expect("it must be refused");
    assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
}

#[test]
fn a_table_from_a_log_is_not_undone() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path());
    apply(&index, &put(Table::Meta, b"k", b"v"));
    drop(index);
    let before = tables(root.path());
    drop(open(root.path()).unwrap());
    lose(root.path(), &before);
    let error = open(root.path()).err().expect("it must be refused");
    assert!(matches!(error, IndexError::Corrupt(_)), "{error}");
}
