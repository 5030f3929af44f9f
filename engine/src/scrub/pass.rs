//! Where a walk through everything stands, and what came of it.

use crate::{
    Digest, Engine, Moment,
    commit::{Transaction, decoded},
    error::Result,
    format::keys,
    index::{Durability, Table},
};

/// A walk through all content, whole or as far as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    pub started: Moment,
    /// `None` while it goes on, or waits to be taken up again.
    pub ended: Option<Moment>,
    /// Blobs that were looked at.
    pub blobs: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Blobs that it found damaged.
    pub damaged: u64,
    /// Blobs that were known to be damaged and still are.
    pub known: u64,
    /// Blobs that were known to be damaged and are not: all their bytes are right.
    pub recovered: u64,
    /// Blobs of which nothing certain was found.
    pub skipped: u64,
    /// The last blob that was dealt with.
    pub cursor: Option<Digest>,
}

/// The passes that the store remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passes {
    /// One that has not come to its end.
    pub current: Option<Pass>,
    /// The last one that has.
    pub last: Option<Pass>,
}

impl Engine {
    /// What was written down of passes.
    pub async fn passes(&self) -> Result<Passes> {
        let read = async |key: &[u8]| {
            let found = self.store().get(Table::Meta, key).await?;
            found.map(|bytes| decoded(Pass::decode(&bytes))).transpose()
        };
        Ok(Passes { current: read(keys::SCRUB).await?, last: read(keys::SCRUBBED).await? })
    }

    /// Writes down how far a pass is, or that it ended. Becomes durable with the next synced change: a
    /// crash before costs looking at the same content again.
    pub async fn note_pass(&self, pass: Pass) -> Result<()> {
        let note = move |transaction: &mut Transaction<'_>| {
            match pass.ended {
                None => transaction.put(Table::Meta, keys::SCRUB.to_vec(), pass.encode()),
                Some(_) => {
                    transaction.delete(Table::Meta, keys::SCRUB.to_vec());
                    transaction.put(Table::Meta, keys::SCRUBBED.to_vec(), pass.encode());
                }
            }
            Ok(())
        };
        self.store().committer.run(Durability::Buffered, note).await
    }
}
