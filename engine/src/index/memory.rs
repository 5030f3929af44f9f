//! The index in memory: the reference of the contract, and the model of a power cut.
//!
//! In: the calls of [`Index`]. Out: the same answers as from the index on disk, without a disk.
//! [`MemoryIndex::crash`] gives what a power cut would have left, [`MemoryIndex::fail_writes_after`]
//! lets writes fail, so that everything above the index can be tested against both.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Bound,
    sync::{Arc, PoisonError},
};

use super::{Cached, Changes, Condition, Durability, Index, IndexError, Outcome, Pair, Snapshot, Table, Value};
use crate::schedule::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Batches kept apart as not yet durable. Beyond it the oldest become durable, as they would when
/// the operating system writes back its cache.
const BUFFERED_BATCHES_MAX: usize = 4096;

type Write = (Table, Vec<u8>, Option<Value>);

/// An index that lives as long as the process.
#[derive(Default)]
pub struct MemoryIndex {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// What readers see.
    visible: Tables,
    /// What every power cut leaves.
    durable: Tables,
    /// Batches after `durable` in the order of their writes, each whole.
    buffered: Vec<Vec<Write>>,
    device: Device,
    ignores_syncs: bool,
}

/// What the simulated device does with the next write.
#[derive(Default)]
enum Device {
    #[default]
    Healthy,
    /// Takes so many more writes.
    Failing { writes_left: u64 },
    /// Has failed; refuses everything. The batch that failed may have reached it or not.
    Failed { batch: Vec<Write> },
}

/// One ordered map per table. A clone shares the maps until one side changes them.
#[derive(Default, Clone)]
struct Tables([Arc<BTreeMap<Vec<u8>, Value>>; Table::ALL.len()]);

