//! What an import did, as a value that can be printed.

use std::fmt;

use orlop_engine::{Digest, Taken};
use serde::Serialize;

use super::source::Oddity;

/// Rows of each kind that are kept; the rest is counted.
const ROWS_MAX: usize = 10_000;

/// The result of an import. Bytes are those of blobs, not of manifests.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub dry_run: bool,
    /// A signal ended it before everything was looked at.
    pub stopped: bool,
    pub repositories: u64,
    pub manifests: Manifests,
    pub tags: Tags,
    pub blobs: Blobs,
    pub bytes: Bytes,
    /// Content that has another digest than its name says, or cannot be read.
    pub damaged: Rows<Damaged>,
    /// Manifests that were left out, with their tags.
    pub skipped: Rows<Skipped>,
    /// Indexes that were taken over without some of the manifests they list.
    pub incomplete: Rows<Incomplete>,
    /// Tags that the store has with another manifest, pushed later.
    pub kept: Rows<Kept>,
    /// Files and entries that mean nothing to a registry.
    pub oddities: Rows<Oddity>,
}

#[derive(Debug, Default, Serialize)]
pub struct Manifests {
    pub imported: u64,
    pub present: u64,
    pub skipped: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Tags {
    pub imported: u64,
    pub present: u64,
    pub kept: u64,
    pub skipped: u64,
}

/// Blobs by what was done with them, once for each repository.
#[derive(Debug, Default, Serialize)]
pub struct Blobs {
    pub linked: u64,
    pub copied: u64,
    pub inlined: u64,
    /// Stored already, and new to the repository.
    pub shared: u64,
    pub present: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Bytes {
    pub linked: u64,
    pub copied: u64,
    pub inlined: u64,
    pub shared: u64,
}

#[derive(Debug, Serialize)]
pub struct Damaged {
    pub repository: String,
    pub digest: String,
    pub path: String,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub struct Skipped {
    pub repository: String,
    pub manifest: String,
    pub tags: Vec<String>,
    pub reason: String,
}

#[derive(Debug, Serialize)]
pub struct Incomplete {
    pub repository: String,
    pub index: String,
    pub missing: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Kept {
    pub repository: String,
    pub tag: String,
    /// What the tag points at in the store, and in what was imported.
    pub stored: String,
    pub found: String,
}

/// A bounded list.
#[derive(Debug, Serialize)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    /// Rows beyond those kept.
    pub more: u64,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Rows { rows: Vec::new(), more: 0 }
    }
}

impl<T> Rows<T> {
    pub fn push(&mut self, row: T) {
        match self.rows.len() < ROWS_MAX {
            true => self.rows.push(row),
            false => self.more += 1,
        }
    }

    pub fn count(&self) -> u64 {
        self.rows.len() as u64 + self.more
    }
}

impl Report {
    /// Whether everything that was found is in the store now, as it was found. A tag that the
    /// store has newer is no loss.
    pub fn is_whole(&self) -> bool {
        let lost = self.damaged.count() + self.skipped.count() + self.incomplete.count() + self.oddities.count();
        lost == 0 && !self.stopped
    }

    /// Counts a blob that came into a repository.
    pub fn took(&mut self, taken: Taken, bytes: u64) {
        let (blobs, total) = match taken {
            Taken::Linked => (&mut self.blobs.linked, &mut self.bytes.linked),
            Taken::Copied => (&mut self.blobs.copied, &mut self.bytes.copied),
            Taken::Inline => (&mut self.blobs.inlined, &mut self.bytes.inlined),
            Taken::Known => (&mut self.blobs.shared, &mut self.bytes.shared),
        };
        *blobs += 1;
        *total += bytes;
    }

    pub fn skip(&mut self, repository: &str, manifest: &Digest, tags: Vec<String>, reason: String) {
        self.manifests.skipped += 1;
        self.tags.skipped += tags.len() as u64;
        self.skipped.push(Skipped { repository: repository.to_owned(), manifest: manifest.to_string(), tags, reason });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { damaged, skipped, incomplete, kept, oddities, .. } = self;
        for Damaged { repository, digest, path, reason } in &damaged.rows {
            writeln!(f, "damaged: {repository}: {digest} at {path}: {reason}")?;
        }
        for Skipped { repository, manifest, tags, reason } in &skipped.rows {
            writeln!(f, "skipped: {repository}: {manifest}{}: {reason}", Named(tags))?;
        }
        for Incomplete { repository, index, missing } in &incomplete.rows {
            writeln!(f, "incomplete: {repository}: {index} without {}", missing.join(", "))?;
        }
        for Kept { repository, tag, stored, found } in &kept.rows {
            writeln!(f, "kept: {repository}:{tag} at {stored}, pushed later than {found}")?;
        }
        for Oddity { path, reason } in &oddities.rows {
            writeln!(f, "left out: {path}: {reason}")?;
        }
        let more = damaged.more + skipped.more + incomplete.more + kept.more + oddities.more;
        if more > 0 {
            writeln!(f, "... and {more} more lines")?;
        }
        self.totals(f)
    }
}

impl Report {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { manifests, tags, blobs, bytes, .. } = self;
        writeln!(f, "{:<14}{:>12}{:>20}", "", "COUNT", "BYTES")?;
        writeln!(f, "{:<14}{:>12}", "repositories", self.repositories)?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, count: u64, bytes: Option<u64>| match bytes {
            Some(bytes) => writeln!(f, "  {name:<12}{count:>12}{bytes:>20}"),
            None => writeln!(f, "  {name:<12}{count:>12}"),
        };
        writeln!(f, "manifests")?;
        for (name, count) in
            [("imported", manifests.imported), ("present", manifests.present), ("skipped", manifests.skipped)]
        {
            row(f, name, count, None)?;
        }
        writeln!(f, "tags")?;
        for (name, count) in
            [("imported", tags.imported), ("present", tags.present), ("kept", tags.kept), ("skipped", tags.skipped)]
        {
            row(f, name, count, None)?;
        }
        writeln!(f, "blobs")?;
        for (name, count, bytes) in [
            ("linked", blobs.linked, bytes.linked),
            ("copied", blobs.copied, bytes.copied),
            ("inlined", blobs.inlined, bytes.inlined),
            ("shared", blobs.shared, bytes.shared),
        ] {
            row(f, name, count, Some(bytes))?;
        }
        row(f, "present", blobs.present, None)?;
        let end = match (self.stopped, self.dry_run, self.is_whole()) {
            (true, ..) => "stopped: what is listed is done; the same command goes on",
            (false, true, true) => "dry run: nothing was changed, and everything could be imported",
            (false, true, false) => "dry run: nothing was changed; the lines above could not be imported",
            (false, false, true) => "everything is in the store",
            (false, false, false) => "the lines above are not in the store, everything else is",
        };
        write!(f, "{end}")
    }
}

/// Tags in brackets, if there are any.
struct Named<'a>(&'a [String]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0.join(", ")) }
    }
}
