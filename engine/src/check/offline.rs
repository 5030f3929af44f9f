//! Opening a store for the checker, without changing it.

use std::{fs::File, path::Path, sync::Arc};

use rustix::fs::{FlockOperation, flock};

use super::{Report, check_parts, each};
use crate::{
    Algorithm, Digest,
    digest::Hasher,
    engine::check_root_format,
    error::{Error, Result},
    index::{Index, RocksIndex, Table},
    io,
    rebuild::refuse_lost_index,
    store::{blocking, index_error},
};

/// Checks the store at `root`. Errors: `InUse` while a process has it open; `Foreign` if it is not
/// one; `Store` if its index cannot be opened.
pub async fn check(root: &Path) -> Result<Report> {
    let path = root.to_owned();
    let _lock = blocking(move || lock(&path)).await?;
    let path = root.to_owned();
    let open =
        move || io::open_disk(&path, io::Backend::Threads).map_err(|source| Error::io("opening the root", source));
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

/// Locks an existing store for reading while nobody has it open. Errors: `Store` too, if its index is
/// lost.
pub(crate) fn lock(root: &Path) -> Result<File> {
    let lock = lock_root(root)?;
    refuse_lost_index(root)?;
    Ok(lock)
}

/// Locks an existing store whatever there is of it.
pub(crate) fn lock_root(root: &Path) -> Result<File> {
    if check_root_format(root)? {
        let reason = "the directory is empty: there is no store in it".to_owned();
        return Err(Error::Foreign { path: root.to_owned(), reason });
    }
    let path = root.join("LOCK");
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let reason = "its file LOCK is missing".to_owned();
            return Err(Error::Foreign { path: root.to_owned(), reason });
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
fn fingerprint(index: &dyn Index) -> Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Blake3);
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
