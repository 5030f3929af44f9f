//! Whether what was read is still so, without reading it again.
//!
//! In: the rows of the index that an answer rests on, and every write of the commit thread. Out:
//! [`Grounds`], which hold as long as none of these rows was written. They may cease to hold without
//! need, when another row shares a counter; they never hold when a change was acknowledged.
//!
//! A row's counter is read *before* the row. It becomes odd *before* the row is written, and even again
//! *after* that, before anybody is told of it. What rests on an odd count never holds:
//!
//! - a count from before the write has changed by the time that anybody can see the new row, so two
//!   readers never see the change in both orders;
//! - a count from during the write is odd: the row that was read after it may be the old one or the new one.

use std::{
    hash::BuildHasher,
    sync::{Arc, Weak, atomic::Ordering},
};

use super::{blob::Blob, cache::Opened};
use crate::{
    Digest,
    collect::LeaseKey,
    engine::Engine,
    index::{Changes, Table},
    schedule::{self, AtomicU64, RandomState},
    statistics::add,
};

/// Counters, in 64 KiB. Rows share them by their hash: more rows cost needless look-ups, not errors.
const COUNTERS: usize = if schedule::IS_CHOSEN { 1 << 6 } else { 1 << 13 };

/// Counts begins and ends of writes to the rows that answers about content rest on. One thread writes.
pub(crate) struct Marks {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// Where one counter stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    counter: usize,
    /// Odd while one of its rows was being written.
    count: u64,
}

impl Marks {
    pub fn new() -> Self {
        Marks { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::default() }
    }

    /// To be taken before the row is read.
    pub fn of(&self, table: Table, key: &[u8]) -> Mark {
        let counter = self.counter(table, key);
        Mark { counter, count: self.counters[counter].load(Ordering::SeqCst) }
    }

    /// Whether the row has not been written since, nor was being written then.
    pub fn holds(&self, mark: &Mark) -> bool {
        mark.count.is_multiple_of(2) && self.counters[mark.counter].load(Ordering::SeqCst) == mark.count
    }

    /// To be called by the thread that writes, before `changes` can be seen.
    pub fn begin(&self, changes: &Changes) {
        self.step(changes, |count| count.is_multiple_of(2));
    }

    /// To be called by the same thread when `changes` can be seen, or will not be.
    pub fn end(&self, changes: &Changes) {
        self.step(changes, |count| !count.is_multiple_of(2));
    }

    /// Counts on by one where `is_due`: rows that share a counter move it once.
    fn step(&self, changes: &Changes, is_due: impl Fn(u64) -> bool) {
        for (table, key, _) in &changes.writes {
            if matches!(table, Table::Members | Table::Names | Table::Blobs) {
                let counter = &self.counters[self.counter(*table, key)];
                let count = counter.load(Ordering::SeqCst);
                if is_due(count) {
                    counter.store(count + 1, Ordering::SeqCst);
                }
            }
        }
    }

    fn counter(&self, table: Table, key: &[u8]) -> usize {
        self.hasher.hash_one((table, key)) as usize % self.counters.len()
    }
}

/// What an answer about content rested on: the name it was asked by, that it is in the namespace, and
/// that it is sound. Keeps nothing: the content may be removed meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    pub(super) name: Option<Mark>,
    pub(super) member: Mark,
    pub(super) content: Mark,
    /// The lease, if the answer gave one.
    pub(super) lease: Option<LeaseKey>,
}

impl Grounds {
    /// The grounds of content that was found by a name.
    #[must_use]
    pub(crate) fn by_name(self, name: Mark) -> Self {
        Grounds { name: Some(name), ..self }
    }
}

/// Content that was open, to be opened again without looking it up. Does not keep it open: what nobody
/// reads gives its file and its space back.
#[derive(Clone)]
pub struct Bookmark {
    digest: Digest,
    label: Vec<u8>,
    grounds: Grounds,
    opened: Weak<Opened>,
}

impl Blob {
    /// A place to come back to.
    pub fn bookmark(&self) -> Bookmark {
        let Blob { digest, label, grounds, opened, .. } = self;
        Bookmark { digest: *digest, label: label.clone(), grounds: grounds.clone(), opened: Arc::downgrade(opened) }
    }
}

impl Engine {
    /// Opens content again, if it [still holds](Engine::still_holds) what it rested on and its file is
    /// still open. After `None` look it up anew. Never waits.
    pub fn open_again(&self, bookmark: &Bookmark) -> Option<Blob> {
        if !self.still_holds(&bookmark.grounds, 0) {
            return None;
        }
        let Bookmark { digest, label, grounds, opened } = bookmark.clone();
        Some(Blob { store: self.store().clone(), digest, opened: opened.upgrade()?, label, grounds })
    }

    /// Whether the engine would answer the same now. If so, it counts as asked: a lease that the answer
    /// gave is given again, and `bytes` of the content, which the caller has in memory and hands out,
    /// are counted as read. After a no, ask anew. Never waits.
    pub fn still_holds(&self, grounds: &Grounds, bytes: u64) -> bool {
        let store = self.store();
        let marks = [Some(&grounds.member), Some(&grounds.content), grounds.name.as_ref()];
        let hold = || marks.iter().flatten().all(|mark| store.marks.holds(mark));
        let holds = match grounds.lease {
            Some(key) => store.leases.tell_if(key, hold),
            None => hold(),
        };
        if holds && bytes > 0 {
            add(&store.counters.bytes_read, bytes);
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(table: Table, key: &[u8]) -> Changes {
        Changes { conditions: Vec::new(), writes: vec![(table, key.to_vec(), None)] }
    }

    #[test]
    fn a_mark_holds_until_its_row_is_written() {
        let marks = Marks::new();
        let write = |table| {
            marks.begin(&changes(table, b"one"));
            marks.end(&changes(table, b"one"));
        };
        let mark = marks.of(Table::Names, b"one");
        assert!(marks.holds(&mark));
        write(Table::Usage);
        assert!(marks.holds(&mark), "another table");
        write(Table::Names);
        assert!(!marks.holds(&mark));
        assert!(marks.holds(&marks.of(Table::Names, b"one")));
    }

    #[test]
    fn a_mark_from_the_middle_of_a_write_never_holds() {
        let marks = Marks::new();
        // Two rows that share a counter: one write of both.
        let mut both = changes(Table::Names, b"one");
        both.writes.push(both.writes[0].clone());
        let before = marks.of(Table::Names, b"one");
        marks.begin(&both);
        let during = marks.of(Table::Names, b"one");
        assert!(!marks.holds(&before) && !marks.holds(&during), "the row may be the old one or the new one");
        marks.end(&both);
        assert!(!marks.holds(&before) && !marks.holds(&during));
        assert!(marks.holds(&marks.of(Table::Names, b"one")));
    }

    #[test]
    fn rows_mostly_have_counters_of_their_own() {
        let marks = Marks::new();
        let mine = marks.of(Table::Members, b"mine");
        let others: Vec<_> = (0..100u32).map(|number| changes(Table::Members, &number.to_le_bytes())).collect();
        let shared = others.iter().filter(|other| marks.counter(Table::Members, &other.writes[0].1) == mine.counter);
        assert!(shared.count() < 10, "one of {COUNTERS} is expected to be shared by 0.01 of 100");
    }
}

#[cfg(all(test, feature = "schedules"))]
mod every_order;
