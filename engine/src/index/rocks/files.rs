//! The table files of an open index: what each table takes, and rewriting them.
//!
//! For measuring and maintenance. Nothing on the way of a request calls this.

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::{RocksIndex, error};
use crate::index::{IndexError, Table};

/// What a table has in table files; changes that are only in the write-ahead log do not count, and
/// neither do large values, which lie in blob files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFiles {
    pub table: Table,
    pub files: u64,
    pub bytes: u64,
    /// Keys, overwritten and deleted ones included until a compaction has removed them.
    pub entries: u64,
}

impl RocksIndex {
    /// The table files of every table, in the order of [`Table::ALL`].
    pub fn table_files(&self) -> Result<Vec<TableFiles>, IndexError> {
        let live = self.db.live_files().map_err(error)?;
        let sum = |table: Table| {
            let none = TableFiles { table, files: 0, bytes: 0, entries: 0 };
            live.iter().filter(|file| file.column_family_name == table.name()).fold(none, |sum, file| TableFiles {
                files: sum.files + 1,
                bytes: sum.bytes + file.size as u64,
                entries: sum.entries + file.num_entries,
                ..sum
            })
        };
        Ok(Table::ALL.into_iter().map(sum).collect())
    }

    /// Writes out what is only in the log and rewrites all table files with the present settings,
    /// without what was overwritten or deleted. Takes minutes for gigabytes; reads and writes go on
    /// meanwhile.
    pub fn compact(&self) -> Result<(), IndexError> {
        let mut options = CompactOptions::default();
        // The last level too: otherwise old settings stay in files that nothing else touches.
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        for family in Table::ALL.into_iter().filter_map(|table| self.family(table)) {
            self.db.flush_cf(family).map_err(error)?;
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }
}
