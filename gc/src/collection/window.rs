//! The part of each day in which runs may begin by themselves.
//!
//! A pure function over the wall clock, which may jump: a jump makes a run begin or stop early or
//! late, and nothing more. What goes and what stays is never decided by it.

use std::{fmt, time::Duration};

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u32 = 24 * 60;

/// From one minute of the day, in UTC, up to another one; over midnight if that comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    begin: u32,
    end: u32,
}

/// The reason why two moments of a day are no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoWindow {
    #[error("a day has the minutes 00:00 to 23:59")]
    NoMinute,
    #[error("it begins when it ends; leave it out if runs may begin all day")]
    Empty,
}

impl Window {
    /// From minute `begin` of the day (0 to 1,439) up to, and without, minute `end`.
    pub fn new(begin: u32, end: u32) -> Result<Self, NoWindow> {
        match (begin, end) {
            (begin, end) if begin.max(end) >= DAY_MINUTES => Err(NoWindow::NoMinute),
            (begin, end) if begin == end => Err(NoWindow::Empty),
            (begin, end) => Ok(Window { begin, end }),
        }
    }

    /// Whether it is open at a moment, in milliseconds since 1970.
    pub fn is_open(self, unix_ms: u64) -> bool {
        let minute = minute_of_day(unix_ms);
        match self.begin < self.end {
            true => (self.begin..self.end).contains(&minute),
            false => minute >= self.begin || minute < self.end,
        }
    }

    /// How long after a moment it opens; zero while it is open.
    pub fn opens_in(self, unix_ms: u64) -> Duration {
        if self.is_open(unix_ms) {
            return Duration::ZERO;
        }
        let minutes = (self.begin + DAY_MINUTES - minute_of_day(unix_ms)) % DAY_MINUTES;
        Duration::from_millis(u64::from(minutes) * MINUTE_MS - unix_ms % MINUTE_MS)
    }
}

fn minute_of_day(unix_ms: u64) -> u32 {
    // The remainder is below 1,440.
    ((unix_ms / MINUTE_MS) % u64::from(DAY_MINUTES)) as u32
}

/// As it is written in configurations: `01:00-08:00`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { begin, end } = *self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day of November 2026.
    const MIDNIGHT_MS: u64 = 20_780 * 24 * 3_600_000;

    fn at(hour: u64, minute: u64, second: u64) -> u64 {
        MIDNIGHT_MS + ((hour * 60 + minute) * 60 + second) * 1000
    }

    fn window(begin: (u32, u32), end: (u32, u32)) -> Window {
        Window::new(begin.0 * 60 + begin.1, end.0 * 60 + end.1).expect("a window")
    }

    #[test]
    fn it_is_open_from_its_first_minute_up_to_its_end() {
        let night = window((1, 0), (8, 30));
        for (moment, is_open) in [
            (at(0, 59, 59), false),
            (at(1, 0, 0), true),
            (at(8, 29, 59), true),
            (at(8, 30, 0), false),
            (at(23, 59, 59), false),
        ] {
            assert_eq!(night.is_open(moment), is_open, "{moment}");
        }
    }

    #[test]
    fn it_may_go_over_midnight() {
        let night = window((22, 15), (4, 0));
        for (moment, is_open) in [
            (at(22, 14, 59), false),
            (at(22, 15, 0), true),
            (at(23, 59, 59), true),
            (at(0, 0, 0), true),
            (at(3, 59, 59), true),
            (at(4, 0, 0), false),
            (at(12, 0, 0), false),
        ] {
            assert_eq!(night.is_open(moment), is_open, "{moment}");
        }
    }

    #[test]
    fn every_minute_but_one_and_midnight_as_an_end() {
        let almost_all = window((0, 1), (0, 0));
        assert!(!almost_all.is_open(at(0, 0, 30)));
        assert!(almost_all.is_open(at(23, 59, 59)) && almost_all.is_open(at(0, 1, 0)));
        let evening = window((20, 0), (0, 0));
        assert!(evening.is_open(at(23, 59, 59)) && !evening.is_open(at(0, 0, 0)));
    }

    #[test]
    fn the_time_until_it_opens_ends_exactly_there() {
        for window in
            [window((1, 0), (8, 30)), window((22, 15), (4, 0)), window((0, 0), (0, 1)), window((23, 59), (0, 0))]
        {
            for moment in (at(0, 0, 0)..at(24, 0, 0)).step_by(7 * 60_000 + 13_001) {
                let wait = window.opens_in(moment);
                assert_eq!(wait.is_zero(), window.is_open(moment), "{window} at {moment}");
                let wait_ms = u64::try_from(wait.as_millis()).expect("less than a day");
                assert!(wait_ms < 24 * 3_600_000 && window.is_open(moment + wait_ms), "{window} at {moment}: {wait:?}");
                assert!(wait_ms == 0 || !window.is_open(moment + wait_ms - 1), "{window} at {moment}: {wait:?}");
            }
        }
    }

    /// No moment that a broken clock can show makes it overflow.
    #[test]
    fn any_clock_has_an_answer() {
        for moment in [0, 1, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let wait = window((1, 0), (2, 0)).opens_in(moment);
            assert!(wait < Duration::from_secs(24 * 3600), "{moment}");
        }
    }

    #[test]
    fn what_is_no_window() {
        assert_eq!(Window::new(60, 60), Err(NoWindow::Empty));
        assert_eq!(Window::new(0, 1440), Err(NoWindow::NoMinute));
        assert_eq!(window((1, 5), (23, 0)).to_string(), "01:05-23:00");
    }
}
