//! What a run has found, and how it is written: text, JSON, or zb's file for continuous integration.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{histogram::Summary, phase::Seen, tally::Tally, workload::RateBasis};

/// A whole run. Rates are per second; a megabyte is 10^6 bytes; durations are named by their unit.
#[derive(Debug, Serialize)]
pub struct Report {
    pub client: &'static str,
    pub url: String,
    pub parameters: Parameters,
    pub workloads: Vec<Outcome>,
    pub skipped: Vec<Skipped>,
    /// Whether any request of any phase has failed, or was not made.
    pub failed: bool,
}

#[derive(Debug, Serialize)]
pub struct Parameters {
    pub seed: u64,
    pub concurrency: u64,
    /// Of each workload; none if a time was given.
    pub requests: Option<u64>,
    pub duration_seconds: Option<f64>,
    pub unique_bytes_max: u64,
    /// In bytes per second.
    pub slow_push_rate: u64,
    pub repo: Option<String>,
    pub filter: Option<String>,
    pub skip_cleanup: bool,
    pub client_threads: usize,
    /// The workers' connections: each has one, kept alive.
    pub connections_per_worker: u64,
}

#[derive(Debug, Serialize)]
pub struct Skipped {
    pub name: &'static str,
    pub why: &'static str,
}

/// What one workload has found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: &'static str,
    pub workers: u64,
    /// Requests that were planned; none if only the time ended the workload.
    pub planned: Option<u64>,
    pub completed: u64,
    pub failed: u64,
    pub set_up_seconds: f64,
    /// Without the load that the workload is about; its latencies are the part "idle".
    pub idle_seconds: f64,
    pub measured_seconds: f64,
    pub cleanup_seconds: f64,
    /// Completed requests per second of the time that `rate_basis` names.
    pub requests_per_second: f64,
    pub rate_basis: RateBasis,
    /// Completed requests per second of the measured time, whatever the basis.
    pub requests_per_second_measured: f64,
    /// Bodies in both directions, of the measured time.
    pub megabytes_per_second: f64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Time on processors that this client took while it measured; near the number of processors
    /// times the measured time, the client is the limit.
    pub client_cpu_seconds: f64,
    pub latency: Summary,
    /// Latencies of parts: time to first byte of pulls, load under which others are measured, the
    /// same requests without that load.
    pub parts: BTreeMap<&'static str, Summary>,
    pub counts: BTreeMap<&'static str, u64>,
    /// HTTP responses while measuring, by class.
    pub responses: BTreeMap<&'static str, u64>,
    /// What went wrong in any phase, with how often.
    pub failures: Vec<Failures>,
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Failures {
    pub phase: &'static str,
    pub message: String,
    pub count: u64,
}

/// The phases of a workload, ended.
pub struct Phases {
    pub set_up: Seen,
    /// Of workloads whose load is left out at first.
    pub idle: Option<Seen>,
    pub measured: Option<Seen>,
    pub cleanup: Option<Seen>,
}

