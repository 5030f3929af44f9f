//! What one worker has seen in one phase, and the sum over workers.

use std::{collections::BTreeMap, time::Duration};

use super::{
    client::{Problem, Reply},
    histogram::Histogram,
};

/// Different failure messages that are kept; later ones are counted together.
const FAILURE_KINDS_MAX: usize = 20;

#[derive(Default, Clone)]
pub struct Tally {
    /// Of whole requests as the workload defines them, successful ones only.
    pub latency: Histogram,
    /// Of parts of requests, by name.
    pub parts: BTreeMap<&'static str, Histogram>,
    /// Events that the workload counts, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// HTTP responses by the first digit of their status.
    pub responses: [u64; 6],
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub failed: u64,
    /// Messages with how often they came.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    pub fn part(&mut self, name: &'static str, duration: Duration) {
        self.parts.entry(name).or_default().record(duration);
    }

    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    pub fn response(&mut self, reply: &Reply) {
        self.responses[usize::from(reply.status / 100).min(5)] += 1;
        self.bytes_received += reply.body_bytes;
    }

    pub fn fail(&mut self, problem: &Problem) {
        self.failed += 1;
        self.list(&problem.0, 1);
    }

    pub fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        for (name, histogram) in &other.parts {
            self.parts.entry(name).or_default().merge(histogram);
        }
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
        self.responses.iter_mut().zip(other.responses).for_each(|(mine, theirs)| *mine += theirs);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.failed += other.failed;
        for (message, count) in &other.failures {
            self.list(message, *count);
        }
    }

    fn list(&mut self, message: &str, count: u64) {
        let known = self.failures.contains_key(message) || self.failures.len() < FAILURE_KINDS_MAX;
        let message = if known { message } else { "other failures" };
        *self.failures.entry(message.to_owned()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_parts_and_failures_stay_few() {
        let mut whole = Tally::default();
        for worker in 0..3 {
            let mut tally = Tally::default();
            tally.latency.record(Duration::from_millis(1));
            tally.part("head", Duration::from_millis(1));
            tally.count("pushed");
            (0..50).for_each(|index| tally.fail(&Problem(format!("{worker} {index}"))));
            whole.merge(&tally);
        }
        assert_eq!(whole.latency.summary().count, 3);
        assert_eq!(whole.parts["head"].summary().count, 3);
        assert_eq!((whole.counts["pushed"], whole.failed), (3, 150));
        assert_eq!(whole.failures.values().sum::<u64>(), 150);
        assert!(whole.failures.len() <= FAILURE_KINDS_MAX + 1);
    }
}
