//! The store's own clock, by which everything is older or younger than something else.
//!
//! The wall clock jumps: by a second when it is set, by decades when a battery is empty. A decision
//! to drop something because it is old must not follow it. So the store counts for itself: its
//! clock starts at the wall clock of the store's first opening, advances with the machine's
//! monotonic clock as long as the store is open, stands still while it is closed, and is written
//! down with every commit. It never goes back by more than what was not written down, and it never
//! jumps forward. A store that is switched off for a month does not age by a month: that keeps
//! things longer than asked for, never shorter.
//!
//! The wall clock is recorded beside it, for showing to people only.

use std::{sync::Arc, time::Duration};

use crate::{
    commit::{Transaction, decoded_u64},
    environment::Environment,
    error::Result,
    format::keys,
    index::{Index, Table},
    store::index_error,
};

/// One moment by both clocks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Moment {
    /// The wall clock since 1970: may jump, for showing to people.
    pub unix_ms: u64,
    /// The store's clock: comparable with other readings of the same store.
    pub clock_ms: u64,
}

/// The clock of an open store.
pub(crate) struct Clock {
    environment: Arc<dyn Environment>,
    base_ms: u64,
    opened: Duration,
}

impl Clock {
    /// Goes on where the index says that the clock stood.
    pub fn open(index: &dyn Index, environment: Arc<dyn Environment>) -> Result<Self> {
        let base_ms = stored(index)?.unwrap_or_else(|| environment.unix_ms());
        let opened = environment.monotonic();
        Ok(Clock { environment, base_ms, opened })
    }

    pub fn now(&self) -> Moment {
        let open = self.environment.monotonic().saturating_sub(self.opened);
        let open_ms = u64::try_from(open.as_millis()).unwrap_or(u64::MAX);
        Moment { unix_ms: self.environment.unix_ms(), clock_ms: self.base_ms.saturating_add(open_ms) }
    }

    /// Writes the clock down with a change. Changes are made one after the other, so a later
    /// reading is never replaced by an earlier one if it is taken within the change.
    pub fn record(transaction: &mut Transaction<'_>, now: Moment) {
        transaction.put(Table::Meta, keys::CLOCK.to_vec(), now.clock_ms.to_le_bytes().to_vec());
    }
}

/// Where the clock of an index stands; nothing if it never ran.
pub(crate) fn stored(index: &dyn Index) -> Result<Option<u64>> {
    index.get(Table::Meta, keys::CLOCK).map_err(index_error)?.map(|bytes| decoded_u64("clock", &bytes)).transpose()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::{
        commit::to_changes,
        index::{Durability, MemoryIndex},
    };

    /// Clocks that a test sets, in milliseconds.
    #[derive(Default)]
    struct Set {
        unix_ms: AtomicU64,
        monotonic_ms: AtomicU64,
    }

    impl Environment for Set {
        fn unix_ms(&self) -> u64 {
            self.unix_ms.load(Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.monotonic_ms.load(Relaxed))
        }

        fn random(&self) -> u128 {
            0
        }
    }

    #[test]
    fn it_follows_no_jump_of_the_wall_clock_and_goes_on_after_a_restart() {
        let index = MemoryIndex::default();
        let set = Arc::new(Set::default());
        set.unix_ms.store(1_000_000, Relaxed);
        let clock = Clock::open(&index, set.clone()).expect("opens");
        assert_eq!(clock.now(), Moment { unix_ms: 1_000_000, clock_ms: 1_000_000 });

        set.monotonic_ms.store(500, Relaxed);
        for unix_ms in [0, 1_000_500, u64::MAX] {
            set.unix_ms.store(unix_ms, Relaxed);
            assert_eq!(clock.now(), Moment { unix_ms, clock_ms: 1_000_500 });
        }

        let group = Default::default();
        let mut transaction = Transaction::new(&index, &group);
        Clock::record(&mut transaction, clock.now());
        index.write(&to_changes(transaction.into_overlay()), Durability::Synced).expect("memory");
        // Another boot: the monotonic clock starts anew, and the wall clock lies by ten years.
        set.monotonic_ms.store(7, Relaxed);
        let clock = Clock::open(&index, set).expect("opens");
        assert_eq!(clock.now().clock_ms, 1_000_500);
    }
}
