//! The index on disk: RocksDB, one column family per table.
//!
//! In: the calls of [`Index`]. Out: answers from the newest state or a snapshot. When a synced
//! write returns, it and all earlier writes survive a power cut; when [`RocksIndex::open`] returns,
//! no synced write is missing.

#[expect(unsafe_code, reason = "RocksDB's crate takes such an environment as a raw pointer only")]
mod file_system;
mod files;
mod room;
mod settings;
mod synced;
mod versions;

use std::{
    fs::{self, TryLockError},
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rocksdb::{ColumnFamily, DB, DBPinnableSlice, ErrorKind, ReadOptions, ReadTier, WriteBatch, WriteOptions};

pub use files::TableFiles;
pub use settings::RocksOptions;

use self::synced::SyncedSequence;
use super::{Cached, Changes, Condition, Durability, Index, IndexError, Outcome, Pair, Snapshot, Table, Value};

/// Room made at once for the result of a scan; a longer result grows.
const SCAN_CAPACITY_MAX: usize = 1024;

/// An open RocksDB index. Closing it (dropping) syncs what was buffered and may wait for background
/// work, so do it where blocking is allowed.
pub struct RocksIndex {
    db: DB,
    /// Held from the check of the conditions to the end of the write. Only the commit path writes,
    /// and gathers what it can into one batch, so nothing queues here for long.
    writer: Mutex<()>,
    /// `None` when opened read-only.
    synced: Option<SyncedSequence>,
    /// A write or a sync failed: nothing is known about what was to be durable, and nothing more is written.
    has_failed: AtomicBool,
    cached_only: ReadOptions,
    uncached: ReadOptions,
}

impl RocksIndex {
    /// Opens the index in directory `path`, creating it, its parents and missing tables.
    ///
    /// A torn tail of changes that were never synced is dropped without an error, and so is a torn
    /// change of the list of files. Where there is hardly any room on the device, what is in the logs
    /// stays there. Errors:
    /// [`IndexError::InUse`] when it is open already, here or in another process;
    /// [`IndexError::NoSpace`] when there is no room at all;
    /// [`IndexError::Corrupt`] when files are damaged or missing, when synced changes are missing
    /// from the log, or when it has tables this version does not know. The data is then left as it
    /// was found.
    pub fn open(path: &Path, options: RocksOptions) -> Result<Self, IndexError> {
        refuse_headless(path)?;
        fs::create_dir_all(path).map_err(|e| file_error(path, &e))?;
        let synced = SyncedSequence::open(path).map_err(|e| match e {
            TryLockError::WouldBlock => IndexError::InUse(path.display().to_string()),
            TryLockError::Error(e) => file_error(path, &e),
        })?;
        versions::cut_torn_end(path).map_err(|e| file_error(path, &e))?;
        let db = Self::open_files(path, &options)?;
        Ok(Self::new(db, Some(synced)))
    }

    fn open_files(path: &Path, options: &RocksOptions) -> Result<DB, IndexError> {
        let recorded = recorded(path)?;
        if path.join("CURRENT").exists() && recorded.is_some() {
            // Opening for writing replaces the log by what could be read of it. The damage must
            // be found before, while the log is still there to be salvaged.
            Self::read_only(path, options)?;
        }
        let db = match room::shortage(path) {
            None => {
                let tables = settings::tables(options, &Table::ALL);
                DB::open_cf_descriptors(&settings::database(options), path, tables).map_err(open_error)?
            }
            Some(logs) => Self::open_frugally(path, options, logs)?,
        };
        // It was read a second time, and may have come out differently.
        refuse_loss(path, recorded, db.latest_sequence_number())?;
        Ok(db)
    }

    /// `logs` is how many bytes of logs there are.
    fn open_frugally(path: &Path, options: &RocksOptions, logs: u64) -> Result<DB, IndexError> {
        tracing::warn!("there is hardly any room for the index; what is in its logs stays there");
        room::sync_logs(path).map_err(|e| file_error(path, &e))?;
        let options = room::roomier(options, logs);
        let tables = settings::tables(&options, &Table::ALL);
        let database = settings::frugal(&options).map_err(error)?;
        let db = DB::open_cf_descriptors(&database, path, tables).map_err(open_error)?;
        room::reserve_log(path);
        Ok(db)
    }

    /// Opens an existing index for reading; missing tables are empty. Nothing but RocksDB's
    /// diagnostic log is written.
    ///
    /// It does not keep others from opening the index: what it sees while another process writes
    /// is undefined. Errors are those of [`RocksIndex::open`] without [`IndexError::InUse`]; a
    /// write fails with [`IndexError::Io`].
    pub fn open_read_only(path: &Path) -> Result<Self, IndexError> {
        refuse_headless(path)?;
        Self::read_only(path, &RocksOptions::default())
    }

    fn read_only(path: &Path, options: &RocksOptions) -> Result<Self, IndexError> {
        let recorded = recorded(path)?;
        let mut database = settings::database(options);
        database.create_if_missing(false);
        let names = DB::list_cf(&database, path).map_err(open_error)?;
        let present: Vec<Table> = Table::ALL.into_iter().filter(|t| names.iter().any(|n| n == t.name())).collect();
        let tables = settings::tables(options, &present);
        let db = DB::open_cf_descriptors_read_only(&database, path, tables, false).map_err(open_error)?;
        refuse_loss(path, recorded, db.latest_sequence_number())?;
        Ok(Self::new(db, None))
    }

    fn new(db: DB, synced: Option<SyncedSequence>) -> Self {
        let mut cached_only = ReadOptions::default();
        cached_only.set_read_tier(ReadTier::BlockCache);
        let mut uncached = ReadOptions::default();
        uncached.fill_cache(false);
        uncached.set_verify_checksums(true);
        let has_failed = AtomicBool::new(false);
        Self { db, writer: Mutex::new(()), synced, has_failed, cached_only, uncached }
    }

    /// `None` only for a table that an index opened read-only does not have.
    fn family(&self, table: Table) -> Option<&ColumnFamily> {
        self.db.cf_handle(table.name())
    }

    fn get_with(
        &self,
        table: Table,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<DBPinnableSlice<'_>>, rocksdb::Error> {
        match self.family(table) {
            Some(family) => self.db.get_pinned_cf_opt(family, key, options),
            None => Ok(None),
        }
    }

    fn holds(&self, condition: &Condition) -> Result<bool, IndexError> {
        let found = self.get_with(condition.table, &condition.key, &ReadOptions::default()).map_err(error)?;
        Ok(found.as_deref() == condition.expected.as_deref())
    }

    fn batch(&self, writes: &[(Table, Vec<u8>, Option<Value>)]) -> Result<WriteBatch, IndexError> {
        let mut batch = WriteBatch::default();
        for (table, key, value) in writes {
            let Some(family) = self.family(*table) else {
                return Err(IndexError::Io(format!("table {} is not open for writing", table.name())));
            };
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        Ok(batch)
    }

    /// Notes that everything written so far is durable.
    fn record_synced(&self) {
        let Some(synced) = &self.synced else { return };
        // The changes are durable whether or not this can be noted, so they are acknowledged.
        if let Err(e) = synced.record(self.db.latest_sequence_number()) {
            tracing::warn!(error = %e, "cannot record the synced sequence number; lost changes may go unnoticed at the next start");
        }
    }

    /// Makes every earlier write durable.
    fn sync(&self) -> Result<(), IndexError> {
        self.db.flush_wal(true).map_err(|e| self.failed(e))?;
        self.record_synced();
        Ok(())
    }

    /// Ends the background work when a write failed: it would make tables of changes of which nobody knows whether they
    /// are durable, and try again what is to wait for a restart.
    fn failed(&self, e: rocksdb::Error) -> IndexError {
        self.has_failed.store(true, Ordering::SeqCst);
        self.db.cancel_all_background_work(false);
        error(e)
    }
}

impl Index for RocksIndex {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        let found = self.get_with(table, key, &ReadOptions::default()).map_err(error)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn reread(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        let found = self.get_with(table, key, &self.uncached).map_err(error)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Cached, IndexError> {
        match self.get_with(table, key, &self.cached_only) {
            Ok(found) => Ok(Cached::Known(found.map(|value| value.to_vec()))),
            Err(e) if e.kind() == ErrorKind::Incomplete => Ok(Cached::Unknown),
            Err(e) => Err(error(e)),
        }
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(RocksSnapshot { index: self, view: self.db.snapshot() })
    }

    fn write(&self, changes: &Changes, durability: Durability) -> Result<Outcome, IndexError> {
        let batch = self.batch(&changes.writes)?;
        // The lock guards no data of its own, so a panic elsewhere left nothing half done.
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for condition in &changes.conditions {
            if !self.holds(condition)? {
                return Ok(Outcome::Conflict);
            }
        }
        let synced = durability == Durability::Synced;
        if batch.is_empty() {
            if synced {
                self.sync()?;
            }
            return Ok(Outcome::Applied);
        }
        let mut options = WriteOptions::default();
        options.set_sync(synced);
        self.db.write_opt(batch, &options).map_err(|e| self.failed(e))?;
        if synced {
            self.record_synced();
        }
        Ok(Outcome::Applied)
    }

    /// Counts overwritten and deleted keys until a compaction has removed them.
    fn estimate(&self, table: Table) -> u64 {
        let Some(family) = self.family(table) else { return 0 };
        match self.db.property_int_value_cf(family, rocksdb::properties::ESTIMATE_NUM_KEYS) {
            Ok(estimate) => estimate.unwrap_or(0),
            Err(e) => {
                tracing::warn!(error = %e, table = table.name(), "RocksDB gives no estimate");
                0
            }
        }
    }
}

impl Drop for RocksIndex {
    fn drop(&mut self) {
        // A second sync could succeed without what the first one has lost.
        if self.synced.is_some()
            && !self.has_failed.load(Ordering::SeqCst)
            && let Err(e) = self.sync()
        {
            tracing::warn!(error = %e, "buffered changes could not be synced while closing the index");
        }
        // Table files need not be written: the log is replayed at the next start.
        self.db.cancel_all_background_work(true);
    }
}

struct RocksSnapshot<'a> {
    index: &'a RocksIndex,
    view: rocksdb::Snapshot<'a>,
}

impl Snapshot for RocksSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        let Some(family) = self.index.family(table) else { return Ok(None) };
        let found = self.view.get_pinned_cf(family, key).map_err(error)?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        let Some(family) = self.index.family(table) else { return Ok(Vec::new()) };
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // The bounds keep the iterator from reading into neighbouring keys and their tombstones.
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let mut pairs = Vec::with_capacity(limit.min(SCAN_CAPACITY_MAX));
        let mut entries = self.view.raw_iterator_cf_opt(family, options);
        entries.seek(scan_start(prefix, after));
        while pairs.len() < limit
            && let Some((key, value)) = entries.item()
        {
            pairs.push((key.to_vec(), value.to_vec()));
            entries.next();
        }
        entries.status().map_err(error)?;
        Ok(pairs)
    }
}

