//! The offline checker: do index and disk keep what docs/semantics.md promises?
//!
//! In: the root of a store that no process has open. Out: a [`Report`]. Nothing is changed.

mod content;
#[cfg(feature = "rocks")]
mod offline;
mod tables;

use std::{fmt, sync::Arc};

pub(crate) use content::{Tally, read_file};
#[cfg(feature = "rocks")]
pub use offline::check;
#[cfg(feature = "rocks")]
pub(crate) use offline::{lock as lock_offline, lock_root};

use crate::{
    error::Result,
    index::{Index, Pair, Table},
    io::Disk,
    store::index_error,
    tier::LocalTier,
};

/// The invariants, by number.
pub const INVARIANTS: [(u8, &str); 10] = [
    (1, "each index entry has its bytes, of the right length"),
    (2, "stored bytes have the digest they are named with"),
    (3, "nothing incomplete or foreign under a final name"),
    (4, "holders are members reversed, and members are stored"),
    (5, "every name leads to existing content, and that to what it needs unless declared sparse"),
    (6, "reverse edges are edges reversed"),
    (7, "the upload area holds only known sessions"),
    (8, "what nobody holds or needs is known as garbage"),
    (9, "nothing of a namespace is reachable without membership"),
    (10, "a second opening reads the same"),
];

/// The most findings that are kept with their text; the rest is counted.
const FINDINGS_MAX: usize = 1_000;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its number in [`INVARIANTS`].
    pub invariant: u8,
    /// Where, what was expected and what was found.
    pub detail: String,
}

/// What the checker saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// Findings beyond those kept.
    pub findings_more: u64,
    /// Stored blobs and their bytes, garbage included.
    pub blobs: u64,
    pub bytes: u64,
    pub members: u64,
    pub names: u64,
    pub edges: u64,
    pub uploads: u64,
    /// Blobs whose damage is known: they answer as not found until they are pushed again.
    pub damaged: u64,
    /// Complete files that no record points to, left by a crash between placing and commit. They
    /// take space and harm nothing; a push of the same content takes their place.
    pub unreferenced: u64,
    pub unreferenced_bytes: u64,
    /// Content nobody holds that waits for collection.
    pub garbage: u64,
    /// Entries of the garbage table: all that collection will look at.
    pub candidates: u64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, invariant: u8, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { invariant, detail });
        } else {
            self.findings_more += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "invariant {} is broken: {}", finding.invariant, finding.detail)?;
        }
        if self.findings_more > 0 {
            writeln!(f, "... and {} more findings", self.findings_more)?;
        }
        writeln!(
            f,
            "{} blobs ({} bytes), {} members, {} names, {} edges, {} open uploads",
            self.blobs, self.bytes, self.members, self.names, self.edges, self.uploads
        )?;
        writeln!(
            f,
            "{} damaged, {} garbage, {} candidates, {} unreferenced files ({} bytes)",
            self.damaged, self.garbage, self.candidates, self.unreferenced, self.unreferenced_bytes
        )?;
        match self.findings.len() as u64 + self.findings_more {
            0 => write!(f, "all {} invariants hold", INVARIANTS.len()),
            count => write!(f, "{count} findings"),
        }
    }
}

/// Checks a disk and an index that are not in use.
pub async fn check_parts(index: Arc<dyn Index>, disk: Arc<dyn Disk>) -> Result<Report> {
    let mut report = Report::default();
    tables::check(&*index, &mut report)?;
    let tier = LocalTier::new(disk.clone());
    content::check(&*index, &*disk, &tier, &mut report).await?;
    Ok(report)
}

/// Visits all pairs of a prefix, a page at a time.
pub(crate) fn each(
    index: &dyn Index,
    table: Table,
    prefix: &[u8],
    mut visit: impl FnMut(Pair) -> Result<()>,
) -> Result<()> {
    const PAGE: usize = 1024;
    let snapshot = index.snapshot();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = snapshot.scan(table, prefix, after.as_deref(), PAGE).map_err(index_error)?;
        let last_page = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        page.into_iter().try_for_each(&mut visit)?;
        if last_page {
            return Ok(());
        }
    }
}
