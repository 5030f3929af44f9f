//! The power cut and the failing device of the index in memory.

use orlop_engine::index::{Changes, Durability, Index, IndexError, MemoryIndex, Outcome, Table};

use crate::{apply, buffer, delete, put, when};

const SEEDS: u64 = 200;

/// Writes `n` in its place of a sequence, in two tables at once.
fn numbered(n: u8) -> Changes {
    let writes = [Table::Meta, Table::Names].map(|table| (table, vec![n], Some(vec![n])));
    Changes { conditions: vec![], writes: writes.to_vec() }
}

/// How many numbered batches survived; they must be a prefix of whole batches.
fn survivors(index: &MemoryIndex) -> usize {
    let left = index.snapshot().scan(Table::Meta, b"", None, usize::MAX).unwrap();
    assert_eq!(index.snapshot().scan(Table::Names, b"", None, usize::MAX).unwrap(), left);
    let prefix: Vec<Vec<u8>> = (0..left.len() as u8).map(|n| vec![n]).collect();
    assert_eq!(left.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), prefix);
    left.len()
}

/// Every possible number of survivors over many seeds.
fn possible(index: &MemoryIndex) -> Vec<usize> {
    let mut counts: Vec<usize> = (0..SEEDS).map(|seed| survivors(&index.crash(seed))).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

#[test]
fn a_crash_keeps_synced_writes_and_a_prefix_of_buffered_ones() {
    let index = MemoryIndex::default();
    assert_eq!(possible(&index), [0]);
    buffer(&index, &numbered(0));
    buffer(&index, &numbered(1));
    assert_eq!(possible(&index), [0, 1, 2]);
    apply(&index, &numbered(2));
    assert_eq!(possible(&index), [3]);
    buffer(&index, &numbered(3));
    assert_eq!(possible(&index), [3, 4]);
    apply(&index, &Changes::default());
    assert_eq!(possible(&index), [4], "a synced write without changes syncs earlier ones");
}

#[test]
fn a_crash_is_chosen_by_its_seed_and_leaves_the_index_alone() {
    let index = MemoryIndex::default();
    (0..20).for_each(|n| buffer(&index, &numbered(n)));
    for seed in 0..SEEDS {
        assert_eq!(survivors(&index.crash(seed)), survivors(&index.crash(seed)));
    }
    assert_eq!(survivors(&index), 20);
}

#[test]
fn what_survived_a_crash_survives_the_next() {
    let index = MemoryIndex::default();
    (0..20).for_each(|n| buffer(&index, &numbered(n)));
    let left = index.crash(1);
    assert_eq!(possible(&left), [survivors(&left)]);
}

#[test]
fn a_synced_value_is_not_undone_by_an_earlier_buffered_one() {
    let index = MemoryIndex::default();
    buffer(&index, &put(Table::Meta, b"k", b"early"));
    apply(&index, &put(Table::Meta, b"k", b"late"));
    for seed in 0..SEEDS {
        assert_eq!(index.crash(seed).get(Table::Meta, b"k").unwrap().as_deref(), Some(b"late".as_slice()));
    }
}

#[test]
fn deletes_are_part_of_the_prefix() {
    let index = MemoryIndex::default();
    apply(&index, &put(Table::Meta, b"k", b"v"));
    buffer(&index, &delete(Table::Meta, b"k"));
    let left = |seed| index.crash(seed).get(Table::Meta, b"k").unwrap();
    assert!((0..SEEDS).any(|seed| left(seed).is_none()));
    assert!((0..SEEDS).any(|seed| left(seed).is_some()));
}

#[test]
fn after_a_failed_write_all_fail_and_the_failed_batch_is_in_doubt() {
    let index = MemoryIndex::default();
    index.fail_writes_after(2);
    apply(&index, &numbered(0));
    let conflict = when(Table::Meta, &[0], None, numbered(9));
    assert_eq!(index.write(&conflict, Durability::Synced).unwrap(), Outcome::Conflict);
    buffer(&index, &numbered(1));
    for n in [2, 3] {
        let failed = index.write(&numbered(n), Durability::Synced);
        assert!(matches!(failed, Err(IndexError::Io(_))), "{failed:?}");
    }
    assert_eq!(survivors(&index), 2, "a failed batch is not visible");
    assert_eq!(possible(&index), [1, 2, 3]);
    apply(&index.crash(0), &numbered(9));
}