/// The smallest key a scan may return.
fn scan_start(prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        // No key lies between a key and the same key with a zero byte added.
        Some(after) if after >= prefix => [after, &[0]].concat(),
        _ => prefix.to_vec(),
    }
}

/// Refuses a directory that has data of an index but not the file that names its current state.
/// RocksDB would start an empty index there.
fn refuse_headless(path: &Path) -> Result<(), IndexError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(file_error(path, &e)),
    };
    let mut data = None;
    for entry in entries {
        let name = entry.map_err(|e| file_error(path, &e))?.file_name();
        if name == "CURRENT" {
            return Ok(());
        }
        let extension = Path::new(&name).extension().and_then(|e| e.to_str());
        if matches!(extension, Some("sst" | "blob" | "log")) {
            data = Some(name);
        }
    }
    match data {
        None => Ok(()),
        Some(data) => Err(IndexError::Corrupt(format!(
            "{} has {} but no CURRENT file; restore the directory from a backup",
            path.display(),
            Path::new(&data).display(),
        ))),
    }
}

/// Refuses an index whose log lost changes that had been synced.
fn refuse_loss(path: &Path, recorded: Option<u64>, recovered: u64) -> Result<(), IndexError> {
    match recorded {
        Some(synced) if recovered < synced => Err(IndexError::Corrupt(format!(
            "{}: synced changes are missing: the log is readable up to change {recovered}, expected at least {synced}; \
             restore a backup, or remove {} to accept the loss",
            path.display(),
            SyncedSequence::path(path).display(),
        ))),
        _ => Ok(()),
    }
}

