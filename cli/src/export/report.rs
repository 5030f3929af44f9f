//! What an export did, as a value that can be printed.

use std::fmt;

use serde::Serialize;

/// Missing content that is named; the rest is counted.
const MISSING_MAX: usize = 10_000;

/// The result of an export. Counts are of distinct contents, manifests included.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// A signal ended it: `index.json` is as it was.
    pub stopped: bool,
    pub tags: u64,
    pub manifests: u64,
    pub linked: u64,
    pub copied: u64,
    pub written: u64,
    pub present: u64,
    pub bytes_linked: u64,
    pub bytes_copied: u64,
    /// Content that a manifest names and the repository does not have.
    pub missing: Vec<String>,
    /// Beyond those named.
    pub missing_more: u64,
}

impl Report {
    pub fn miss(&mut self, what: String) {
        match self.missing.len() < MISSING_MAX {
            true => self.missing.push(what),
            false => self.missing_more += 1,
        }
    }

    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && !self.stopped
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.missing {
            writeln!(f, "missing: {what}")?;
        }
        if self.missing_more > 0 {
            writeln!(f, "... and {} more", self.missing_more)?;
        }
        let Report { tags, manifests, linked, copied, written, present, bytes_linked, bytes_copied, .. } = self;
        writeln!(f, "{tags} tags, {manifests} manifests")?;
        writeln!(f, "{linked} files linked ({bytes_linked} bytes), {copied} copied ({bytes_copied} bytes)")?;
        writeln!(f, "{written} small ones written, {present} there already")?;
        write!(
            f,
            "{}",
            match (self.stopped, linked + present > 0) {
                (true, _) => "stopped: index.json is as it was; the same command goes on",
                (false, true) => "linked files are the store's own: read them, copy them, do not write to them",
                (false, false) => "done",
            }
        )
    }
}
