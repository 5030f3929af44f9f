//! From durations to epochs.
//!
//! An epoch begins at most once per its length of time in which a process served; time in which
//! nothing ran does not count, and no clock of the machine is asked what time it is. So grace can
//! become longer than it was set, never shorter.

use std::time::Duration;

/// How many epochs a lease lasts: the grace is kept with an accuracy of one in so many.
const EPOCHS_PER_LEASE: u32 = 8;

/// The shortest epoch: each costs a synced write of the index.
const EPOCH_MIN: Duration = Duration::from_millis(20);

/// How long an epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    epoch: Duration,
}

impl Clock {
    /// A clock for leases of at least `lease`.
    pub fn of_lease(lease: Duration) -> Self {
        Clock { epoch: (lease / EPOCHS_PER_LEASE).max(EPOCH_MIN) }
    }

    /// The length of an epoch.
    pub fn epoch(self) -> Duration {
        self.epoch
    }

    /// For `orlop_engine::Options::lease_epochs`: whoever is told something at any moment of an
    /// epoch is protected for so many whole ones after it.
    pub fn lease_epochs(self) -> u64 {
        u64::from(EPOCHS_PER_LEASE)
    }

    /// Epochs after which at least `delay` has passed since any moment of the first one; none for
    /// no delay.
    pub fn epochs(self, delay: Duration) -> u64 {
        let whole = delay.as_nanos().div_ceil(self.epoch.as_nanos());
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        if whole == 0 { 0 } else { whole.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_shorter_than_it_was_set() {
        let clock = Clock::of_lease(Duration::from_secs(3600));
        assert_eq!(clock.epoch(), Duration::from_secs(450));
        for seconds in [1, 449, 450, 451, 3600, 86_400] {
            let delay = Duration::from_secs(seconds);
            // The first epoch may be nearly over when something happens in it.
            let least = clock.epoch() * u32::try_from(clock.epochs(delay) - 1).expect("small");
            assert!(least >= delay && least < delay + clock.epoch(), "{delay:?}: {least:?}");
        }
        assert_eq!(clock.epochs(Duration::ZERO), 0);
        assert!(clock.epoch() * u32::try_from(clock.lease_epochs()).expect("small") >= Duration::from_secs(3600));
    }

    #[test]
    fn an_epoch_has_a_least_length() {
        assert_eq!(Clock::of_lease(Duration::ZERO).epoch(), EPOCH_MIN);
    }
}