fn recorded(path: &Path) -> Result<Option<u64>, IndexError> {
    SyncedSequence::read(path).map_err(|e| file_error(path, &e))
}

fn file_error(path: &Path, e: &io::Error) -> IndexError {
    match e.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => IndexError::NoSpace(format!("{}: {e}", path.display())),
        _ => IndexError::Io(format!("{}: {e}", path.display())),
    }
}

/// While opening, a file that is named but missing, or that has a foreign format, is damage too.
fn open_error(e: rocksdb::Error) -> IndexError {
    let missing = e.as_ref().contains("No such file or directory");
    match e.kind() {
        ErrorKind::NotSupported => IndexError::Corrupt(e.into_string()),
        ErrorKind::IOError if missing => IndexError::Corrupt(e.into_string()),
        _ => error(e),
    }
}

/// RocksDB gives a kind and, for what it got from the operating system, only a text.
fn error(e: rocksdb::Error) -> IndexError {
    let kind = e.kind();
    let text = e.into_string();
    let has = |part: &str| text.contains(part);
    match kind {
        ErrorKind::Corruption | ErrorKind::InvalidArgument => IndexError::Corrupt(text),
        _ if has("No space left on device") || has("Disk quota exceeded") => IndexError::NoSpace(text),
        _ if has("lock hold by current process") => IndexError::InUse(text),
        _ if has("While lock file") && has("Resource temporarily unavailable") => IndexError::InUse(text),
        _ => IndexError::Io(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_starts_at_the_prefix_or_behind_the_given_key() {
        assert_eq!(scan_start(b"ab", None), b"ab");
        assert_eq!(scan_start(b"ab", Some(b"aa")), b"ab");
        assert_eq!(scan_start(b"ab", Some(b"ab")), b"ab\0");
        assert_eq!(scan_start(b"ab", Some(b"abc")), b"abc\0");
    }

    fn count(root: &Path, extension: &str) -> usize {
        let paths = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).count()
    }

    /// Opened again and again without room, an index keeps everything in its logs; with room they become tables.
    #[test]
    fn a_frugal_opening_leaves_the_logs_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        let (path, options) = (root.path(), RocksOptions::default());
        let rows = |index: &RocksIndex| index.snapshot().scan(Table::Names, b"", None, 100).unwrap().len();
        let write = |index: &RocksIndex, row: u8| {
            let writes = vec![(Table::Names, vec![row], Some(vec![row]))];
            index.write(&Changes { conditions: vec![], writes }, Durability::Synced).unwrap();
        };
        write(&RocksIndex::open(path, options.clone()).unwrap(), 0);
        for opening in 1..=4 {
            let synced = SyncedSequence::open(path).unwrap();
            let db = RocksIndex::open_frugally(path, &options, 1 << 20).unwrap();
            let index = RocksIndex::new(db, Some(synced));
            assert_eq!(rows(&index), usize::from(opening));
            write(&index, opening);
            assert_eq!((count(path, "sst"), count(path, "log")), (0, usize::from(opening) + 1));
        }
        let index = RocksIndex::open(path, options.clone()).unwrap();
        assert_eq!(rows(&index), 5);
        assert!(count(path, "sst") > 0);
        // Files that are of no use are removed in the background, which closing waits for.
        drop(index);
        assert_eq!(count(path, "log"), 1);
        assert_eq!(rows(&RocksIndex::open(path, options).unwrap()), 5);
    }

    #[test]
    fn a_log_that_ends_before_the_recorded_change_is_refused() {
        let path = Path::new("index");
        assert!(matches!(refuse_loss(path, Some(8), 7), Err(IndexError::Corrupt(_))));
        assert!(refuse_loss(path, Some(8), 8).is_ok());
        assert!(refuse_loss(path, Some(8), 9).is_ok());
        assert!(refuse_loss(path, None, 0).is_ok());
    }
}
