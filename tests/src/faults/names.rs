//! The names that are durable, and the changes of names that are not yet.
//!
//! In: changes in their order, syncs of directories. Out: the names after a power loss. A change is
//! durable when its directory was synced, and with it all earlier changes that it rests on: those of
//! the same names. A rename changes two names at once. Changes of different names reach the device in
//! any order.
//!
//! A file's own sync makes the name durable under which it was made, and no other: not one that it was
//! linked or renamed to, and not that of its directory. POSIX does not promise that much, but ext4 (without
//! a journal too), XFS and Btrfs all do it, and RocksDB relies on it: it lets CURRENT name a new manifest
//! before it syncs the directory.

use std::collections::BTreeMap;

use super::Left;
use crate::stream::Random;

/// A name in a directory.
pub type Key = (u64, String);

/// What becomes of some names at once; `None` is removed.
type Change = Vec<(Key, Option<u64>)>;

/// The durable names of every directory.
pub type Directories = BTreeMap<u64, BTreeMap<String, u64>>;

#[derive(Debug, Clone, Default)]
pub struct Names {
    durable: Directories,
    pending: Vec<Change>,
    /// New files whose first name is not durable.
    made: BTreeMap<u64, Key>,
}

impl Names {
    /// All names durable.
    pub fn of(durable: Directories) -> Self {
        Names { durable, ..Names::default() }
    }

    pub fn change(&mut self, change: Change) {
        self.pending.push(change);
    }

    /// A file is made under a name.
    pub fn make(&mut self, key: Key, node: u64) {
        self.made.insert(node, key.clone());
        self.change(vec![(key, Some(node))]);
    }

    /// A file was synced: its first name is durable.
    pub fn sync_file(&mut self, node: u64) {
        let Some(key) = self.made.remove(&node) else { return };
        self.sync_if(|change| change.iter().any(|(of, set)| *of == key && *set == Some(node)));
    }

    /// The directory was synced.
    pub fn sync(&mut self, directory: u64) {
        self.sync_if(|change| is_in(change, directory));
    }

    fn sync_if(&mut self, is_wanted: impl Fn(&Change) -> bool) {
        for change in self.take(is_wanted) {
            apply(&mut self.durable, change);
        }
    }

    /// Syncing the directory failed: what it was to make durable never will be.
    pub fn fail_sync(&mut self, directory: u64) {
        self.take(|change| is_in(change, directory));
    }

    /// Takes some changes out of what is pending, and all that they rest on.
    fn take(&mut self, is_wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        let groups = groups(&self.pending);
        let mut last = BTreeMap::new();
        for (at, change) in self.pending.iter().enumerate() {
            if is_wanted(change) {
                last.insert(groups[at], at);
            }
        }
        let mut taken = Vec::new();
        let mut kept = Vec::new();
        for (at, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let is_covered = last.get(&groups[at]).is_some_and(|last| at <= *last);
            if is_covered { taken.push(change) } else { kept.push(change) }
        }
        self.pending = kept;
        taken
    }

    /// The names after the power was cut.
    pub fn after_power_loss(&self, left: Left, random: &mut Random) -> Directories {
        let groups = groups(&self.pending);
        let mut sizes: BTreeMap<usize, u64> = BTreeMap::new();
        groups.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
        // Of each group the first so many.
        let mut kept: BTreeMap<usize, u64> = BTreeMap::new();
        for (group, size) in sizes {
            let count = match left {
                Left::Durable => 0,
                Left::Everything => size,
                Left::Some => random.below(size + 1),
            };
            kept.insert(group, count);
        }
        let mut durable = self.durable.clone();
        for (change, group) in self.pending.iter().zip(&groups) {
            let left = kept.get_mut(group).expect("every group was counted");
            if *left > 0 {
                *left -= 1;
                apply(&mut durable, change.clone());
            }
        }
        durable
    }
}

fn is_in(change: &Change, directory: u64) -> bool {
    change.iter().any(|((within, _), _)| *within == directory)
}

/// For each change the first one that it hangs together with.
fn groups(changes: &[Change]) -> Vec<usize> {
    let mut groups: Vec<usize> = Vec::with_capacity(changes.len());
    let mut of_key: BTreeMap<&Key, usize> = BTreeMap::new();
    for (at, change) in changes.iter().enumerate() {
        let known: Vec<usize> = change.iter().filter_map(|(key, _)| of_key.get(key).copied()).collect();
        let group = known.iter().copied().min().unwrap_or(at);
        // A rename joins the groups of its two names.
        for other in known.into_iter().filter(|other| *other != group) {
            groups.iter_mut().filter(|one| **one == other).for_each(|one| *one = group);
            of_key.values_mut().filter(|one| **one == other).for_each(|one| *one = group);
        }
        groups.push(group);
        of_key.extend(change.iter().map(|(key, _)| (key, group)));
    }
    groups
}

fn apply(durable: &mut Directories, change: Change) {
    for ((directory, name), node) in change {
        let names = durable.entry(directory).or_default();
        match node {
            Some(node) => drop(names.insert(name, node)),
            None => drop(names.remove(&name)),
        }
    }
}
