//! The collector as the registry's operators see it.

use orlop_api::{
    Maintenance,
    metrics::{Statistic, StatisticKind},
};
use orlop_gc::Collector;

use crate::audit;

/// Gives the API its view of a collector.
pub struct Maintained(pub Collector);

impl Maintenance for Maintained {
    fn start_collection(&self) -> bool {
        self.0.start()
    }

    fn collection(&self) -> String {
        serde_json::to_string(&self.0.status()).expect("a status has no maps with other keys than strings")
    }

    fn statistics(&self) -> Vec<Statistic> {
        let status = self.0.status();
        let last = status.last.unwrap_or_default();
        let gauge = |name, help, value| Statistic { name, help, kind: StatisticKind::Gauge, value, label: None };
        let counter = |name, help, value| Statistic { name, help, kind: StatisticKind::Counter, value, label: None };
        let mut statistics = vec![
            counter("collection_runs", "Collections that ended", status.runs),
            gauge("collection_running", "Whether a collection is under way", u64::from(status.running.is_some())),
            gauge(
                "collection_candidates",
                "About how many entries the garbage table has: new, waiting, or garbage",
                status.candidates,
            ),
            gauge("collection_epoch", "The epoch that grace is counted in", status.epoch),
            gauge("collection_last_duration_milliseconds", "How long the last collection took", last.duration_ms),
            gauge("collection_last_looked_at", "Entries the last collection looked at", last.looked_at),
            gauge("collection_last_removed_members", "Members the last collection removed", last.removed.members),
            gauge("collection_last_removed_blobs", "Blobs the last collection removed", last.removed.contents),
            gauge("collection_last_removed_bytes", "Bytes the last collection freed", last.removed.bytes),
            gauge("collection_last_removed_uploads", "Uploads the last collection removed", last.removed.uploads),
        ];
        if let Some(audit::Counts { written, lost }) = audit::counts() {
            statistics.push(counter("audit_lines_written", "Lines of the audit log that were written", written));
            statistics.push(counter("audit_lines_lost", "Lines of the audit log that could not be written", lost));
        }
        statistics
    }
}
