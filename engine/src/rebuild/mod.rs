//! An index made again, when it was lost.
//!
//! In: the journal, and the files under `blobs/`. Out: a new index beside the lost one's place, then in
//! it, and a [`Report`]. What has become true: every table is what the journal says or what follows
//! from that; nothing points at content that is not there (such content is known as damaged, and the
//! next push heals it); and everything counts as told just now, so that nothing is collected too early.

mod contents;
#[cfg(feature = "rocks")]
mod lost;
#[cfg(feature = "rocks")]
mod offline;
mod relations;
mod replay;
mod writer;

use std::{path::Path, sync::Arc};

#[cfg(feature = "rocks")]
pub(crate) use lost::{refuse_lost_index, with_remedy};
#[cfg(feature = "rocks")]
pub use offline::{Options, rebuild};

use crate::{
    clock::{self, Moment},
    collect::stored_epoch,
    environment::{Environment, System},
    error::{Error, Result},
    format::{VERSION, keys},
    index::{Changes, Durability, Index, Table},
    ingest::uploads_path,
    io::Disk,
    journal::History,
    options, quota,
    store::index_error,
};

/// The most findings that are kept with their text; the rest is counted.
const FINDINGS_MAX: usize = 1_000;

/// What a rebuild is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the journal; counted in bytes.
    Journal,
    /// Comparing content with files; counted in parts of the store.
    Contents,
    /// Making the tables that follow from others; counted in rows, without a known end.
    Relations,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub phase: Phase,
    pub done: u64,
    /// 0 if it is not known.
    pub total: u64,
}

/// What came of a rebuild.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The last change that the journal has.
    pub sequence: u64,
    /// Bytes of the journal that were read.
    pub journal_bytes: u64,
    /// Blobs that have a record, damaged ones included, and their bytes.
    pub blobs: u64,
    pub bytes: u64,
    pub namespaces: u64,
    pub members: u64,
    pub names: u64,
    pub edges: u64,
    /// Blobs whose bytes are missing or wrong: they answer as not found until they are pushed again.
    pub damaged: u64,
    /// Blobs whose records were lost, made again from their files.
    pub adopted: u64,
    /// Files that nothing in the journal speaks of, and their bytes. They stay where they are.
    pub unknown_files: u64,
    pub unknown_bytes: u64,
    /// What is not in the new index because something it relies on was lost with a part of the journal.
    pub members_lost: u64,
    pub names_lost: u64,
    pub edges_lost: u64,
    /// What documents need and is not there any more, for the same reason.
    pub needs_unmet: u64,
    /// Suspended uploads that are gone: their clients begin again.
    pub uploads_dropped: u64,
    /// What could not be read of the journal, or was damaged; what it cost.
    pub findings: Vec<String>,
    /// Findings beyond those kept.
    pub findings_more: u64,
}

impl Report {
    /// Whether everything was found that the journal was ever told, and all content.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        } else {
            self.findings_more += 1;
        }
    }
}

/// What is said of a row that no version wrote, or not this one.
fn unknown_row(table: Table, key: &[u8]) -> String {
    format!("a row of table {} is of an unknown version and is left out: {key:02x?}", table.name())
}

/// Fills an empty index from the journal at `journal` and the files of a disk, nobody else using
/// either; with `verify`, every blob's bytes are hashed. Blocks on the disk.
///
/// Errors: `Io`, `NoSpace`. The index is then of no use.
pub async fn rebuild_parts(
    index: Arc<dyn Index>,
    disk: Arc<dyn Disk>,
    journal: &Path,
    verify: bool,
    on: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let history = History::open(journal)?;
    let mut report = Report { journal_bytes: history.bytes, ..Report::default() };
    let replayed = replay::replay(&*index, &history, &mut report, on)?;
    report.sequence = replayed.sequence;
    let is_whole = report.is_clean() && replayed.flaws.is_empty() && history.has_base();
    replayed.flaws.into_iter().for_each(|flaw| report.find(flaw));
    report.findings_more += replayed.flaws_more;
    if !history.has_base() {
        report.find("the journal has no base: what was there before its first change is not known".to_owned());
    }

    // Nothing is older than the clock; and an epoch that may have ended unseen has ended.
    let epoch = stored_epoch(&*index)?.saturating_add(1);
    let mut clock_ms = clock::stored(&*index)?.unwrap_or_default();
    relations::members(&*index, &mut report, &mut clock_ms, on)?;
    let now = Moment { unix_ms: System::default().unix_ms(), clock_ms };
    contents::check(&*index, disk.clone(), verify || !is_whole, verify, now, &mut report, on).await?;
    relations::others(&*index, epoch, &mut report, &mut clock_ms, on)?;
    // The sums of sizes; quotas come with the next opening.
    quota::prepare(&*index, &options::Options::default())?;
    report.uploads_dropped = drop_uploads(&*disk).await?;

    let number = |number: u64| Some(number.to_le_bytes().to_vec());
    let mut writes = vec![
        (Table::Meta, keys::FORMAT.to_vec(), Some(VERSION.to_le_bytes().to_vec())),
        (Table::Meta, keys::EPOCH.to_vec(), number(epoch)),
        (Table::Meta, keys::CLOCK.to_vec(), number(clock_ms)),
    ];
    if is_whole {
        // Collection may take the files that nothing speaks of. After a loss, somebody should look first.
        writes.push((Table::Meta, keys::ORPHANS.to_vec(), Some(Vec::new())));
    }
    index.write(&Changes { conditions: Vec::new(), writes }, Durability::Synced).map_err(index_error)?;
    Ok(report)
}

/// Sessions are not in the journal, so their bytes belong to nobody.
async fn drop_uploads(disk: &dyn Disk) -> Result<u64> {
    let failed = |source| Error::io("clearing the upload area", source);
    let entries = disk.list(&uploads_path()).await.map_err(failed)?;
    for entry in &entries {
        disk.unlink(&uploads_path().join(&entry.name)).await.map_err(failed)?;
    }
    Ok(entries.len() as u64)
}

/// The index's directory below the root.
pub(crate) fn index_path(root: &Path) -> std::path::PathBuf {
    root.join("index")
}
