//! Reads and writes of one change, on top of the changes before it in the same group.

use std::collections::BTreeMap;

use crate::{
    error::{Error, Result},
    index::{Changes, Index, Table, Value},
    store::index_error,
};

/// How many keys one look into the index brings while a prefix is walked.
const PAGE: usize = 256;

/// Writes that are not in the index yet; `None` deletes.
pub(crate) type Overlay = BTreeMap<(Table, Vec<u8>), Option<Value>>;

/// One change in the making. Sees the index, the group's earlier changes and its own.
pub(crate) struct Transaction<'a> {
    index: &'a dyn Index,
    group: &'a Overlay,
    own: Overlay,
}

impl<'a> Transaction<'a> {
    pub fn new(index: &'a dyn Index, group: &'a Overlay) -> Self {
        Transaction { index, group, own: Overlay::new() }
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>> {
        // The maps are small; the owned key costs less than a borrowed-pair trick would in reading.
        let whole = (table, key.to_vec());
        if let Some(value) = self.own.get(&whole).or_else(|| self.group.get(&whole)) {
            return Ok(value.clone());
        }
        self.index.get(table, key).map_err(index_error)
    }

    pub fn contains(&self, table: Table, key: &[u8]) -> Result<bool> {
        Ok(self.get(table, key)?.is_some())
    }

    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Value) {
        self.own.insert((table, key), Some(value));
    }

    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.own.insert((table, key), None);
    }

    /// The smallest key with a prefix.
    pub fn first(&self, table: Table, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.walk(table, prefix, 1)?.pop())
    }

    /// The smallest keys with a prefix, at most `limit`.
    pub fn keys_up_to(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        self.walk(table, prefix, limit)
    }

    /// All keys with a prefix in byte order. Only for prefixes that one document or one name
    /// bounds.
    pub fn keys(&self, table: Table, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.walk(table, prefix, usize::MAX)
    }

    fn walk(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        let pending = self.pending(table, prefix);
        let mut keys: Vec<Vec<u8>> =
            pending.iter().filter(|(_, present)| **present).map(|(key, _)| key.to_vec()).collect();
        let snapshot = self.index.snapshot();
        let mut after: Option<Vec<u8>> = None;
        let mut stored = 0;
        loop {
            let page = limit.saturating_add(pending.len()).min(PAGE);
            let pairs = snapshot.scan(table, prefix, after.as_deref(), page).map_err(index_error)?;
            let last_page = pairs.len() < page;
            after = pairs.last().map(|(key, _)| key.clone());
            for (key, _) in pairs {
                if !pending.contains_key(key.as_slice()) {
                    keys.push(key);
                    stored += 1;
                }
            }
            if last_page || stored >= limit {
                break;
            }
        }
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys)
    }

    /// What the overlays say about keys with a prefix: present or deleted.
    fn pending(&self, table: Table, prefix: &[u8]) -> BTreeMap<&[u8], bool> {
        let mut pending = BTreeMap::new();
        for overlay in [self.group, &self.own] {
            let from = (table, prefix.to_vec());
            for ((_, key), value) in
                overlay.range(from..).take_while(|((at, key), _)| *at == table && key.starts_with(prefix))
            {
                pending.insert(key.as_slice(), value.is_some());
            }
        }
        pending
    }

    /// The change as it stands.
    pub fn into_overlay(self) -> Overlay {
        self.own
    }
}

/// An overlay as changes of the index.
pub(crate) fn to_changes(overlay: Overlay) -> Changes {
    let writes = overlay.into_iter().map(|((table, key), value)| (table, key, value)).collect();
    Changes { conditions: Vec::new(), writes }
}

/// Reads a number of 64 bits from bytes the index gave.
pub(crate) fn decoded_u64(record: &'static str, bytes: &[u8]) -> Result<u64> {
    decoded(bytes.try_into().map(u64::from_le_bytes).map_err(|_| crate::format::Malformed { record }))
}

/// Reads a record from bytes the index gave.
pub(crate) fn decoded<T>(result: Result<T, crate::format::Malformed>) -> Result<T> {
    result.map_err(|malformed| Error::Store { path: "index".into(), reason: malformed.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Durability, MemoryIndex};

    #[test]
    fn a_walk_sees_index_group_and_own_changes() {
        let index = MemoryIndex::default();
        let mut base = Overlay::new();
        for key in ["a1", "a2", "a3", "b1"] {
            base.insert((Table::Names, key.into()), Some(Vec::new()));
        }
        index.write(&to_changes(base), Durability::Synced).expect("memory");
        let group = Overlay::from([
            ((Table::Names, b"a2".to_vec()), None),
            ((Table::Names, b"a0".to_vec()), Some(Vec::new())),
            ((Table::Members, b"a9".to_vec()), Some(Vec::new())),
        ]);
        let mut transaction = Transaction::new(&index, &group);
        transaction.put(Table::Names, b"a2".to_vec(), Vec::new());
        transaction.delete(Table::Names, b"a0".to_vec());
        transaction.delete(Table::Names, b"a1".to_vec());
        assert_eq!(transaction.keys(Table::Names, b"a").unwrap(), [b"a2".to_vec(), b"a3".to_vec()]);
        assert_eq!(transaction.first(Table::Names, b"a").unwrap(), Some(b"a2".to_vec()));
        assert_eq!(transaction.first(Table::Names, b"c").unwrap(), None);
        assert!(transaction.contains(Table::Names, b"b1").unwrap());
        assert!(!transaction.contains(Table::Names, b"a1").unwrap());
    }
}
