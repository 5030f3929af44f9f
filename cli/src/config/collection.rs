//! The keys of collection: zot's, and one for the leases that zot does not have.

use std::time::Duration;

use orlop_gc::{Clock, Options, Runs, Schedule, Window, retention::Retention};

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
    /// The part of the day in which runs begin by themselves and go on; `None`: all of it.
    pub window: Option<Window>,
    /// How long whoever was told that content is there can rely on it.
    pub lease: Option<Duration>,
}

impl Default for Collection {
    fn default() -> Self {
        Self { is_on: true, delay: HOUR, interval: Some(HOUR), window: None, lease: None }
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
        Schedule { clock: self.clock(), runs, window: self.window }
    }

    /// What a run beside a service is told. Documents may have a delay of their own.
    pub fn options(&self, retention: &Retention) -> Options {
        let clock = self.clock();
        let document_delay = clock.epochs(retention.delay.unwrap_or(self.delay));
        Options { delay: clock.epochs(self.delay), document_delay, rests: true, ..Options::default() }
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

/// zot's form: two times of the day in UTC, the second one perhaps on the next day. Empty means all
/// day, as in zot.
pub fn set_window(config: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "a part of the day in UTC such as \"01:00-08:00\"";
    let text = value.text(EXPECTED)?;
    let unusable = |reason: String| Problem::Unusable(format!("{text:?}: {reason}; expected {EXPECTED}"));
    config.collection.window = match text.split_once('-') {
        None if text.is_empty() => None,
        None => return Err(unusable("there is no \"-\" between two times".to_owned())),
        Some((begin, end)) => {
            let minute =
                |time: &str| minute_of_day(time.trim()).ok_or_else(|| unusable(format!("{time:?} is no time")));
            Some(Window::new(minute(begin)?, minute(end)?).map_err(|reason| unusable(reason.to_string()))?)
        }
    };
    Ok(())
}

/// Minutes since midnight. Go's layout `15:04`: an hour of one or two digits, a minute of two.
fn minute_of_day(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let is_time = (1..=2).contains(&hour.len()) && minute.len() == 2;
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok())?;
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    (is_time && hour < 24 && minute < 60).then(|| hour * 60 + minute)
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
