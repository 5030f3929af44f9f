//! All keys in memory: by what is shown, and by owner. Cheap to copy but for its size; a change is made on a copy.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    file::{Document, OwnerRecord},
    key::{Key, Mark, RecordError},
};

#[derive(Clone, Default)]
pub struct Table {
    by_mark: HashMap<Mark, Arc<Key>>,
    by_owner: HashMap<Box<str>, Owner>,
}

#[derive(Clone, Default)]
struct Owner {
    groups: Vec<Box<str>>,
    /// The oldest first.
    keys: Vec<Arc<Key>>,
}

impl Table {
    /// Errors: a record that means nothing.
    pub fn read(document: Document) -> Result<Self, RecordError> {
        let mut table = Table::default();
        for (owner, OwnerRecord { groups, keys }) in document.owners {
            for record in keys {
                table.insert(Arc::new(Key::new(&owner, record)?));
            }
            table.set_groups(&owner, &groups);
        }
        Ok(table)
    }

    /// What is to be kept of it.
    pub fn document(&self) -> Document {
        let record = |owner: &Owner| {
            let keys = owner.keys.iter().map(|key| key.record()).collect();
            OwnerRecord { groups: owner.groups.clone(), keys }
        };
        let owners: BTreeMap<String, OwnerRecord> =
            self.by_owner.iter().map(|(name, owner)| (name.to_string(), record(owner))).collect();
        Document::new(owners)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.by_mark.len()
    }

    pub fn get(&self, mark: Mark) -> Option<Arc<Key>> {
        self.by_mark.get(&mark).cloned()
    }

    pub fn of_owner(&self, owner: &str) -> &[Arc<Key>] {
        self.by_owner.get(owner).map_or(&[], |owner| &owner.keys)
    }

    pub fn has_owner(&self, owner: &str) -> bool {
        self.by_owner.contains_key(owner)
    }

    pub fn groups(&self, owner: &str) -> &[Box<str>] {
        self.by_owner.get(owner).map_or(&[], |owner| &owner.groups)
    }

    /// Sets the groups of somebody who has keys.
    pub fn set_groups(&mut self, owner: &str, groups: &[Box<str>]) {
        if let Some(owner) = self.by_owner.get_mut(owner) {
            owner.groups = groups.to_vec();
        }
    }

    pub fn insert(&mut self, key: Arc<Key>) {
        self.by_mark.insert(key.mark(), key.clone());
        self.by_owner.entry(key.owner().into()).or_default().keys.push(key);
    }

    /// Whether there was such a key.
    pub fn remove(&mut self, name: &str, uuid: &str) -> bool {
        let Some(owner) = self.by_owner.get_mut(name) else { return false };
        let Some(at) = owner.keys.iter().position(|key| key.uuid() == uuid) else { return false };
        let key = owner.keys.remove(at);
        self.by_mark.remove(&key.mark());
        if owner.keys.is_empty() {
            self.by_owner.remove(name);
        }
        true
    }
}
