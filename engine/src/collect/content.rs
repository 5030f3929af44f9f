//! Files of content that the index has forgotten.
//!
//! In: digests whose records went, durably. Out: no file under them, unless somebody stored the
//! content again meanwhile. Placing and removing a file exclude each other by the same lock, and who
//! placed one holds it until his record is committed: under the lock, no record means nobody's file.

use std::sync::Arc;

use crate::{
    Digest,
    commit::Transaction,
    error::{Error, Result},
    format::{Placement, keys},
    index::{Durability, Table},
    store::Store,
};

/// Removes files and their entries on the garbage table. What cannot be removed stays there for the
/// next time.
pub(super) async fn remove_files(store: &Arc<Store>, digests: Vec<Digest>) -> Result<()> {
    let mut gone = Vec::with_capacity(digests.len());
    for digest in digests {
        match remove_file(store, &digest).await {
            Ok(_) => gone.push(digest),
            Err(error) => tracing::warn!(%digest, %error, "a file of collected content stays for the next run"),
        }
    }
    if gone.is_empty() {
        return Ok(());
    }
    let forget = move |transaction: &mut Transaction<'_>| {
        for digest in &gone {
            // If the content came back and went again, the entry is about that.
            if !transaction.contains(Table::Blobs, &digest.to_key())? {
                transaction.delete(Table::Garbage, keys::unheld(digest));
            }
        }
        Ok(())
    };
    store.committer.run(Durability::Buffered, forget).await
}

/// Removes a file that no record points to. Gives whether it did.
pub(super) async fn remove_file(store: &Arc<Store>, digest: &Digest) -> Result<bool> {
    let _lock = store.lock_placing(Store::placing_slot(digest)).await;
    remove_locked(store, digest).await
}

/// The same for who holds the lock of the digest.
pub(crate) async fn remove_locked(store: &Store, digest: &Digest) -> Result<bool> {
    if let Some(reason) = store.committer.stopped() {
        // What the index will say after the next opening is not known.
        return Err(Error::Stopped { reason: reason.to_owned() });
    }
    if store.blob(digest).await?.is_some_and(|record| record.placement == Placement::File) {
        return Ok(false);
    }
    let removed = store.tier.remove(digest).await;
    removed.map_err(|source| Error::io("removing a file", source))?;
    Ok(true)
}
