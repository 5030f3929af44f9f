//! Files that no record points to, left where a push ended between placing and commit.
//!
//! While the store is open, whoever placed such a file removes it. Only a process that ended without
//! closing leaves any; the mark it left makes the next one search, one part of the store at a time.

use std::sync::Arc;

use super::content::remove_file;
use crate::{
    Digest,
    commit::Transaction,
    error::{Error, Result},
    format::{Placement, keys},
    index::{Changes, Durability, Index, Table},
    statistics::add,
    store::{Store, index_error},
    tier::Listed,
};

/// Marks a store as open, durably. If it was marked already, the search is owed.
pub(crate) fn opened(index: &dyn Index) -> Result<()> {
    let mark = |key: &[u8]| (Table::Meta, key.to_vec(), Some(Vec::new()));
    let mut writes = vec![mark(keys::UNCLEAN)];
    if index.get(Table::Meta, keys::UNCLEAN).map_err(index_error)?.is_some() {
        writes.push(mark(keys::ORPHANS));
    }
    let changes = Changes { conditions: Vec::new(), writes };
    index.write(&changes, Durability::Synced).map(drop).map_err(index_error)
}

/// Takes the mark away: everything that was begun has ended.
pub(crate) fn closed(transaction: &mut Transaction<'_>) {
    transaction.delete(Table::Meta, keys::UNCLEAN.to_vec());
}

pub(super) async fn sweep(store: &Arc<Store>, shard: u32) -> Result<Vec<(Digest, u64)>> {
    let listed = store.tier.list(shard).await.map_err(|source| Error::io("listing blobs", source))?;
    let mut removed = Vec::new();
    for entry in listed {
        // What the store did not put there is left alone; the checker reports it.
        let Listed::Stored(stored) = entry else { continue };
        let record = store.blob(&stored.digest).await?;
        let is_orphan = record.is_none_or(|record| record.placement == Placement::Inline);
        if is_orphan && remove_file(store, &stored.digest).await? {
            add(&store.counters.orphans_collected, 1);
            removed.push((stored.digest, stored.size));
        }
    }
    Ok(removed)
}
