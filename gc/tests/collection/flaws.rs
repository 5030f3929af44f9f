//! Indexes that leave a protection out, so that tests can show that they would notice. They stand
//! between an engine and its index: the engine itself has no such switch.

use std::{sync::Arc, thread};

use orlop_engine::index::{
    Cached, Changes, Durability, Index, IndexError, MemoryIndex, Outcome, Pair, Snapshot, Table, Value,
};

/// The engine's only thread that decides and writes.
const COMMIT_THREAD: &str = "commit";

/// Bytes of an entry of the garbage table without a lease (docs/format.md).
const UNLEASED_BYTES: usize = 8;

/// What begins the key of content that nobody holds (docs/format.md).
const UNHELD: u8 = 0;

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Who pushed or mounted into namespaces that begin so is not noted.
    ForgetsLeases { prefix: &'static str },
    /// A decision does not see who holds content, nor that it came to be held again.
    IgnoresHolders,
    /// Nothing is durable when it is said to be.
    LiesAboutDurability,
}

pub struct Flawed {
    index: Arc<MemoryIndex>,
    flaw: Flaw,
}

impl Flawed {
    pub fn over(index: &Arc<MemoryIndex>, flaw: Flaw) -> Arc<Self> {
        Arc::new(Flawed { index: index.clone(), flaw })
    }

    fn write_of(&self, write: &(Table, Vec<u8>, Option<Value>)) -> Option<(Table, Vec<u8>, Option<Value>)> {
        let (table, key, value) = write;
        let mut value = value.clone();
        match (self.flaw, table) {
            (Flaw::ForgetsLeases { prefix }, Table::Garbage) if key.starts_with(prefix.as_bytes()) => {
                if let Some(entry) = &mut value {
                    entry.truncate(UNLEASED_BYTES);
                }
            }
            (Flaw::IgnoresHolders, Table::Garbage) if value.is_none() && key.first() == Some(&UNHELD) => return None,
            _ => {}
        }
        Some((*table, key.clone(), value))
    }
}

impl Index for Flawed {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        self.index.get(table, key)
    }

    fn get_cached(&self, table: Table, key: &[u8]) -> Result<Cached, IndexError> {
        self.index.get_cached(table, key)
    }

    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        let is_blind = self.flaw == Flaw::IgnoresHolders && thread::current().name() == Some(COMMIT_THREAD);
        let snapshot = self.index.snapshot();
        if is_blind { Box::new(Blind(snapshot)) } else { snapshot }
    }

    fn write(&self, changes: &Changes, durability: Durability) -> Result<Outcome, IndexError> {
        let writes = changes.writes.iter().filter_map(|write| self.write_of(write)).collect();
        let changes = Changes { conditions: changes.conditions.clone(), writes };
        let is_honest = self.flaw != Flaw::LiesAboutDurability;
        self.index.write(&changes, if is_honest { durability } else { Durability::Buffered })
    }

    fn estimate(&self, table: Table) -> u64 {
        self.index.estimate(table)
    }
}

/// Shows no holders.
struct Blind<'a>(Box<dyn Snapshot + 'a>);

impl Snapshot for Blind<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>, IndexError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, IndexError> {
        if table == Table::Holders { Ok(Vec::new()) } else { self.0.scan(table, prefix, after, limit) }
    }
}
