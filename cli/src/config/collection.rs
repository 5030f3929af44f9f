//! The keys of collection: zot's, and one for the leases that zot does not have.

use std::time::Duration;

use orlop_gc::{Clock, Options, Runs, Schedule, retention::Retention};

use super::{
    Config,
    duration::{self, GoDuration},
    value::{Problem, Value},
};

/// zot's default of `storage.gcDelay` and `storage.gcInterval`.
const HOUR: Duration = Duration::from_secs(3600);

/// The shortest lease unless it is asked for: a slow push takes minutes from its first blob to its
/// manifest.
const LEASE_DEFAULT_MIN: Duration = Duration::from_secs(300);

/// The shortest lease that can be set: the round trip of a request.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// When what is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Whether runs begin by themselves.
    pub is_on: bool,
    /// How long what nothing keeps stays.
    pub delay: Duration,
    /// Between two runs; `None`: one run after the start.
    pub interval: Option<Duration>,
    /// How long whoever was told that content is there can rely on it.
    pub lease: Option<Duration>,
}

impl Default for Collection {
    fn default() -> Self {
        Self { is_on: true, delay: HOUR, interval: Some(HOUR), lease: None }
    }
}

impl Collection {
    /// The clock that both delays and leases are counted by.
    pub fn clock(&self) -> Clock {
        Clock::of_lease(self.lease.unwrap_or(self.delay.max(LEASE_DEFAULT_MIN)))
    }

    pub fn schedule(&self) -> Schedule {
        let runs = match (self.is_on, self.interval) {
            (false, _) => Runs::Never,
            (true, None) => Runs::Once,
            (true, Some(interval)) => Runs::Every(interval),
        };
        Schedule { clock: self.clock(), runs }
    }

    /// What a run is told. Documents may have a delay of their own.
    pub fn options(&self, retention: &Retention) -> Options {
        let clock = self.clock();
        let document_delay = clock.epochs(retention.delay.unwrap_or(self.delay));
        Options { delay: clock.epochs(self.delay), document_delay, ..Options::default() }
    }
}

pub fn set_delay(config: &mut Config, value: &Value) -> Result<(), Problem> {
    config.collection.delay = not_negative(value)?;
    Ok(())
}

/// Zero means one run after the start, as in zot.
pub fn set_interval(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let interval = not_negative(value)?;
    config.collection.interval = Some(interval).filter(|interval| !interval.is_zero());
    Ok(())
}

pub fn set_lease(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let lease = not_negative(value)?;
    if lease < LEASE_MIN {
        return Err(Problem::Unusable(format!("{lease:?} is too short for any push, expected 1s or more")));
    }
    config.collection.lease = Some(lease);
    Ok(())
}

fn not_negative(value: &Value) -> Result<Duration, Problem> {
    let text = value.text(duration::EXPECTED)?;
    let unusable = |reason: String| Problem::Unusable(format!("{reason}; expected {}", duration::EXPECTED));
    let duration = GoDuration::parse(text).map_err(unusable)?;
    duration.not_negative().ok_or_else(|| unusable(format!("{text:?} is below zero")))
}