impl Tables {
    fn table(&self, table: Table) -> &BTreeMap<Vec<u8>, Value> {
        &self.0[table as usize]
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Value> {
        self.table(table).get(key).cloned()
    }

    fn holds(&self, condition: &Condition) -> bool {
        self.table(condition.table).get(&condition.key) == condition.expected.as_ref()
    }

    fn apply(&mut self, batch: &[Write]) {
        for (table, key, value) in batch {
            let map = Arc::make_mut(&mut self.0[*table as usize]);
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
    }
}

impl State {
    /// Makes a batch visible, and durable when asked; or fails as the device says.
    fn write(&mut self, batch: &[Write], durability: Durability) -> Result<(), IndexError> {
        self.device.accept(batch)?;
        self.visible.apply(batch);
        match durability {
            Durability::Synced if !self.ignores_syncs => {
                self.durable = self.visible.clone();
                self.buffered.clear();
            }
            Durability::Synced | Durability::Buffered => self.buffered.push(batch.to_vec()),
        }
        if self.buffered.len() > BUFFERED_BATCHES_MAX {
            let oldest = self.buffered.remove(0);
            self.durable.apply(&oldest);
        }
        Ok(())
    }
}

impl Device {
    fn accept(&mut self, batch: &[Write]) -> Result<(), IndexError> {
        match self {
            Device::Healthy => Ok(()),
            Device::Failing { writes_left: 0 } => {
                *self = Device::Failed { batch: batch.to_vec() };
                Err(IndexError::Io("the simulated device failed this write".into()))
            }
            Device::Failing { writes_left } => {
                *writes_left -= 1;
                Ok(())
            }
            Device::Failed { .. } => Err(IndexError::Io("the simulated device failed an earlier write".into())),
        }
    }
}

impl MemoryIndex {
    /// What a power cut now would leave, as an index of its own on a healthy device.
    ///
    /// Everything up to the last [`Durability::Synced`] write survives. Of the writes after it a
    /// prefix survives, each batch whole: `seed` chooses how many, from none to all. A batch whose
    /// write failed counts as the last of them, because nothing is known about it.
    pub fn crash(&self, seed: u64) -> MemoryIndex {
        let state = self.state();
        let failed = match &state.device {
            Device::Failed { batch } => Some(batch),
            Device::Healthy | Device::Failing { .. } => None,
        };
        let candidates = state.buffered.len() + usize::from(failed.is_some());
        let survivors = mix(seed) % (candidates as u64 + 1);
        let mut durable = state.durable.clone();
        for batch in state.buffered.iter().chain(failed).take(survivors as usize) {
            durable.apply(batch);
        }
        let visible = durable.clone();
        MemoryIndex { state: RwLock::new(State { visible, durable, ..State::default() }) }
    }

    /// A hash of everything visible: two crashes that left the same need not both be tried.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.state().visible.0.hash(&mut hasher);
        hasher.finish()
    }

    /// Lets `writes` more writes succeed; every write after them fails with [`IndexError::Io`], as
    /// the index on disk refuses all writes after a failed one. Conflicts do not count.
    pub fn fail_writes_after(&self, writes: u64) {
        self.state_mut().device = Device::Failing { writes_left: writes };
    }

    /// From now on a synced write is as durable as a buffered one: what must not go unnoticed by any
    /// test that is to find a missing sync.
    pub fn ignore_syncs(&self) {
        self.state_mut().ignores_syncs = true;
    }

    /// How many writes a crash may leave or take: 0 leaves one state.
    pub fn uncertain(&self) -> usize {
        let state = self.state();
        state.buffered.len() + usize::from(matches!(state.device, Device::Failed { .. }))
    }

    // Nothing that runs under the lock panics, so a poisoned lock still guards a whole state.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finaliser of SplitMix64, so that neighbouring seeds do not choose neighbouring prefixes.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Index for MemoryIndex {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        Ok(self.state().visible.get(table, key))
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Cached, IndexError> {
        self.get(table, key).map(Cached::Known)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(self.state().visible.clone())
    }

    fn write(&self, changes: &Changes, durability: Durability) -> Result<Outcome, IndexError> {
        let mut state = self.state_mut();
        if !changes.conditions.iter().all(|condition| state.visible.holds(condition)) {
            return Ok(Outcome::Conflict);
        }
        state.write(&changes.writes, durability)?;
        Ok(Outcome::Applied)
    }

    /// Exact here.
    fn estimate(&self, table: Table) -> u64 {
        self.state().visible.table(table).len() as u64
    }
}

impl Snapshot for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        Ok(Tables::get(self, table, key))
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(self
            .table(table)
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_what_is_there_apart() {
        let index_of = |value: u8, durability| {
            let index = MemoryIndex::default();
            let writes = vec![(Table::Meta, b"key".to_vec(), Some(vec![value]))];
            let outcome = index.write(&Changes { conditions: vec![], writes }, durability);
            assert!(matches!(outcome, Ok(Outcome::Applied)));
            index
        };
        let one = index_of(1, Durability::Synced);
        assert_eq!(one.fingerprint(), one.crash(7).fingerprint());
        assert_eq!(one.fingerprint(), index_of(1, Durability::Buffered).fingerprint());
        assert_ne!(one.fingerprint(), index_of(2, Durability::Synced).fingerprint());
        assert_ne!(one.fingerprint(), MemoryIndex::default().fingerprint());
    }

    #[test]
    fn writes_beyond_the_bound_of_buffered_ones_are_durable() {
        const BEYOND: usize = 10;
        let index = MemoryIndex::default();
        for n in 0..BUFFERED_BATCHES_MAX + BEYOND {
            let writes = vec![(Table::Meta, n.to_be_bytes().to_vec(), Some(vec![]))];
            let outcome = index.write(&Changes { conditions: vec![], writes }, Durability::Buffered);
            assert!(matches!(outcome, Ok(Outcome::Applied)));
        }
        assert_eq!(index.state().buffered.len(), BUFFERED_BATCHES_MAX);
        assert!((0..20).all(|seed| index.crash(seed).estimate(Table::Meta) >= BEYOND as u64));
    }
}
