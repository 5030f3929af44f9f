//! The seam to the index: ordered keys in tables, atomic conditional batches, snapshots.
//!
//! Nothing here knows what a key means; `keys` and `records` do.

use std::fmt;

mod memory;
#[cfg(feature = "rocks")]
mod rocks;

pub use memory::MemoryIndex;
#[cfg(feature = "rocks")]
pub use rocks::{RocksIndex, RocksOptions, TableFiles};

/// The tables, one RocksDB column family each. The names are part of the on-disk format
/// (docs/format.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Format version and counters.
    Meta,
    /// digest -> size, placement, chunk checksums
    Blobs,
    /// digest -> content of inline blobs
    Bytes,
    /// namespace, digest -> label
    Members,
    /// digest, namespace -> nothing: `Members` reversed
    Holders,
    /// namespace -> when it came to be
    Namespaces,
    /// namespace, name -> digest, time
    Names,
    /// namespace, digest, name -> nothing: `Names` reversed
    Bindings,
    /// namespace, source, kind, target -> whether the target may be missing (1) or not (0)
    Edges,
    /// namespace, target, kind, source -> payload: `Edges` reversed
    Reverse,
    /// upload id -> session state
    Uploads,
    /// digest -> epoch in which it lost its last holder
    Garbage,
    /// namespace, digest -> how often and when a document was pulled
    Usage,
    /// namespace -> bytes of its members; quota -> bytes used and allowed
    Sizes,
    /// digest -> what is wrong with its bytes, who found it and when
    Damaged,
}

impl Table {
    pub const ALL: [Table; 15] = [
        Table::Meta,
        Table::Blobs,
        Table::Bytes,
        Table::Members,
        Table::Holders,
        Table::Namespaces,
        Table::Names,
        Table::Bindings,
        Table::Edges,
        Table::Reverse,
        Table::Uploads,
        Table::Garbage,
        Table::Usage,
        Table::Sizes,
        Table::Damaged,
    ];

    /// The column family's name.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Blobs => "blobs",
            Table::Bytes => "bytes",
            Table::Members => "members",
            Table::Holders => "holders",
            Table::Namespaces => "namespaces",
            Table::Names => "names",
            Table::Bindings => "bindings",
            Table::Edges => "edges",
            Table::Reverse => "reverse",
            Table::Uploads => "uploads",
            Table::Garbage => "garbage",
            Table::Usage => "usage",
            Table::Sizes => "sizes",
            Table::Damaged => "damaged",
        }
    }
}

/// A failed index operation.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The index is damaged or of a foreign format.
    #[error("the index is damaged: {0}")]
    Corrupt(String),
    /// The device is full.
    #[error("no space left for the index: {0}")]
    NoSpace(String),
    /// Another process holds the index.
    #[error("the index is in use by another process: {0}")]
    InUse(String),
    /// Reading, writing or syncing failed. After a failed write nothing is known about the batch.
    #[error("index i/o failed: {0}")]
    Io(String),
}

pub type Value = Vec<u8>;
pub type Pair = (Vec<u8>, Value);

/// Changes that become visible together or not at all, if every condition holds.
#[derive(Default, Clone)]
pub struct Changes {
    pub conditions: Vec<Condition>,
    /// Applied in order; `None` deletes. A key should appear once.
    pub writes: Vec<(Table, Vec<u8>, Option<Value>)>,
}

/// The key must have exactly this value (`None`: must be absent) when the changes are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub table: Table,
    pub key: Vec<u8>,
    pub expected: Option<Value>,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After it and every earlier write survive a power cut.
    Synced,
    /// At once; it becomes durable with the next synced write. Earlier writes never become
    /// durable later than later ones.
    Buffered,
}

/// What became of [`Changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// A condition did not hold; nothing was changed.
    Conflict,
}

/// The answer of a look-up that must not touch the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// In memory: the value, or that there is none.
    Known(Option<Value>),
    /// Only the disk knows; ask [`Index::get`] where blocking is allowed.
    Unknown,
}

/// Ordered tables of bytes. Calls may block on the disk, except [`Index::get_cached`].
pub trait Index: Send + Sync + 'static {
    /// The newest value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError>;

    /// The newest value if it can be told without reading the disk.
    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Cached, IndexError>;

    /// The newest value, checked where it comes from the disk, and kept in no cache for it.
    fn reread(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        self.get(table, key)
    }

    /// A view that later writes do not change. Hold it briefly: it keeps old files alive.
    fn snapshot(&self) -> Box<dyn Snapshot + '_>;

    /// Applies changes atomically. Concurrent calls are applied one after the other.
    fn write(&self, changes: &Changes, durability: Durability) -> Result<Outcome, IndexError>;

    /// An estimate of the number of keys in a table.
    fn estimate(&self, table: Table) -> u64;
}

/// A consistent view of all tables.
pub trait Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError>;

    /// Keys that start with `prefix` and are greater than `after` (when given, a whole key), in
    /// byte order, at most `limit`.
    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexError>;
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("conditions", &self.conditions.len())
            .field("writes", &self.writes.len())
            .finish()
    }
}
