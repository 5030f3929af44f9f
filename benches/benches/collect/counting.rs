//! What passes between an engine and its index, counted.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use orlop_engine::index::{
    Cached, Changes, Durability, Index, IndexError, Outcome, Pair, RocksIndex, Snapshot, Table, Value,
};

/// Calls since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calls {
    /// Look-ups of one key, and scans.
    pub reads: u64,
    /// Batches, of which so many were synced.
    pub batches: u64,
    pub syncs: u64,
    /// Keys written or deleted.
    pub keys: u64,
}

#[derive(Default)]
struct Counters {
    reads: AtomicU64,
    batches: AtomicU64,
    syncs: AtomicU64,
    keys: AtomicU64,
}

pub struct Counting {
    index: RocksIndex,
    counters: Arc<Counters>,
}

impl Counting {
    pub fn over(index: RocksIndex) -> Self {
        Counting { index, counters: Arc::default() }
    }

    pub fn calls(&self) -> Calls {
        let Counters { reads, batches, syncs, keys } = &*self.counters;
        let [reads, batches, syncs, keys] = [reads, batches, syncs, keys].map(|count| count.load(Relaxed));
        Calls { reads, batches, syncs, keys }
    }
}

impl Calls {
    pub fn since(self, earlier: Calls) -> Calls {
        Calls {
            reads: self.reads - earlier.reads,
            batches: self.batches - earlier.batches,
            syncs: self.syncs - earlier.syncs,
            keys: self.keys - earlier.keys,
        }
    }
}

impl Index for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        self.counters.reads.fetch_add(1, Relaxed);
        self.index.get(table, key)
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Cached, IndexError> {
        self.counters.reads.fetch_add(1, Relaxed);
        self.index.get_cached(table, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(Seen { snapshot: self.index.snapshot(), counters: &self.counters })
    }

    fn write(&self, changes: &Changes, durability: Durability) -> Result<Outcome, IndexError> {
        self.counters.batches.fetch_add(1, Relaxed);
        self.counters.syncs.fetch_add(u64::from(durability == Durability::Synced), Relaxed);
        self.counters.keys.fetch_add(changes.writes.len() as u64, Relaxed);
        self.index.write(changes, durability)
    }

    fn estimate(&self, table: Table) -> u64 {
        self.index.estimate(table)
    }
}

struct Seen<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    counters: &'a Counters,
}

impl Snapshot for Seen<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        self.counters.reads.fetch_add(1, Relaxed);
        self.snapshot.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        self.counters.reads.fetch_add(1, Relaxed);
        self.snapshot.scan(table, prefix, after, limit)
    }
}
