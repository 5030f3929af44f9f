//! What every index promises, one function per promise.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use orlop_engine::index::{Cached, Changes, Durability, Index, Outcome, Table};

use crate::{apply, buffer, delete, keys, put, when};

pub fn absent_keys_have_no_value(index: &dyn Index) {
    for table in Table::ALL {
        assert_eq!(index.get(table, b"k").unwrap(), None);
        assert_eq!(index.snapshot().get(table, b"k").unwrap(), None);
        assert_eq!(index.snapshot().scan(table, b"", None, 10).unwrap(), vec![]);
        assert_eq!(index.estimate(table), 0);
    }
}

pub fn values_are_read_back_overwritten_and_deleted(index: &dyn Index) {
    let large = vec![7; 64 * 1024];
    for durability in [Durability::Synced, Durability::Buffered] {
        for value in [b"".as_slice(), b"v", &large] {
            index.write(&put(Table::Bytes, b"k", value), durability).unwrap();
            assert_eq!(index.get(Table::Bytes, b"k").unwrap().as_deref(), Some(value));
            assert_eq!(index.snapshot().get(Table::Bytes, b"k").unwrap().as_deref(), Some(value));
        }
        index.write(&delete(Table::Bytes, b"k"), durability).unwrap();
        assert_eq!(index.get(Table::Bytes, b"k").unwrap(), None);
    }
}

pub fn tables_are_apart(index: &dyn Index) {
    for table in Table::ALL {
        apply(index, &put(table, b"k", table.name().as_bytes()));
    }
    for table in Table::ALL {
        let name = table.name().as_bytes();
        assert_eq!(index.get(table, b"k").unwrap().as_deref(), Some(name));
        assert_eq!(index.snapshot().scan(table, b"", None, 10).unwrap(), [(b"k".to_vec(), name.to_vec())]);
    }
}

pub fn a_batch_spans_tables(index: &dyn Index) {
    apply(index, &put(Table::Garbage, b"d", b"1"));
    let writes = vec![
        (Table::Blobs, b"d".to_vec(), Some(b"size".to_vec())),
        (Table::Members, b"n/d".to_vec(), Some(b"label".to_vec())),
        (Table::Garbage, b"d".to_vec(), None),
    ];
    apply(index, &Changes { conditions: vec![], writes });
    assert_eq!(index.get(Table::Blobs, b"d").unwrap().as_deref(), Some(b"size".as_slice()));
    assert_eq!(index.get(Table::Members, b"n/d").unwrap().as_deref(), Some(b"label".as_slice()));
    assert_eq!(index.get(Table::Garbage, b"d").unwrap(), None);
}

pub fn conditions_decide_about_the_whole_batch(index: &dyn Index) {
    let names = Table::Names;
    let create = when(names, b"a", None, put(names, b"a", b"1"));
    apply(index, &create);
    let mut conflicting = create.clone();
    conflicting.writes.push((Table::Meta, b"other".to_vec(), Some(b"x".to_vec())));
    assert_eq!(index.write(&conflicting, Durability::Synced).unwrap(), Outcome::Conflict);
    assert_eq!(index.get(Table::Meta, b"other").unwrap(), None);

    let swap = when(names, b"a", Some(b"1"), put(names, b"a", b"2"));
    apply(index, &swap);
    assert_eq!(index.write(&swap, Durability::Buffered).unwrap(), Outcome::Conflict);
    assert_eq!(index.get(names, b"a").unwrap().as_deref(), Some(b"2".as_slice()));

    // One condition that fails outweighs one that holds, in any order.
    let both = when(names, b"b", Some(b""), when(names, b"a", Some(b"2"), delete(names, b"a")));
    assert_eq!(index.write(&both, Durability::Synced).unwrap(), Outcome::Conflict);
    // An empty value is not an absent one.
    apply(index, &put(names, b"b", b""));
    let absent = when(names, b"b", None, delete(names, b"b"));
    assert_eq!(index.write(&absent, Durability::Synced).unwrap(), Outcome::Conflict);
    apply(index, &both);
    assert_eq!(index.get(names, b"a").unwrap(), None);
}

pub fn conditions_without_writes_are_a_check(index: &dyn Index) {
    apply(index, &Changes::default());
    apply(index, &when(Table::Meta, b"k", None, Changes::default()));
    let check = when(Table::Meta, b"k", Some(b"v"), Changes::default());
    assert_eq!(index.write(&check, Durability::Synced).unwrap(), Outcome::Conflict);
}

