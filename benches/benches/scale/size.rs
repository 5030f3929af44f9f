//! What the index takes on disk, and how much of it the page cache has.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use orlop_engine::index::{RocksIndex, RocksOptions, TableFiles};
use rustix::fs::{Advice, fadvise};

use crate::Outcome;

/// Bytes of an index directory, by kind of file.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexBytes {
    /// Table files and files of large values.
    pub tables: u64,
    /// Write-ahead logs.
    pub logs: u64,
    /// Everything else: manifests, options, RocksDB's own log.
    pub other: u64,
}

impl IndexBytes {
    /// Adds up the lengths of the files of the store at `root`.
    pub fn of(root: &Path) -> Outcome<Self> {
        let mut bytes = IndexBytes::default();
        for path in files(root)? {
            let length = fs::metadata(&path)?.len();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("sst" | "blob") => bytes.tables += length,
                Some("log") => bytes.logs += length,
                _ => bytes.other += length,
            }
        }
        Ok(bytes)
    }

    pub fn total(self) -> u64 {
        self.tables + self.logs + self.other
    }
}

/// Makes the next reads of the index come from the device: its files leave the page cache.
pub fn drop_from_memory(root: &Path) -> Outcome<()> {
    for path in files(root)? {
        let file = File::open(path)?;
        // Only pages that are on the device can be dropped.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Brings the index into the page cache, as far as the machine has memory for it.
pub fn load_into_memory(root: &Path) -> Outcome<()> {
    for path in files(root)? {
        io::copy(&mut File::open(path)?, &mut io::sink())?;
    }
    Ok(())
}

/// Rewrites the tables of a closed store. Gives what each takes afterwards.
pub fn compact(root: &Path) -> Outcome<Vec<TableFiles>> {
    let index = RocksIndex::open(&root.join("index"), RocksOptions::default())?;
    index.compact()?;
    Ok(index.table_files()?)
}

fn files(root: &Path) -> Outcome<Vec<PathBuf>> {
    let entries: Result<Vec<_>, _> = fs::read_dir(root.join("index"))?.collect();
    let paths = entries?.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.is_file()).collect())
}