impl Outcome {
    pub fn new(name: &'static str, workers: u64, planned: Option<u64>, basis: RateBasis, phases: &Phases) -> Self {
        let nothing = Tally::default();
        let tally = phases.measured.as_ref().map_or(&nothing, |seen| &seen.tally);
        let seconds = |seen: Option<&Seen>| seen.map_or(Duration::ZERO, |seen| seen.time).as_secs_f64();
        let (set_up, measured, cleanup) =
            (seconds(Some(&phases.set_up)), seconds(phases.measured.as_ref()), seconds(phases.cleanup.as_ref()));
        let latency = tally.latency.summary();
        let time = match basis {
            RateBasis::Whole => set_up + measured + cleanup,
            RateBasis::Measured => measured,
        };
        let mut parts: BTreeMap<_, _> = tally.parts.iter().map(|(name, part)| (*name, part.summary())).collect();
        if let Some(idle) = &phases.idle {
            parts.insert("idle", idle.tally.latency.summary());
        }
        Self {
            name,
            workers,
            planned,
            completed: latency.count,
            failed: tally.failed,
            set_up_seconds: rounded(set_up),
            idle_seconds: rounded(seconds(phases.idle.as_ref())),
            measured_seconds: rounded(measured),
            cleanup_seconds: rounded(cleanup),
            requests_per_second: rate(latency.count as f64, time),
            rate_basis: basis,
            requests_per_second_measured: rate(latency.count as f64, measured),
            megabytes_per_second: rate((tally.bytes_sent + tally.bytes_received) as f64 / 1e6, measured),
            bytes_sent: tally.bytes_sent,
            bytes_received: tally.bytes_received,
            client_cpu_seconds: rounded(phases.measured.as_ref().map_or(0.0, |seen| seen.cpu_seconds)),
            latency,
            parts,
            counts: tally.counts.clone(),
            responses: responses(tally),
            failures: phases.failures(),
            notes: Vec::new(),
        }
    }

    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty() || self.completed == 0
    }

    /// Several lines for a reader.
    pub fn text(&self) -> String {
        let mut text = format!("============\nTest name: {}\n", self.name);
        let basis = match self.rate_basis {
            RateBasis::Whole => "with set-up and cleanup",
            RateBasis::Measured => "measured alone",
        };
        let lines = [
            format!(
                "Time: set-up {} s, idle {} s, measured {} s, cleanup {} s",
                self.set_up_seconds, self.idle_seconds, self.measured_seconds, self.cleanup_seconds
            ),
            format!("Workers: {}", self.workers),
            format!("Complete requests: {}", self.completed),
            format!("Failed requests: {}", self.failed),
            format!("Requests per second: {:.2} ({basis})", self.requests_per_second),
            format!("Requests per second measured: {:.2}", self.requests_per_second_measured),
            format!(
                "Bodies: {:.2} MB/s, {} bytes sent, {} received",
                self.megabytes_per_second, self.bytes_sent, self.bytes_received
            ),
            format!("Client: {} s of processor time", self.client_cpu_seconds),
        ];
        lines.iter().for_each(|line| _ = writeln!(text, "{line}"));
        for (name, count) in self.counts.iter().chain(&self.responses) {
            _ = writeln!(text, "{name}: {count}");
        }
        _ = writeln!(text, "latency: {}", shown(&self.latency));
        for (name, part) in &self.parts {
            _ = writeln!(text, "{name}: {}", shown(part));
        }
        for Failures { phase, message, count } in &self.failures {
            _ = writeln!(text, "failed {count} times in {phase}: {message}");
        }
        self.notes.iter().for_each(|note| _ = writeln!(text, "note: {note}"));
        text
    }
}

impl Report {
    /// What zb writes into `ci-cd.json`: bigger is better, 3 runs of variation.
    pub fn ci_cd(&self) -> serde_json::Value {
        let rows = self.workloads.iter().map(|outcome| {
            serde_json::json!({
                "name": outcome.name,
                "unit": "requests per sec",
                "value": outcome.requests_per_second,
                "range": "3",
            })
        });
        rows.collect()
    }
}

impl Phases {
    fn failures(&self) -> Vec<Failures> {
        let phases = [
            ("set-up", Some(&self.set_up)),
            ("idle", self.idle.as_ref()),
            ("requests", self.measured.as_ref()),
            ("cleanup", self.cleanup.as_ref()),
        ];
        let seen = phases.into_iter().filter_map(|(phase, seen)| Some((phase, seen?)));
        seen.flat_map(|(phase, seen)| {
            let failures = seen.tally.failures.iter();
            failures.map(move |(message, &count)| Failures { phase, message: message.clone(), count })
        })
        .collect()
    }
}

fn responses(tally: &Tally) -> BTreeMap<&'static str, u64> {
    let classes = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let counted = classes.into_iter().zip(tally.responses);
    counted.filter(|&(class, count)| count > 0 || class == "2xx").collect()
}

