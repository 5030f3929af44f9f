//! One thread writes a row, others keep what they read of it, in every order.

use std::sync::Arc;

use super::*;
use crate::schedule::{in_every_order, thread};

const KEY: &[u8] = b"key";

fn row() -> Changes {
    Changes { conditions: Vec::new(), writes: vec![(Table::Names, KEY.to_vec(), None)] }
}

/// The writer of the row, as the commit thread is; `marks` may be left out at its begin.
fn write(marks: &Marks, row: &AtomicU64, is_begun: bool) {
    let changes = self::row();
    if is_begun {
        marks.begin(&changes);
    }
    row.store(1, Ordering::SeqCst);
    if !is_begun {
        // So that the end has something to end.
        marks.begin(&changes);
    }
    marks.end(&changes);
}

/// Gives in how many orders a mark held although the new row had been seen, and in how many there are.
fn orders(is_begun: bool) -> (u64, usize) {
    let wrong = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = wrong.clone();
    let all = in_every_order(move || {
        let (marks, row) = (Arc::new(Marks::new()), Arc::new(AtomicU64::new(0)));
        let writer = {
            let (marks, row) = (marks.clone(), row.clone());
            thread::spawn(move || write(&marks, &row, is_begun))
        };
        let mark = marks.of(Table::Names, KEY);
        let kept = row.load(Ordering::SeqCst);
        let now = row.load(Ordering::SeqCst);
        if marks.holds(&mark) && now != kept {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        writer.join().expect("the writer does not panic");
        let mark = marks.of(Table::Names, KEY);
        assert!(marks.holds(&mark), "nobody writes any more");
    });
    (wrong.load(Ordering::SeqCst), all)
}

#[test]
fn no_mark_holds_once_the_new_row_was_seen() {
    let (wrong, all) = orders(true);
    assert_eq!(wrong, 0, "of {all} orders");
    assert!(all > 20, "{all}");
}

/// A control: without its begin a write is overlooked.
#[test]
fn a_write_without_its_begin_is_found() {
    let (wrong, all) = orders(false);
    assert!(wrong > 0, "nothing of it shows in {all} orders");
}
