//! Damaged files set aside: `quarantine/TIME-ALGORITHM-HEX`.
//!
//! TIME is the store's clock when the damage was found, in milliseconds, with 16 hexadecimal digits, so
//! that the order of names is the order of finding. Nothing here is ever served. A file of quarantine
//! takes no room that it did not take before; when healed content comes on top, the oldest ones go.

use std::io;

use crate::{
    Digest,
    clock::Moment,
    io::{Entry, Handle, StorePath, sync_directory},
    store::Store,
};

/// Files that are kept at most.
const FILES_MAX: usize = 1_000;

/// Bytes that are kept at most, unless the newest file alone has more.
const BYTES_MAX: u64 = 16 << 30;

fn directory() -> StorePath {
    StorePath::root().join("quarantine")
}

/// The name of content whose damage was found then.
pub(super) fn name(digest: &Digest, found: Moment) -> String {
    format!("{:016x}-{}-{}", found.clock_ms, digest.algorithm(), digest.hex())
}

/// Moves a damaged file here, durably, and drops the oldest ones beyond the bounds. The caller holds
/// the lock of the digest, and the record says durably that it is damaged: a crash on the way leaves the
/// file in its place, in both, or here.
pub(super) async fn set_aside(store: &Store, digest: &Digest, found: Moment) -> io::Result<()> {
    let file = match store.tier.open(digest).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let name = name(digest, found);
    store.disk.link(&file, &directory().join(&name)).await?;
    sync_directory(&*store.disk, &directory()).await?;
    store.tier.remove(digest).await?;
    drop_oldest(store, &name).await
}

/// Opens what was set aside; `NotFound` if it is not there.
pub(crate) async fn open(store: &Store, digest: &Digest, found: Moment) -> io::Result<Handle> {
    store.disk.open(&directory().join(&name(digest, found)), false).await
}

/// Puts an open file of quarantine, all of whose `len` bytes are right, back in its place, durably. The
/// caller holds the lock of the digest.
pub(crate) async fn take_back(
    store: &Store,
    file: &Handle,
    len: u64,
    digest: &Digest,
    found: Moment,
) -> io::Result<()> {
    store.tier.place(file, len, digest).await?;
    store.disk.unlink(&directory().join(&name(digest, found))).await
}

/// The names of everything that is set aside.
pub(super) async fn names(store: &Store) -> io::Result<Vec<String>> {
    Ok(store.disk.list(&directory()).await?.into_iter().map(|entry| entry.name).collect())
}

async fn drop_oldest(store: &Store, newest: &str) -> io::Result<()> {
    for name in beyond_bounds(store.disk.list(&directory()).await?, newest) {
        tracing::info!(name, "the oldest damaged file is dropped: quarantine is full");
        store.disk.unlink(&directory().join(&name)).await?;
    }
    Ok(())
}

/// Which files have to go, the oldest first; never the newest.
fn beyond_bounds(mut entries: Vec<Entry>, newest: &str) -> Vec<String> {
    entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut count = entries.len();
    let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
    let mut gone = Vec::new();
    for entry in entries {
        if count <= FILES_MAX && bytes <= BYTES_MAX {
            break;
        }
        if entry.name != newest {
            count -= 1;
            bytes -= entry.size;
            gone.push(entry.name);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::EntryKind;

    fn entry(number: usize, size: u64) -> Entry {
        Entry { name: format!("{number:016x}-sha256-ab"), size, kind: EntryKind::File }
    }

    #[test]
    fn the_oldest_go_and_the_newest_stays_however_large() {
        let many: Vec<Entry> = (0..FILES_MAX + 3).rev().map(|number| entry(number, 1)).collect();
        let newest = entry(FILES_MAX + 2, 1).name;
        assert_eq!(beyond_bounds(many, &newest), [entry(0, 1).name, entry(1, 1).name, entry(2, 1).name]);

        let large = vec![entry(1, BYTES_MAX), entry(2, 5), entry(3, 5)];
        assert_eq!(beyond_bounds(large, &entry(3, 5).name), [entry(1, 0).name]);
        let huge = vec![entry(2, 2 * BYTES_MAX), entry(1, 5)];
        assert_eq!(beyond_bounds(huge, &entry(2, 0).name), [entry(1, 0).name]);
        assert!(beyond_bounds(vec![entry(1, BYTES_MAX - 5), entry(2, 5)], &entry(2, 0).name).is_empty());
    }
}
