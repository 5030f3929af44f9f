//! The offline checker: do index and disk keep what docs/semantics.md promises?
//!
//! In: the root of a store that no process has open. Out: a [`Report`]. Nothing is changed.

mod content;
mod tables;

use std::{fmt, path::Path, sync::Arc};

use crate::{
    digest::Hasher,
    error::{Error, Result},
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
    (8, "what nobody holds is known as garbage"),
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
            "{} damaged, {} garbage, {} unreferenced files ({} bytes)",
            self.damaged, self.garbage, self.unreferenced, self.unreferenced_bytes
        )?;
        match self.findings.len() as u64 + self.findings_more {
            0 => write!(f, "all {} invariants hold", INVARIANTS.len()),
            count => write!(f, "{count} findings"),
        }
    }
}

/// Checks the store at `root`. Errors: `InUse` while a process has it open; `Store` if it is not
/// one, or its index cannot be opened.
#[cfg(feature = "rocks")]
pub async fn check(root: &Path) -> Result<Report> {
    use crate::{index::RocksIndex, io, store::blocking};

    let path = root.to_owned();
    let _lock = blocking(move || lock(&path)).await?;
    let path = root.to_owned();
    let open = move || io::open_disk(&path, io::Backend::Threads).map_err(|source| Error::io("opening the root", source));
    let opened = blocking(open).await?;
    let path = root.join("index");
    let index = blocking(move || RocksIndex::open_read_only(&path).map_err(index_error)).await?;
    let mut report = check_parts(Arc::new(index), opened.disk).await?;
    let path = root.join("index");
    let (first, second) = blocking(move || {
        let first = RocksIndex::open_read_only(&path).map_err(index_error)?;
        let second = RocksIndex::open_read_only(&path).map_err(index_error)?;
        Ok((fingerprint(&first)?, fingerprint(&second)?))
    })
    .await?;
    if first != second {
        report.find(10, "two openings of the index read different content".to_owned());
    }
    Ok(report)
}

/// Checks a disk and an index that are not in use.
pub async fn check_parts(index: Arc<dyn Index>, disk: Arc<dyn Disk>) -> Result<Report> {
    let mut report = Report::default();
    tables::check(&*index, &mut report)?;
    let tier = LocalTier::new(disk.clone());
    content::check(&*index, &*disk, &tier, &mut report).await?;
    Ok(report)
}

#[cfg(feature = "rocks")]
fn lock(root: &Path) -> Result<std::fs::File> {
    use rustix::fs::{FlockOperation, flock};
    let path = root.join("LOCK");
    let lock = match std::fs::File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let reason = "this is not a store: it has no file LOCK".to_owned();
            return Err(Error::Store { path: root.to_owned(), reason });
        }
        Err(error) => return Err(Error::io("opening the lock", error)),
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse { path: root.to_owned() }),
        Err(errno) => Err(Error::io("locking the root", errno.into())),
    }
}

/// A digest over all tables.
fn fingerprint(index: &dyn Index) -> Result<crate::Digest> {
    let mut hasher = Hasher::new(crate::Algorithm::Blake3);
    for table in Table::ALL {
        each(index, table, &[], |(key, value)| {
            for part in [key, value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(&part);
            }
            Ok(())
        })?;
    }
    Ok(hasher.finish())
}

/// Visits all pairs of a prefix, a page at a time.
fn each(index: &dyn Index, table: Table, prefix: &[u8], mut visit: impl FnMut(Pair) -> Result<()>) -> Result<()> {
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
