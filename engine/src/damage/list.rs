//! The list of damaged content, for people.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{Finder, Flaw, quarantine};
use crate::{
    Digest, Engine, Moment,
    commit::{decoded, malformed},
    error::{Error, Result},
    format::DamageRecord,
    index::Table,
    store::{Store, blocking},
};

/// Content whose bytes are wrong, and that nobody has pushed again yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    pub digest: Digest,
    /// Bytes it should have.
    pub size: u64,
    pub flaw: Flaw,
    /// Where the damage begins, in bytes.
    pub offset: u64,
    pub found: Moment,
    pub finder: Finder,
    /// The name of its file in `ROOT/quarantine`, if it is there.
    pub quarantined: Option<String>,
}

/// Counts the rows of the list, at the opening of a store.
pub(crate) async fn count(store: &Arc<Store>) -> Result<()> {
    let counted = store.clone();
    let rows = blocking(move || Ok(counted.scan_all(Table::Damaged, &[])?.len())).await?;
    store.damaged.store(i64::try_from(rows).unwrap_or(i64::MAX), Relaxed);
    Ok(())
}

impl Engine {
    /// How much content is known to be damaged now.
    pub fn damaged_count(&self) -> u64 {
        u64::try_from(self.store().damaged.load(Relaxed)).unwrap_or(0)
    }

    /// Damaged content after `after` in the order of the digests. Costs as much as is listed, not as
    /// much as is stored.
    pub async fn damaged(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Damaged>> {
        let store = self.store();
        let pairs = store.scan(Table::Damaged, Vec::new(), after.map(Digest::to_key), limit).await?;
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let aside = quarantine::names(store).await.map_err(|source| Error::io("listing quarantine", source))?;
        let aside: HashSet<String> = aside.into_iter().collect();
        let mut damaged = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let Some((digest, [])) = Digest::decode(&key) else { return Err(malformed("damage key")) };
            let DamageRecord { flaw, finder, offset, found } = decoded(DamageRecord::decode(&value))?;
            // Collected, or pushed again, since the list was read.
            let Some(record) = store.blob(&digest).await? else { continue };
            let quarantined = Some(quarantine::name(&digest, found)).filter(|name| aside.contains(name));
            damaged.push(Damaged { digest, size: record.size, flaw, offset, found, finder, quarantined });
        }
        Ok(damaged)
    }
}
