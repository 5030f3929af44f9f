//! Times of single requests and what they come to.

use std::time::Duration;

#[derive(Default)]
pub struct Latencies {
    times: Vec<Duration>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// Microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub requests: usize,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    pub per_second: f64,
}

impl Latencies {
    pub fn extend(&mut self, times: Vec<Duration>) {
        self.times.extend(times);
    }

    pub fn merge(&mut self, other: Latencies) {
        self.times.extend(other.times);
        self.took += other.took;
    }

    /// All zero without a request.
    pub fn summary(mut self) -> Summary {
        self.times.sort_unstable();
        let at = |share: f64| {
            let rank = (self.times.len() as f64 * share).ceil() as usize;
            self.times.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Summary {
            requests: self.times.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            max_us: at(1.0),
            per_second: self.times.len() as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE),
        }
    }
}
