//! A rebuild of a store that no process has open.

use std::{fs, io, path::Path, sync::Arc};

use super::{Progress, Report, index_path, rebuild_parts};
use crate::{
    check::lock_root,
    error::{Error, Result},
    index::{RocksIndex, RocksOptions},
    io as disk,
    journal::{self, History},
    store::{blocking, index_error},
};

/// Where the new index is made; what an earlier rebuild left there is of no use.
const UNFINISHED: &str = "index.new";

/// Old indexes that are kept beside the new one at most.
const OLD_MAX: u32 = 1_000;

/// What an operator can say about a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// An index that is there is moved aside instead of being a reason to refuse.
    pub replace: bool,
    /// A journal without a base is taken for what it is: only what changed since some day comes back.
    pub partial: bool,
    /// Every blob's bytes are hashed.
    pub verify: bool,
}

/// Makes the index of the store at `root` again from its journal and its files. Until its last step it
/// changes nothing but a directory of its own, so it can be repeated after a crash; suspended uploads
/// are removed. Blocks on the disk.
///
/// Errors: `InUse` while a process has the store open; `Foreign` if it is not one; `Refused` if there is
/// an index and `replace` is not set, or no base of a journal and `partial` is not; `Store` if there is
/// no journal at all.
pub async fn rebuild(root: &Path, options: Options, on: &mut (dyn FnMut(Progress) + Send)) -> Result<Report> {
    let _lock = lock_root(root)?;
    let journal = root.join(journal::DIRECTORY);
    let failed = |source| Error::io("rebuilding the index", source);
    if !options.replace && !is_empty(&index_path(root)).map_err(failed)? {
        let reason = "there is an index; --replace moves it aside and makes a new one".to_owned();
        return Err(Error::Refused { path: index_path(root), reason });
    }
    let history = History::open(&journal)?;
    if history.is_empty() {
        let reason = "there is no journal, and nothing else says what was where and under which name; \
                      restore the index or the journal from a backup"
            .to_owned();
        return Err(Error::Store { path: journal, reason });
    }
    if !history.has_base() && !options.partial {
        let reason = "the journal has no base, so only what changed since it was begun is known; \
                      --partial brings that back"
            .to_owned();
        return Err(Error::Refused { path: journal, reason });
    }
    let unfinished = root.join(UNFINISHED);
    remove(&unfinished).map_err(failed)?;
    let opened = disk::open_disk(root, disk::Backend::Threads).map_err(failed)?;
    let index = RocksIndex::open(&unfinished, RocksOptions::default()).map_err(index_error)?;
    let index = Arc::new(index);
    let report = rebuild_parts(index.clone(), opened.disk, &journal, options.verify, on).await?;
    // Closing it may wait for background work, and syncs what was buffered.
    blocking(move || {
        drop(index);
        Ok(())
    })
    .await?;
    put_in_place(root, &unfinished).map_err(failed)?;
    Ok(report)
}

fn put_in_place(root: &Path, unfinished: &Path) -> io::Result<()> {
    let path = index_path(root);
    if is_empty(&path)? {
        remove(&path)?;
    } else {
        let old = (1..=OLD_MAX).map(|number| root.join(format!("index.old-{number}"))).find(|old| !old.exists());
        let old = old.ok_or_else(|| io::Error::other("too many old indexes beside this one; remove some"))?;
        fs::rename(&path, old)?;
    }
    fs::rename(unfinished, &path)?;
    fs::File::open(root)?.sync_all()
}

/// Whether a directory has nothing in it, or does not exist.
fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
