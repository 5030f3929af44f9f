//! Durations counted in buckets: constant memory, percentiles with a known error.
//!
//! In: durations. Out: [`Summary`]. Buckets are log-linear: below 256 ns one per nanosecond, above
//! that 128 per doubling. A percentile is the middle of its bucket, so it is off by at most
//! 1/256 (0.4 %). Minimum, maximum and mean are exact.

use std::time::Duration;

use serde::Serialize;

const SUB_BUCKET_BITS: u32 = 7;

/// 18 minutes; longer durations count as this long. A stalled run ends before that.
const NANOSECONDS_MAX: u64 = (1 << 40) - 1;

const BUCKETS: usize = bucket(NANOSECONDS_MAX) + 1;

#[derive(Clone)]
pub struct Histogram {
    /// Made with the first duration: many histograms stay empty.
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

/// What a histogram says, in microseconds; all zero without a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p75_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Vec::new(), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(NANOSECONDS_MAX);
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        self.counts[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.sum += nanoseconds;
        self.min = self.min.min(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub fn summary(&self) -> Summary {
        if self.count == 0 {
            return Summary::default();
        }
        Summary {
            count: self.count,
            min_us: microseconds(self.min as f64),
            mean_us: microseconds(self.sum as f64 / self.count as f64),
            p50_us: microseconds(self.percentile(500) as f64),
            p75_us: microseconds(self.percentile(750) as f64),
            p90_us: microseconds(self.percentile(900) as f64),
            p99_us: microseconds(self.percentile(990) as f64),
            p999_us: microseconds(self.percentile(999) as f64),
            max_us: microseconds(self.max as f64),
        }
    }

    /// The duration in nanoseconds that `per_mille` of 1000 samples do not exceed.
    fn percentile(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map_or(self.max, middle).clamp(self.min, self.max)
    }
}

/// The bucket of a duration in nanoseconds.
const fn bucket(nanoseconds: u64) -> usize {
    let bits = u64::BITS - nanoseconds.leading_zeros();
    let shift = bits.saturating_sub(SUB_BUCKET_BITS + 1);
    ((shift as usize) << SUB_BUCKET_BITS) + (nanoseconds >> shift) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle(bucket: usize) -> u64 {
    let shift = (bucket >> SUB_BUCKET_BITS).saturating_sub(1);
    let low = ((bucket - (shift << SUB_BUCKET_BITS)) as u64) << shift;
    low + (1 << shift) / 2
}

fn microseconds(nanoseconds: f64) -> f64 {
    (nanoseconds / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_keep_the_error() {
        assert_eq!(bucket(0), 0);
        let mut value = 1_u64;
        let mut last = 0;
        while value < NANOSECONDS_MAX {
            let index = bucket(value);
            assert!(index == last || index == last + 1 || value > 300, "{value} is in {index} after {last}");
            assert!(index >= last);
            assert!(middle(index).abs_diff(value) * 256 <= value, "{value} becomes {}", middle(index));
            last = index;
            value += 1 + value / 300;
        }
        assert_eq!(bucket(NANOSECONDS_MAX) + 1, BUCKETS);
    }

    #[test]
    fn percentiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(Duration::from_micros(value)));
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.min_us, summary.max_us), (1000, 1.0, 1000.0));
        assert_eq!(summary.mean_us, 500.5);
        for (found, wanted) in [(summary.p50_us, 500.0), (summary.p90_us, 900.0), (summary.p999_us, 999.0)] {
            assert!((found - wanted).abs() <= wanted / 256.0, "{found} is not {wanted}");
        }
    }

    #[test]
    fn merged_histograms_count_as_one() {
        let mut parts = [Histogram::default(), Histogram::default(), Histogram::default()];
        let mut whole = Histogram::default();
        for value in 1..=999 {
            parts[value % 2].record(Duration::from_nanos(value as u64 * 977));
            whole.record(Duration::from_nanos(value as u64 * 977));
        }
        let mut merged = Histogram::default();
        parts.iter().for_each(|part| merged.merge(part));
        assert_eq!(merged.summary(), whole.summary());
    }

    #[test]
    fn nothing_recorded_is_all_zero_and_the_longest_is_kept() {
        assert_eq!(Histogram::default().summary(), Summary::default());
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.summary().max_us, microseconds(NANOSECONDS_MAX as f64));
    }
}
