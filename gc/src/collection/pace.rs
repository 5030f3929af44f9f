//! Short bursts of work, and rests between them.
//!
//! A request that arrives in the middle of a burst waits for its end at most: for the commit thread if
//! it pushes, for a processor in any case. Resting for as long as was worked leaves both to everybody
//! else for half of the time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Work without a rest: less than requests take that are not the fastest.
const BURST: Duration = Duration::from_micros(250);

/// The longest rest. Only a slow disk makes one so long, and more would not help it.
const REST_MAX: Duration = Duration::from_millis(100);

pub(super) struct Pace {
    rests: bool,
    since: Instant,
}

impl Pace {
    pub fn new(rests: bool) -> Self {
        Pace { rests, since: Instant::now() }
    }

    /// Rests if it is time to. Blocks its thread.
    pub fn rest_blocking(&mut self) {
        if let Some(rest) = self.due() {
            thread::sleep(rest);
            self.since = Instant::now();
        }
    }

    /// Rests if it is time to.
    pub async fn rest(&mut self) {
        if let Some(rest) = self.due() {
            tokio::time::sleep(rest).await;
            self.since = Instant::now();
        }
    }

    fn due(&self) -> Option<Duration> {
        let worked = self.since.elapsed();
        (self.rests && worked >= BURST).then_some(worked.min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_for_as_long_as_it_worked() {
        let worked =
            |rests, time| Pace { rests, since: Instant::now().checked_sub(time).expect("a late enough start") };
        assert_eq!(worked(false, REST_MAX).due(), None);
        assert_eq!(Pace::new(true).due(), None);
        let mut pace = worked(true, Duration::from_millis(5));
        assert!(pace.due().is_some_and(|rest| rest >= Duration::from_millis(5)));
        assert_eq!(worked(true, 2 * REST_MAX).due(), Some(REST_MAX));
        pace.rest_blocking();
        assert_eq!(pace.due(), None, "a new burst begins after a rest");
    }
}
