//! Whether what clients saw of one name can have happened in one order.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use orlop_engine::Digest;

/// What was done to the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It points at this from now on, or at nothing.
    Write(Option<Digest>),
    /// It was seen to point at this.
    Read(Option<Digest>),
}

#[derive(Debug, Clone, Copy)]
struct Done {
    began: u64,
    ended: u64,
    deed: Deed,
}

/// What all clients did, with when each deed began and ended.
#[derive(Default, Clone)]
pub struct History {
    clock: Arc<AtomicU64>,
    done: Arc<Mutex<Vec<Done>>>,
}

impl History {
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub fn note(&self, began: u64, deed: Deed) {
        let ended = self.now();
        self.done.lock().expect("no panic holds it").push(Done { began, ended, deed });
    }

    /// Whether the deeds can be put into one order, each somewhere between its begin and its end, in which
    /// each read sees the last write before it (Wing and Gong 1993). Errors: the history, if not.
    pub fn is_of_one_order(&self) -> Result<(), String> {
        let mut done = self.done.lock().expect("no panic holds it").clone();
        done.sort_by_key(|done| done.began);
        assert!(done.len() <= 32, "a set of deeds is the bits of a number");
        let mut dead_ends = HashSet::new();
        if fits(&done, 0, None, &mut dead_ends) { Ok(()) } else { Err(format!("no order explains {done:#?}")) }
    }
}

/// Whether the deeds that are not in `placed` can follow, with the name pointing at `current`.
fn fits(done: &[Done], placed: u32, current: Option<Digest>, dead_ends: &mut HashSet<(u32, Option<Digest>)>) -> bool {
    let open = || (0..done.len()).filter(|at| placed & (1 << at) == 0);
    let Some(first_end) = open().map(|at| done[at].ended).min() else { return true };
    if dead_ends.contains(&(placed, current)) {
        return false;
    }
    // Whatever began after another one's end comes after it.
    for at in open().filter(|at| done[*at].began < first_end) {
        let after = match done[at].deed {
            Deed::Write(to) => to,
            Deed::Read(seen) if seen == current => current,
            Deed::Read(_) => continue,
        };
        if fits(done, placed | (1 << at), after, dead_ends) {
            return true;
        }
    }
    dead_ends.insert((placed, current));
    false
}

#[test]
fn a_read_that_goes_back_fits_nowhere() {
    let [one, two] = [1, 2].map(|number| Some(crate::common::digest_of(&[number])));
    let history = |deeds: &[Deed]| {
        let history = History::default();
        for deed in deeds {
            history.note(history.now(), *deed);
        }
        history
    };
    let forth = [Deed::Read(None), Deed::Write(one), Deed::Read(one), Deed::Write(two), Deed::Read(two)];
    assert!(history(&forth).is_of_one_order().is_ok());
    assert!(history(&[&forth[..], &[Deed::Read(one)]].concat()).is_of_one_order().is_err());
    // At the same time, either may be the first.
    let both = History::default();
    let (first, second) = (both.now(), both.now());
    both.note(first, Deed::Write(one));
    both.note(second, Deed::Write(two));
    both.note(both.now(), Deed::Read(one));
    assert!(both.is_of_one_order().is_ok());
}