pub fn a_snapshot_does_not_change(index: &dyn Index) {
    apply(index, &put(Table::Members, b"a", b"1"));
    apply(index, &put(Table::Members, b"b", b"1"));
    let before = index.snapshot();
    apply(index, &put(Table::Members, b"a", b"2"));
    apply(index, &delete(Table::Members, b"b"));
    apply(index, &put(Table::Members, b"c", b"2"));
    apply(index, &put(Table::Names, b"n", b"2"));

    assert_eq!(before.get(Table::Members, b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    let one = b"1".to_vec();
    let expected = [(b"a".to_vec(), one.clone()), (b"b".to_vec(), one)];
    assert_eq!(before.scan(Table::Members, b"", None, 10).unwrap(), expected);
    assert_eq!(before.get(Table::Names, b"n").unwrap(), None);
    let after = index.snapshot();
    assert_eq!(keys(&after.scan(Table::Members, b"", None, 10).unwrap()), [b"a", b"c"]);
}

pub fn a_scan_keeps_to_prefix_order_and_limit(index: &dyn Index) {
    let all: [&[u8]; 9] = [b"a", b"a/", b"a/1", b"a/1\0", b"a/2", b"a/\xff", b"a/\xff\xff", b"a0", b"b"];
    for key in all.iter().rev() {
        buffer(index, &put(Table::Edges, key, key));
    }
    let view = index.snapshot();
    let scan = |prefix: &[u8], after: Option<&[u8]>, limit| {
        let pairs = view.scan(Table::Edges, prefix, after, limit).unwrap();
        assert!(pairs.iter().all(|(key, value)| key == value));
        pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(scan(b"", None, 100), all);
    assert_eq!(scan(b"a/", None, 100), all[1..7]);
    assert_eq!(scan(b"a/", None, 6), all[1..7]);
    assert_eq!(scan(b"a/", None, 2), all[1..3]);
    assert_eq!(scan(b"a/", None, 0), [b""; 0]);
    // `after` is a whole key, stored or not, and is not returned itself.
    assert_eq!(scan(b"a/", Some(b"a/1"), 100), all[3..7]);
    assert_eq!(scan(b"a/", Some(b"a/1\0"), 100), all[4..7]);
    assert_eq!(scan(b"a/", Some(b"a/1z"), 100), all[4..7]);
    assert_eq!(scan(b"a/", Some(b"a/"), 100), all[2..7]);
    // An `after` outside the prefix neither widens nor shortens the range.
    assert_eq!(scan(b"a/", Some(b"a"), 100), all[1..7]);
    assert_eq!(scan(b"a/", Some(b""), 100), all[1..7]);
    assert_eq!(scan(b"a/", Some(b"a/\xff\xff"), 100), [b""; 0]);
    assert_eq!(scan(b"a/", Some(b"b"), 100), [b""; 0]);
    // There is no key after these prefixes to end the range.
    assert_eq!(scan(b"a/\xff", None, 100), all[5..7]);
    assert_eq!(scan(b"\xff\xff", None, 100), [b""; 0]);
}

pub fn pages_of_a_scan_join_without_gap_or_repetition(index: &dyn Index) {
    let all: Vec<Vec<u8>> = (0..1000_u16).map(|n| [b"p".as_slice(), &n.to_be_bytes()].concat()).collect();
    for keys in all.chunks(100) {
        let writes = keys.iter().map(|key| (Table::Reverse, key.clone(), Some(vec![]))).collect();
        buffer(index, &Changes { conditions: vec![], writes });
    }
    let view = index.snapshot();
    let mut seen: Vec<Vec<u8>> = vec![];
    loop {
        let page = view.scan(Table::Reverse, b"p", seen.last().map(Vec::as_slice), 7).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(seen, all);
    assert_eq!(index.estimate(Table::Reverse), 1000);
}

pub fn what_was_just_written_is_cached(index: &dyn Index) {
    assert_eq!(index.get_cached(Table::Blobs, b"k").unwrap(), Cached::Known(None));
    apply(index, &put(Table::Blobs, b"k", b"v"));
    assert_eq!(index.get_cached(Table::Blobs, b"k").unwrap(), Cached::Known(Some(b"v".to_vec())));
    apply(index, &delete(Table::Blobs, b"k"));
    assert_eq!(index.get_cached(Table::Blobs, b"k").unwrap(), Cached::Known(None));
}

/// Every thread counts up one shared number; a lost or doubled update shows in the sum.
pub fn concurrent_conditional_writes_are_applied_one_by_one(index: &dyn Index) {
    const THREADS: usize = 4;
    const STEPS: u64 = 50;
    let conflicts = AtomicUsize::new(0);
    let step = || {
        loop {
            let old = index.get(Table::Meta, b"n").unwrap();
            let n = old.as_deref().map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
            let next = put(Table::Meta, b"n", &(n + 1).to_be_bytes());
            match index.write(&when(Table::Meta, b"n", old.as_deref(), next), Durability::Buffered).unwrap() {
                Outcome::Applied => return,
                Outcome::Conflict => conflicts.fetch_add(1, Ordering::Relaxed),
            };
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..STEPS).for_each(|_| step()));
        }
    });
    let total = index.get(Table::Meta, b"n").unwrap().unwrap();
    assert_eq!(total, (THREADS as u64 * STEPS).to_be_bytes(), "{conflicts:?} conflicts");
}
