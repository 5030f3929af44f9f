//! How RocksDB is set up, and why.
//!
//! In: [`RocksOptions`]. Out: the database's options and one descriptor per table. Settings that
//! are not here have RocksDB's default.

use std::{num::NonZero, thread};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
};

use super::file_system;
use crate::index::Table;

/// Values of [`Table::Bytes`] from this size on lie in blob files, where a compaction of the keys
/// does not copy them. Below it the pointer and the second read cost more than the copy.
const SEPARATE_VALUE_BYTES_MIN: u64 = 4 * 1024;
/// A blob file is rewritten once half of the oldest ones is garbage.
const VALUE_GARBAGE_RATIO_MAX: f64 = 0.5;
/// About one false positive in a hundred look-ups of absent keys.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Indexes and filters of table files are cut into parts of this size, which enter and leave the
/// cache one by one. In one piece a file's filter has 1.6 MB, and once the pieces no longer fit
/// nearly each look-up reads one (docs/performance.md, "Scale").
const METADATA_PART_BYTES: usize = 16 * 1024;
/// Memory taken at a time by a table's write buffer. The default of 1 MiB would let twelve barely
/// used tables hold a large part of the shared budget.
const ARENA_BLOCK_BYTES: usize = 128 * 1024;
/// Dirty pages handed to the device at a time in the background, so that the sync at the end of a
/// file does not stop everybody else's.
const BACKGROUND_SYNC_BYTES: u64 = 1024 * 1024;
/// RocksDB's own diagnostic log: this many files ...
const INFO_LOG_FILES_MAX: usize = 4;
/// ... of this size.
const INFO_LOG_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
const BACKGROUND_JOBS_MIN: i32 = 2;
const BACKGROUND_JOBS_MAX: i32 = 16;

/// What an operator can size. Memory use is at most about `cache_bytes + write_buffer_bytes`, and
/// next to nothing while the index is small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocksOptions {
    /// Blocks, index and filter blocks, and large values kept in memory, for all tables together.
    /// Indexes and filters of what requests ask for take about 4 bytes a blob; with less,
    /// look-ups read the disk more often (docs/performance.md, "Scale").
    pub cache_bytes: usize,
    /// Changes not yet written to table files, for all tables together. The table with the
    /// oldest ones is written out when it is reached.
    pub write_buffer_bytes: usize,
    /// Write-ahead logs on disk. Replaying them is most of the time and memory of a start after a
    /// crash, so it bounds both.
    pub wal_bytes_max: u64,
    /// Table and value files held open. Must leave room for sockets below the process's limit.
    pub open_files_max: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 * 1024 * 1024,
            write_buffer_bytes: 64 * 1024 * 1024,
            wal_bytes_max: 128 * 1024 * 1024,
            open_files_max: 512,
        }
    }
}

/// The options of the whole database.
pub(super) fn database(options: &RocksOptions) -> Options {
    let mut db = Options::default();
    db.set_env(&file_system::environment());
    db.create_if_missing(true);
    // A new table of a newer version appears when the store is opened by it.
    db.create_missing_column_families(true);
    durability(&mut db);

    db.set_db_write_buffer_size(options.write_buffer_bytes);
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_max_open_files(options.open_files_max);
    // Background work runs beside requests on every core, but a flush must never wait for a
    // compaction, so there are at least two workers.
    db.increase_parallelism(background_jobs());
    db.set_bytes_per_sync(BACKGROUND_SYNC_BYTES);
    db.set_wal_bytes_per_sync(BACKGROUND_SYNC_BYTES);
    // Dropping a snapshot or an iterator must not delete files on the caller's thread.
    db.set_avoid_unnecessary_blocking_io(true);

    db.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    db.set_max_log_file_size(INFO_LOG_FILE_BYTES_MAX);
    // Nobody reads the periodic statistics.
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

/// The same for an opening that writes next to nothing ([`room`](super::room)): logs become no tables, however much
/// they hold, and no file takes room ahead of time, which would be the room of the next one.
pub(super) fn frugal(options: &RocksOptions) -> Result<Options, rocksdb::Error> {
    // The crate has no functions for these.
    let mut db = database(options).get_options_from_string(
        "avoid_flush_during_recovery=true;enforce_write_buffer_manager_during_recovery=false;allow_fallocate=false",
    )?;
    // A copy does not keep the environment alive.
    db.set_env(&file_system::environment());
    Ok(db)
}

/// What is checked and what is recovered.
fn durability(db: &mut Options) {
    // A torn tail after a power cut was never acknowledged and must not stop the start; this mode
    // also keeps no change after the first missing one, so the survivors are a prefix.
    // `AbsoluteConsistency` would refuse every torn tail, `TolerateCorruptedTailRecords` those in
    // which pages reached the device out of order. Damage before the tail is found by comparing
    // with `SyncedSequence`.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A reused log file still holds old records, which look like a tail that is not there.
    db.set_recycle_log_file_num(0);
    // A log that was closed and synced but is missing or short at the next start is an error.
    db.set_track_and_verify_wals_in_manifest(true);
    // Sizes of all files are compared with the recorded ones at the start; a background error
    // stops writes instead of being passed over.
    db.set_paranoid_checks(true);
    // Atomic flushes are only needed without a write-ahead log. There is always one, shared by
    // all tables, so a batch is whole after every recovery.
    db.set_atomic_flush(false);
}

/// One descriptor for each of `tables`, all sharing one cache.
pub(super) fn tables(options: &RocksOptions, tables: &[Table]) -> Vec<ColumnFamilyDescriptor> {
    // Zero lets the cache learn the size of its entries; it has no lock that readers contend for.
    let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
    tables
        .iter()
        .map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(*table, options, &cache)))
        .collect()
}