fn shown(summary: &Summary) -> String {
    let Summary { min_us, mean_us, p50_us, p75_us, p90_us, p99_us, p999_us, max_us, .. } = summary;
    let names = ["min", "mean", "p50", "p75", "p90", "p99", "p99.9", "max"];
    let values = [min_us, mean_us, p50_us, p75_us, p90_us, p99_us, p999_us, max_us];
    let pairs = names.iter().zip(values).map(|(name, value)| format!("{name} {}", time(*value)));
    pairs.collect::<Vec<_>>().join(", ")
}

fn time(microseconds: f64) -> String {
    match microseconds {
        value if value < 1e3 => format!("{value:.1} us"),
        value if value < 1e6 => format!("{:.2} ms", value / 1e3),
        value => format!("{:.2} s", value / 1e6),
    }
}

fn rate(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(count / seconds) } else { 0.0 }
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::client::Problem;

    fn seen(seconds: u64, tally: Tally) -> Seen {
        Seen { workers: Vec::new(), tally, time: Duration::from_secs(seconds), cpu_seconds: 0.5 }
    }

    fn phases() -> Phases {
        let mut tally = Tally { bytes_sent: 6_000_000, ..Tally::default() };
        (0..30).for_each(|_| tally.latency.record(Duration::from_millis(2)));
        tally.part("ttfb", Duration::from_millis(1));
        tally.responses[2] = 60;
        Phases {
            set_up: seen(1, Tally::default()),
            idle: None,
            measured: Some(seen(3, tally)),
            cleanup: Some(seen(2, Tally::default())),
        }
    }

    #[test]
    fn rates_are_of_the_time_that_the_basis_names() {
        let whole = Outcome::new("a", 1, Some(30), RateBasis::Whole, &phases());
        assert_eq!((whole.requests_per_second, whole.requests_per_second_measured), (5.0, 10.0));
        let measured = Outcome::new("a", 1, Some(30), RateBasis::Measured, &phases());
        assert_eq!((measured.requests_per_second, measured.megabytes_per_second), (10.0, 2.0));
        assert!(!measured.has_failed());
        let text = measured.text();
        for part in
            ["Test name: a", "Requests per second: 10.00 (measured alone)", "p99.9 2.00 ms", "2xx: 60", "ttfb: "]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn a_failure_in_any_phase_fails_the_workload() {
        for phase in 0..4 {
            let mut phases = phases();
            let tally = match phase {
                0 => Some(&mut phases.set_up.tally),
                1 => phases.measured.as_mut().map(|seen| &mut seen.tally),
                2 => Some(&mut phases.idle.insert(seen(1, Tally::default())).tally),
                _ => phases.cleanup.as_mut().map(|seen| &mut seen.tally),
            };
            tally.expect("the phase").fail(&Problem("broken".to_owned()));
            let outcome = Outcome::new("a", 1, Some(30), RateBasis::Whole, &phases);
            assert!(outcome.has_failed());
            assert!(outcome.text().contains("failed 1 times in"), "{}", outcome.text());
        }
        let nothing = Phases { set_up: seen(1, Tally::default()), idle: None, measured: None, cleanup: None };
        assert!(Outcome::new("a", 1, Some(30), RateBasis::Whole, &nothing).has_failed());
    }

    #[test]
    fn idle_latencies_are_a_part_and_no_requests() {
        let mut tally = Tally::default();
        tally.latency.record(Duration::from_millis(1));
        let phases = Phases { idle: Some(seen(4, tally)), ..phases() };
        let outcome = Outcome::new("a", 1, Some(30), RateBasis::Measured, &phases);
        assert_eq!((outcome.completed, outcome.idle_seconds, outcome.measured_seconds), (30, 4.0, 3.0));
        assert_eq!((outcome.parts["idle"].count, outcome.parts["idle"].max_us), (1, 1000.0));
    }
}
