//! From bytes read to how long to wait.

use std::time::Duration;

/// What was not read in time may be read later at once, as far as this time would have allowed.
const BURST: Duration = Duration::from_secs(1);

/// The least that a read counts as, in bytes: many small blobs cost processor time and look-ups rather than
/// bytes.
const READ_COST_BYTES: u64 = 16 << 10;

/// A bound on bytes in a second. Reads no clock.
pub struct Pace {
    rate_bytes_max: Option<u64>,
    /// When all that was read so far is paid for.
    clear: Duration,
}

impl Pace {
    pub fn new(rate_bytes_max: Option<u64>) -> Self {
        Pace { rate_bytes_max, clear: Duration::ZERO }
    }

    /// So many bytes were read at `now`, a reading of a clock that never goes back. Gives how long to wait
    /// before the next read.
    pub fn spend(&mut self, now: Duration, bytes: u64) -> Duration {
        let Some(rate) = self.rate_bytes_max else { return Duration::ZERO };
        let cost = bytes.max(READ_COST_BYTES) as f64 / rate.max(1) as f64;
        let cost = Duration::try_from_secs_f64(cost).unwrap_or(Duration::MAX);
        self.clear = self.clear.max(now.saturating_sub(BURST)).saturating_add(cost);
        self.clear.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Reads units as fast as the pace allows from `now` on, for a time; gives the bytes.
    fn read_for(pace: &mut Pace, mut now: Duration, time: Duration, unit: u64) -> u64 {
        let end = now + time;
        let mut bytes = 0;
        while now < end {
            bytes += unit;
            now += pace.spend(now, unit);
        }
        bytes
    }

    #[test]
    fn over_any_time_no_more_than_the_rate_and_one_second_of_it() {
        for unit in [MIB, 256 << 10, 5_000_000] {
            let mut pace = Pace::new(Some(10 * MIB));
            let start = Duration::from_secs(1000);
            for (from, seconds) in [(0, 10), (10, 1), (500, 3), (503, 60)] {
                let bytes = read_for(&mut pace, start + Duration::from_secs(from), Duration::from_secs(seconds), unit);
                let most = (seconds + 1) * 10 * MIB + unit;
                assert!(bytes <= most, "{bytes} bytes in {seconds} s by {unit}");
                // What was read at the end of the time before is paid for first.
                assert!(bytes + unit >= seconds * 10 * MIB - unit, "{bytes} bytes in {seconds} s by {unit}");
            }
        }
    }

    #[test]
    fn a_long_rest_saves_up_one_second_only() {
        let mut pace = Pace::new(Some(MIB));
        let day = Duration::from_secs(86_400);
        assert_eq!(pace.spend(day, MIB), Duration::ZERO, "a second's worth at once");
        assert_eq!(pace.spend(day, MIB), Duration::from_secs(1));
    }

    #[test]
    fn small_reads_have_a_least_cost_and_without_a_rate_nothing_waits() {
        let mut pace = Pace::new(Some(READ_COST_BYTES));
        let now = Duration::from_secs(100);
        assert_eq!(pace.spend(now, 1), Duration::ZERO);
        assert_eq!(pace.spend(now, 1), Duration::from_secs(1));
        let mut free = Pace::new(None);
        assert_eq!(free.spend(now, u64::MAX), Duration::ZERO);
    }
}