fn table_options(table: Table, options: &RocksOptions, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    if is_asked_for_absent_keys(table) {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        blocks.set_optimize_filters_for_memory(true);
        blocks.set_partition_filters(true);
    }
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_metadata_block_size(METADATA_PART_BYTES);
    // The directory of the parts: a few KiB for each file.
    blocks.set_pin_top_level_index_and_filter(true);
    // Counted against the cache, so that memory stays bounded as the store grows, but the last to
    // leave it: without them every look-up reads the disk twice. The newest level's are asked first
    // each time and stay.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);

    let mut cf = Options::default();
    cf.set_block_based_table_factory(&blocks);
    // Digests do not compress, but everything around them does: sequence numbers, namespaces,
    // lengths, times. What is below the size of a blob file in `Bytes` is mostly text.
    cf.set_compression_type(DBCompressionType::Lz4);
    cf.set_write_buffer_size(options.write_buffer_bytes);
    cf.set_arena_block_size(ARENA_BLOCK_BYTES);
    // Levels sized from the last one keep space amplification near a tenth.
    cf.set_level_compaction_dynamic_level_bytes(true);
    // There is no prefix extractor: scans use prefixes of any length and need total order.
    if table == Table::Bytes {
        separate_values(&mut cf, cache);
    }
    cf
}

/// Keeps large values out of the tree of keys.
fn separate_values(cf: &mut Options, cache: &Cache) {
    cf.set_enable_blob_files(true);
    cf.set_min_blob_size(SEPARATE_VALUE_BYTES_MIN);
    cf.set_blob_compression_type(DBCompressionType::None);
    cf.set_enable_blob_gc(true);
    // Without it space comes back only when a compaction happens to touch the oldest files.
    cf.set_blob_gc_force_threshold(VALUE_GARBAGE_RATIO_MAX);
    // Values in blob files do not go through the block cache by themselves.
    cf.set_blob_cache(cache);
}

/// Whether single keys are looked up that often are not there: most look-ups of a push, HEAD of what
/// a client is about to push, quotas that nobody set and pulls that did not happen. The other tables
/// are scanned, or asked for what another one has
/// just promised; a filter there would only take room in the cache.
fn is_asked_for_absent_keys(table: Table) -> bool {
    match table {
        Table::Blobs
        | Table::Members
        | Table::Namespaces
        | Table::Names
        | Table::Uploads
        | Table::Usage
        | Table::Sizes
        | Table::Damaged => true,
        Table::Meta
        | Table::Bytes
        | Table::Holders
        | Table::Bindings
        | Table::Edges
        | Table::Reverse
        | Table::Garbage => false,
    }
}

fn background_jobs() -> i32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    i32::try_from(cores).unwrap_or(BACKGROUND_JOBS_MAX).clamp(BACKGROUND_JOBS_MIN, BACKGROUND_JOBS_MAX)
}
