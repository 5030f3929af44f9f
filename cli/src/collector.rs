//! The collector and the scrubber as the registry's operators see them.

use orlop_api::{
    Document, Maintenance,
    metrics::{Statistic, StatisticKind},
};
use orlop_gc::{Collector, PassReport, Scrubber};

use crate::{audit, damage};

/// Gives the API its view of both.
pub struct Maintained {
    pub collector: Collector,
    pub scrubber: Scrubber,
}

impl Maintenance for Maintained {
    fn start_collection(&self) -> bool {
        self.collector.start()
    }

    fn collection(&self) -> String {
        serde_json::to_string(&self.collector.status()).expect("a status has no maps with other keys than strings")
    }

    fn start_scrub(&self) -> bool {
        self.scrubber.start()
    }

    fn scrub(&self) -> Option<Document<'_>> {
        Some(Box::pin(async {
            let listed = damage::list(self.scrubber.engine()).await?;
            let status = serde_json::to_value(self.scrubber.status());
            let mut document = status.expect("a status has no maps with other keys than strings");
            document["damaged_blobs"] = damage::document(&listed);
            Ok(document.to_string())
        }))
    }

    fn statistics(&self) -> Vec<Statistic> {
        let mut statistics = self.collection_statistics();
        statistics.extend(self.scrub_statistics());
        statistics
    }
}

/// A number that goes up and down.
fn gauge(name: &'static str, help: &'static str, value: u64) -> Statistic {
    Statistic { name, help, kind: StatisticKind::Gauge, value, label: None }
}

/// A number that only goes up.
fn counter(name: &'static str, help: &'static str, value: u64) -> Statistic {
    Statistic { name, help, kind: StatisticKind::Counter, value, label: None }
}

impl Maintained {
    /// What the engine does not count by itself (`blobs_scrubbed`, `bytes_scrubbed`, `blobs_damaged`).
    fn scrub_statistics(&self) -> Vec<Statistic> {
        let status = self.scrubber.status();
        let last = status.last.unwrap_or_default();
        let under_way = status.running.or(status.interrupted);
        let seconds = |unix_ms: u64| unix_ms / 1000;
        vec![
            gauge(
                "damaged_blobs",
                "Blobs that are damaged now and wait for a push of the same content",
                status.damaged,
            ),
            gauge("scrub_running", "Whether a pass of the scrub is under way", u64::from(status.running.is_some())),
            gauge(
                "scrub_pass_blobs",
                "Blobs that the pass under way has looked at",
                under_way.map_or(0, |pass: PassReport| pass.blobs),
            ),
            gauge(
                "scrub_last_start_timestamp_seconds",
                "When the last whole pass began, since 1970",
                seconds(last.started_unix_ms),
            ),
            gauge(
                "scrub_last_end_timestamp_seconds",
                "When the last whole pass ended, since 1970; 0: never",
                seconds(last.ended_unix_ms.unwrap_or(0)),
            ),
            gauge("scrub_last_blobs", "Blobs the last whole pass looked at", last.blobs),
            gauge("scrub_last_bytes", "Bytes the last whole pass read", last.bytes),
            gauge("scrub_last_damaged", "Blobs the last whole pass found damaged", last.damaged + last.known),
            gauge("scrub_last_skipped", "Blobs the last whole pass could not look at", last.skipped),
        ]
    }

    fn collection_statistics(&self) -> Vec<Statistic> {
        let status = self.collector.status();
        let last = status.last.unwrap_or_default();
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
