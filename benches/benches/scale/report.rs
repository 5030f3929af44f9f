//! What was measured: a table for people, JSON for programs.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use orlop_engine::index::TableFiles;
use serde_json::{Value, json};

use crate::{
    latency::Summary,
    plan::{CONTENT_BYTES, Plan},
    size::IndexBytes,
};

const MIB: f64 = (1 << 20) as f64;

/// Lines in the order in which they were measured.
pub struct Report {
    plan: Plan,
    lines: Vec<String>,
    figures: serde_json::Map<String, Value>,
}

impl Report {
    pub fn new(plan: Plan) -> Self {
        let mut report = Report { plan, lines: Vec::new(), figures: serde_json::Map::new() };
        report.note("blobs", json!(plan.blobs));
        report.note("documents", json!(plan.documents));
        report.note("content_bytes", json!(plan.blobs * CONTENT_BYTES as u64));
        report
    }

    fn note(&mut self, name: &str, value: Value) {
        self.figures.insert(name.replace(", ", "_").replace(' ', "_"), value);
    }

    pub fn filled(&mut self, took: Duration) {
        let rate = self.plan.blobs as f64 / took.as_secs_f64();
        self.lines.push(format!("filled in {:.0} s, {rate:.0} blobs a second", took.as_secs_f64()));
        self.note("fill_seconds", json!(took.as_secs_f64()));
    }

    pub fn start(&mut self, name: &str, took: Duration) {
        self.lines.push(format!("{name:<34} {:>10.2} s", took.as_secs_f64()));
        self.note(&format!("{name} seconds"), json!(took.as_secs_f64()));
    }

    /// The whole directory, as the last server left it.
    pub fn as_it_stands(&mut self, bytes: IndexBytes) {
        self.size("index as it stands", bytes);
    }

    pub fn compacted(&mut self, bytes: IndexBytes, tables: &[TableFiles]) {
        self.size("index after compaction", bytes);
        let blobs = self.plan.blobs as f64;
        let mut by_table = serde_json::Map::new();
        for table in tables.iter().filter(|table| table.entries > 0) {
            let (name, per_blob) = (table.table.name(), table.bytes as f64 / blobs);
            let (bytes, entries, files) = (table.bytes, table.entries, table.files);
            self.lines.push(format!("  {name:<32} {per_blob:>10.1} B/blob  {entries} entries, {files} files"));
            by_table.insert(name.to_owned(), json!({ "bytes": bytes, "entries": entries, "files": files }));
        }
        self.note("tables", by_table.into());
    }

    /// The content's own bytes lie in the index too, but are not its cost.
    fn size(&mut self, name: &str, bytes: IndexBytes) {
        let blobs = self.plan.blobs as f64;
        let gross = bytes.total() as f64 / blobs;
        let net = gross - CONTENT_BYTES as f64;
        let IndexBytes { tables, logs, other } = bytes;
        self.lines.push(format!(
            "{name:<34} {net:>10.1} B/blob  and {CONTENT_BYTES} of content; tables {:.0} MiB, logs {:.0}, other {:.0}",
            tables as f64 / MIB,
            logs as f64 / MIB,
            other as f64 / MIB,
        ));
        let value = json!({ "bytes_per_blob": net, "tables": tables, "logs": logs, "other": other });
        self.note(name, value);
    }

    /// One store, or the full one beside the empty one.
    pub fn latency(&mut self, name: &str, full: Option<Summary>, empty: Option<Summary>) {
        for (store, summary) in [("full", full), ("empty", empty)] {
            let Some(Summary { requests, p50_us, p99_us, max_us, per_second }) = summary else { continue };
            self.lines.push(format!(
                "{:<34} {p50_us:>10.0} us p50 {p99_us:>8.0} p99 {max_us:>8.0} max {per_second:>8.0} a second",
                format!("{name}, {store}")
            ));
            let value = json!({
                "requests": requests, "p50_us": p50_us, "p99_us": p99_us, "max_us": max_us, "per_second": per_second,
            });
            self.note(&format!("{name} {store}"), value);
        }
        if let (Some(full), Some(empty)) = (full, empty) {
            let (p50, p99) = (full.p50_us / empty.p50_us, full.p99_us / empty.p99_us);
            self.lines.push(format!("{:<34} {p50:>10.2} x  p50 {p99:>8.2} p99", format!("{name}, full / empty")));
            self.note(&format!("{name} ratio"), json!({ "p50": p50, "p99": p99 }));
        }
    }

    pub fn memory(&mut self, name: &str, full: u64, empty: u64) {
        let (full_mib, empty_mib) = (full as f64 / MIB, empty as f64 / MIB);
        self.lines.push(format!("{name:<34} {full_mib:>10.0} MiB full {empty_mib:>6.0} MiB empty"));
        self.note(&format!("{name} bytes"), json!({ "full": full, "empty": empty }));
    }

    pub fn json(&self) -> String {
        format!("{:#}\n", Value::Object(self.figures.clone()))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let documents = if self.plan.documents { ", every tenth a document" } else { "" };
        writeln!(f, "\n{} blobs of {CONTENT_BYTES} bytes{documents}", self.plan.blobs)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
