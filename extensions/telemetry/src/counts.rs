//! What became of the spans.

use std::sync::atomic::{AtomicU64, Ordering};

use orlop_api::metrics::{Statistic, StatisticKind};

/// Counts of one process.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: [AtomicU64; Cause::ALL.len()],
}

/// Why spans never came to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The queue was full.
    Queue,
    /// The collector could not be reached, was too slow or answered an error.
    Failed,
    /// The collector took the batch and said that it did not want all of it.
    Rejected,
    /// The process stopped, and the collector did not take them in time.
    Stop,
}

impl Cause {
    const ALL: [Cause; 4] = [Cause::Queue, Cause::Failed, Cause::Rejected, Cause::Stop];

    const fn as_str(self) -> &'static str {
        match self {
            Cause::Queue => "queue",
            Cause::Failed => "failed",
            Cause::Rejected => "rejected",
            Cause::Stop => "stop",
        }
    }
}

impl Counts {
    pub fn exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub fn dropped(&self, cause: Cause, spans: usize) {
        self.dropped[cause as usize].fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// For a scrape.
    pub fn statistics(&self) -> Vec<Statistic> {
        let counter = |name, help, value: &AtomicU64, label| {
            let value = value.load(Ordering::Relaxed);
            Statistic { name, help, kind: StatisticKind::Counter, value, label }
        };
        let exported = counter("trace_spans_exported", "Spans that the collector took", &self.exported, None);
        let dropped = Cause::ALL.map(|cause| {
            let label = Some(("cause", cause.as_str().to_owned()));
            let help = "Spans that never came to the collector, by what kept them";
            counter("trace_spans_dropped", help, &self.dropped[cause as usize], label)
        });
        [exported].into_iter().chain(dropped).collect()
    }
}
