//! The contract of `Index` and `Snapshot`, run against every implementation: by example, and by
//! comparison with a plain ordered map. Then what only one of them has: the simulated power cut,
//! and the files on disk.

mod contract;
#[cfg(feature = "rocks")]
mod disk;
#[cfg(feature = "rocks")]
mod model;
mod simulation;

use orlop_engine::index::{Changes, Condition, Durability, Index, MemoryIndex, Outcome, Pair, Table};

fn put(table: Table, key: &[u8], value: &[u8]) -> Changes {
    Changes { conditions: vec![], writes: vec![(table, key.to_vec(), Some(value.to_vec()))] }
}

fn delete(table: Table, key: &[u8]) -> Changes {
    Changes { conditions: vec![], writes: vec![(table, key.to_vec(), None)] }
}

/// `changes`, if `key` has the value `expected`.
fn when(table: Table, key: &[u8], expected: Option<&[u8]>, mut changes: Changes) -> Changes {
    changes.conditions.push(Condition { table, key: key.to_vec(), expected: expected.map(<[u8]>::to_vec) });
    changes
}

fn apply(index: &dyn Index, changes: &Changes) {
    assert_eq!(index.write(changes, Durability::Synced).unwrap(), Outcome::Applied);
}

fn buffer(index: &dyn Index, changes: &Changes) {
    assert_eq!(index.write(changes, Durability::Buffered).unwrap(), Outcome::Applied);
}

fn keys(pairs: &[Pair]) -> Vec<&[u8]> {
    pairs.iter().map(|(key, _)| key.as_slice()).collect()
}

/// One test per implementation for each function of `contract`.
macro_rules! contract {
    ($($name:ident)*) => {
        mod memory {
            use super::*;
            $(#[test] fn $name() { contract::$name(&MemoryIndex::default()) })*
        }

        #[cfg(feature = "rocks")]
        mod rocks {
            use super::*;
            $(#[test] fn $name() {
                let root = tempfile::tempdir().unwrap();
                contract::$name(&disk::open(root.path()))
            })*
        }
    };
}

contract! {
    absent_keys_have_no_value
    values_are_read_back_overwritten_and_deleted
    tables_are_apart
    a_batch_spans_tables
    conditions_decide_about_the_whole_batch
    conditions_without_writes_are_a_check
    a_snapshot_does_not_change
    a_scan_keeps_to_prefix_order_and_limit
    pages_of_a_scan_join_without_gap_or_repetition
    what_was_just_written_is_cached
    concurrent_conditional_writes_are_applied_one_by_one
}
