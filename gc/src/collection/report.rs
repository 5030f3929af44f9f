//! What a collection did.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::plan::{Reason, Removal, Totals, Waiting};

/// What became of a run, or of one so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The epoch it began in.
    pub epoch: u64,
    /// Entries of the garbage table that were looked at, each time one was.
    pub looked_at: u64,
    pub removed: Totals,
    /// Removals by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Planned removals that something kept after all when their turn came.
    pub kept: u64,
    /// Entries that were taken off the table because something keeps what they were about.
    pub settled: u64,
    pub waiting: Waiting,
    pub duration_ms: u64,
    /// Whether it came to its end.
    pub is_complete: bool,
}

impl Report {
    pub(super) fn count(&mut self, removal: &Removal) {
        self.removed.add(removal);
        *self.reasons.entry(removal.reason).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "removed {}", self.removed)?;
        for (reason, count) in &self.reasons {
            writeln!(f, "  {reason:<10} {count}")?;
        }
        let Waiting { leased, young, ruled } = self.waiting;
        writeln!(
            f,
            "{} candidates looked at: {} settled, {leased} leased, {young} within their delay, {ruled} kept by rules, \
             {} kept at the last moment",
            self.looked_at, self.settled, self.kept
        )?;
        let end = if self.is_complete { "" } else { ", stopped before its end" };
        write!(f, "{} ms{end}", self.duration_ms)
    }
}
