//! From a suspicion to the mark.
//!
//! Under the lock of a digest no file of it comes or goes, so what is looked at there is what the record
//! speaks of. Whoever read from a handle that he opened before cannot know that: the file may have been
//! replaced since. So a mark comes from a look under the lock, which is also the second look that tells a
//! bad byte from a bad moment.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use super::{
    Finder, Flaw,
    mark::{Marked, mark},
    quarantine,
};
use crate::{
    Digest,
    commit::Transaction,
    error::{Error, Result},
    format::{BlobRecord, DamageRecord, Health, Placement, keys},
    index::{Durability, Table},
    statistics::add,
    store::Store,
};

/// Namespaces that a log line names; it says how many there are beyond them, up to as many again.
const LOGGED_NAMESPACES_MAX: usize = 16;

/// What was seen.
pub(crate) struct Alarm {
    pub digest: Digest,
    /// The record whose bytes were looked at.
    pub seen: BlobRecord,
    pub flaw: Flaw,
    /// Where the damage begins, in bytes.
    pub offset: u64,
    pub finder: Finder,
}

/// Marks content as damaged, durably, if its record is still the one that was seen, and sets its file
/// aside. The caller holds the lock of the digest and has looked at the bytes under it.
pub(crate) async fn condemn(store: &Store, alarm: Alarm) -> Result<Marked> {
    let Alarm { digest, seen, flaw, offset, finder } = alarm;
    let found = store.clock.now();
    let damage = DamageRecord { flaw, finder, offset, found };
    let placement = seen.placement;
    let extents = (seen.size, seen.sums.chunk_bytes);
    let shared = Arc::new(Mutex::new(Marked::Changed));
    let outcome = shared.clone();
    let decide = move |transaction: &mut Transaction<'_>| {
        *outcome.lock().expect("no panic holds it") = mark(transaction, &digest, &seen, &damage)?;
        Ok(())
    };
    let committed = store.committer.run(Durability::Synced, decide).await;
    // After the record says so: whoever opens it now finds the damage.
    store.open_cache.drop_entry(&digest);
    committed?;
    let marked = *shared.lock().expect("no panic holds it");
    if marked != Marked::New {
        return Ok(marked);
    }
    store.hot_cache.drop_content(&digest, extents);
    store.damaged.fetch_add(1, Relaxed);
    add(&store.counters.blobs_damaged, 1);
    tell(store, &digest, &damage).await;
    if placement == Placement::File
        && let Err(error) = quarantine::set_aside(store, &digest, found).await
    {
        tracing::warn!(%digest, %error, "a damaged file stays where it is until its content is pushed again");
    }
    Ok(marked)
}

/// One event for each damaged blob, with the namespaces that have it.
async fn tell(store: &Store, digest: &Digest, damage: &DamageRecord) {
    let holders = store.scan(Table::Holders, digest.to_key(), None, 2 * LOGGED_NAMESPACES_MAX).await;
    let holders: Vec<String> = holders
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, _)| Some(keys::split_holder(key)?.1.to_string()))
        .collect();
    tracing::error!(
        target: "audit",
        %digest,
        flaw = damage.flaw.as_str(),
        offset = damage.offset,
        found_by = damage.finder.as_str(),
        namespaces = holders[..holders.len().min(LOGGED_NAMESPACES_MAX)].join(" "),
        namespaces_more = holders.len().saturating_sub(LOGGED_NAMESPACES_MAX),
        "stored content is damaged; push it again to heal it"
    );
}

/// A reader got a wrong chunk at `offset` from a handle that was opened before. Looks again, at what is
/// there now, and raises the alarm if that is wrong as well. Gives the reader's error, whatever comes out.
pub(crate) async fn suspect(
    store: &Store,
    digest: &Digest,
    seen: &BlobRecord,
    offset: u64,
    (expected, found): (u32, u32),
) -> Error {
    let _lock = store.lock_placing(Store::placing_slot(digest)).await;
    let error = match look_again(store, digest, seen, offset).await {
        Ok(Again::Wrong(flaw)) => {
            let alarm = Alarm { digest: *digest, seen: seen.clone(), flaw, offset, finder: Finder::Read };
            if let Err(error) = condemn(store, alarm).await {
                tracing::error!(%digest, offset, %error, "stored content is damaged, which could not be recorded");
            }
            Error::Damaged { digest: *digest, offset, expected, found }
        }
        Ok(Again::Gone) => Error::Damaged { digest: *digest, offset, expected, found },
        // It is there: to say that it is not would be wrong.
        Ok(Again::Right) => {
            tracing::warn!(%digest, offset, "wrong bytes were read that are right at a second look");
            let source = io::Error::new(io::ErrorKind::InvalidData, "wrong bytes that are right at a second look");
            Error::io("reading a blob", source)
        }
        Err(source) => {
            tracing::warn!(%digest, offset, error = %source, "wrong bytes were read that cannot be read again");
            Error::io("reading a blob again", source)
        }
    };
    // It has the file that was read from.
    store.open_cache.drop_entry(digest);
    error
}

/// What a second look found.
enum Again {
    Wrong(Flaw),
    Right,
    /// Known to be damaged by now, collected, or stored in another way: its bytes are not these.
    Gone,
}

/// Reads the chunk at `offset` once more, from the device: what went wrong on its way to memory once is
/// still wrong there, and no reason to condemn what is stored.
async fn look_again(store: &Store, digest: &Digest, seen: &BlobRecord, offset: u64) -> io::Result<Again> {
    let is_file = |record: BlobRecord| record.health == Health::Sound && record.placement == Placement::File;
    if !store.blob(digest).await.map_err(io::Error::other)?.is_some_and(is_file) {
        return Ok(Again::Gone);
    }
    let file = match store.tier.open(digest).await {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Ok(Again::Wrong(Flaw::Missing)),
        Err(error) => return Err(error),
    };
    let chunk_bytes = seen.sums.chunk_bytes;
    let chunk = offset / chunk_bytes;
    let start = chunk * chunk_bytes;
    let len = usize::try_from(chunk_bytes.min(seen.size - start)).map_err(io::Error::other)?;
    let buffer = store.read_pool.try_take(len).expect("the readers' pool has no limit");
    let read = store.tier.reread(&file, buffer, start, len).await?;
    if read.len() != len {
        return Ok(Again::Wrong(Flaw::Length));
    }
    let number = usize::try_from(chunk).map_err(io::Error::other)?;
    Ok(match seen.sums.verify(number, read.filled()) {
        Ok(()) => Again::Right,
        Err(_) => Again::Wrong(Flaw::Checksum),
    })
}

/// Whether there is no file, or something that is none in its place.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData)
}
