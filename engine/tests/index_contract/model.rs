//! Random calls against a plain ordered map.

use std::collections::BTreeMap;

use orlop_engine::index::{Cached, Changes, Condition, Durability, Index, MemoryIndex, Outcome, Pair, Snapshot, Table};
use proptest::prelude::*;

#[cfg(feature = "rocks")]
use crate::disk;

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const TABLES: [Table; 3] = [Table::Bytes, Table::Members, Table::Meta];

#[derive(Debug, Clone)]
pub enum Step {
    Write { changes: Changes, synced: bool },
    Get { table: Table, key: Vec<u8> },
    Scan { table: Table, prefix: Vec<u8>, after: Option<Vec<u8>>, limit: usize },
}

fn table() -> impl Strategy<Value = Table> {
    prop::sample::select(TABLES.as_slice())
}

/// Few bytes, so that keys collide and extend each other; 0x00 and 0xff are the ends of ranges.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select([0x00, b'a', b'b', 0xff].as_slice()), 0..4)
}

/// Small, or large enough to be kept apart from the keys on disk.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..3),
        1 => any::<u8>().prop_map(|byte| vec![byte; 5000]),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    // Mostly absence, which often holds.
    let expected = prop_oneof![3 => Just(None), 1 => value().prop_map(Some)];
    (table(), key(), expected).prop_map(|(table, key, expected)| Condition { table, key, expected })
}

fn changes() -> impl Strategy<Value = Changes> {
    let value = prop::option::weighted(0.8, value());
    let writes = prop::collection::btree_map((table(), key()), value, 0..5);
    (prop::collection::vec(condition(), 0..2), writes).prop_map(|(conditions, writes)| {
        let writes = writes.into_iter().map(|((table, key), value)| (table, key, value)).collect();
        Changes { conditions, writes }
    })
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (changes(), any::<bool>()).prop_map(|(changes, synced)| Step::Write { changes, synced }),
        1 => (table(), key()).prop_map(|(table, key)| Step::Get { table, key }),
        2 => (table(), key(), prop::option::of(key()), 0..20_usize)
            .prop_map(|(table, prefix, after, limit)| Step::Scan { table, prefix, after, limit }),
    ];
    prop::collection::vec(step, 1..60)
}

fn write(model: &mut Model, changes: &Changes) -> Outcome {
    let holds = |c: &Condition| model.get(&(c.table, c.key.clone())) == c.expected.as_ref();
    if !changes.conditions.iter().all(holds) {
        return Outcome::Conflict;
    }
    for (table, key, value) in &changes.writes {
        match value {
            Some(value) => model.insert((*table, key.clone()), value.clone()),
            None => model.remove(&(*table, key.clone())),
        };
    }
    Outcome::Applied
}

fn scan(model: &Model, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Pair> {
    let in_range = |key: &[u8]| key.starts_with(prefix) && after.is_none_or(|after| key > after);
    let found = model.iter().filter(|((t, key), _)| *t == table && in_range(key));
    found.map(|((_, key), value)| (key.clone(), value.clone())).take(limit).collect()
}

/// The view holds exactly the model's pairs.
pub fn compare(view: &dyn Snapshot, model: &Model) -> Result<(), TestCaseError> {
    for table in TABLES {
        prop_assert_eq!(view.scan(table, b"", None, usize::MAX).unwrap(), scan(model, table, b"", None, usize::MAX));
    }
    Ok(())
}

/// Runs the steps and compares every answer; half way it takes a snapshot and compares that at
/// the end. Gives the final state.
pub fn run(index: &dyn Index, steps: &[Step]) -> Result<Model, TestCaseError> {
    let mut model = Model::new();
    let mut held = None;
    for (n, step) in steps.iter().enumerate() {
        if n == steps.len() / 2 {
            held = Some((index.snapshot(), model.clone()));
        }
        match step {
            Step::Write { changes, synced } => {
                let durability = if *synced { Durability::Synced } else { Durability::Buffered };
                let outcome = index.write(changes, durability).unwrap();
                prop_assert_eq!(outcome, write(&mut model, changes));
            }
            Step::Get { table, key } => {
                let expected = model.get(&(*table, key.clone())).cloned();
                prop_assert_eq!(&index.get(*table, key).unwrap(), &expected);
                prop_assert_eq!(&index.snapshot().get(*table, key).unwrap(), &expected);
                let cached = index.get_cached(*table, key).unwrap();
                prop_assert!(cached == Cached::Unknown || cached == Cached::Known(expected));
            }
            Step::Scan { table, prefix, after, limit } => {
                let found = index.snapshot().scan(*table, prefix, after.as_deref(), *limit).unwrap();
                prop_assert_eq!(found, scan(&model, *table, prefix, after.as_deref(), *limit));
            }
        }
    }
    if let Some((snapshot, then)) = &held {
        compare(snapshot.as_ref(), then)?;
    }
    compare(index.snapshot().as_ref(), &model)?;
    Ok(model)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn memory_answers_like_an_ordered_map(steps in steps()) {
        run(&MemoryIndex::default(), &steps)?;
    }
}

#[cfg(feature = "rocks")]
proptest! {
    #![proptest_config(config(32))]

    /// Also after it was closed and opened again.
    #[test]
    fn rocks_answers_like_an_ordered_map(steps in steps()) {
        let root = tempfile::tempdir().unwrap();
        let index = disk::open(root.path());
        let model = run(&index, &steps)?;
        drop(index);
        compare(disk::open(root.path()).snapshot().as_ref(), &model)?;
    }
}
