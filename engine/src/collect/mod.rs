//! Taking away what nobody needs any more, while everything else goes on.
//!
//! In: steps of somebody's plan ([`Sweep`]), made from a [`View`] of the garbage table. Out: what
//! became of each. What has become true: a step was carried out only if, at the moment it was
//! decided on the commit thread, nothing kept its target: no name, no document, no lease, no upload
//! that relies on it. Bytes go after the index forgot them durably, and only if it still has.
//!
//! Time is a counter of epochs that whoever plans advances: nothing here reads a clock.

mod candidate;
mod content;
mod keepers;
mod leases;
mod orphans;
mod sweep;
mod uploads;
mod view;

pub use candidate::{Candidate, Entry, Standing};
pub(crate) use content::remove_locked;
pub(crate) use keepers::stored_epoch;
pub(crate) use leases::{Key as LeaseKey, Leases, Pin};
pub(crate) use orphans::{closed, opened};
pub use sweep::{Cause, STEPS_MAX, Sweep, Swept};
pub use uploads::QuietUpload;
pub use view::{Member, View};

use crate::{
    Digest, Engine, UploadId,
    commit::{Transaction, epoch},
    error::{Error, Result},
    format::keys,
    index::{Durability, Table},
    store::blocking,
};

/// What a collector needs of the engine.
impl Engine {
    /// The current epoch. Grace is counted in these.
    pub fn epoch(&self) -> u64 {
        self.store().leases.epoch()
    }

    /// Begins the next epoch, durably, and gives its number. Whoever calls this decides how long
    /// an epoch is.
    pub async fn advance_epoch(&self) -> Result<u64> {
        let leases = self.store().leases.clone();
        let advance = move |transaction: &mut Transaction<'_>| {
            let next = epoch(transaction)?.saturating_add(1);
            transaction.put(Table::Meta, keys::EPOCH.to_vec(), next.to_le_bytes().to_vec());
            Ok(())
        };
        self.store().committer.run(Durability::Synced, advance).await?;
        let index = self.store().index.clone();
        let found = blocking(move || keepers::stored_epoch(&*index)).await?;
        leases.advance_to(found);
        Ok(found)
    }

    /// After opening, everything counts as told at the current epoch, because what an earlier
    /// process answered is not known. A caller that knows that nobody relies on an answer of an
    /// earlier process (it has the store for itself) can say so here. Leases of uploads and mounts
    /// are in the index and stay.
    pub fn waive_earlier_answers(&self) {
        self.store().leases.waive_earlier_answers();
    }

    /// About how many entries the garbage table has: what is new or lost something since the last
    /// collection, and what waits.
    pub fn candidates_estimate(&self) -> u64 {
        self.store().index.estimate(Table::Garbage)
    }

    /// Runs `look` with one consistent view of the index, where blocking is allowed. Keep it short:
    /// the view keeps old files of the index alive.
    pub async fn survey<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store().clone();
        blocking(move || look(&View::new(&*store.index, store.leases.clone())?)).await
    }

    /// Carries out steps in their order and says what became of each. Steps whose reason does not
    /// hold any more do nothing. Goes on if the caller goes away.
    pub async fn sweep(&self, steps: Vec<Sweep>) -> Result<Vec<Swept>> {
        let store = self.store().clone();
        self.store().running.to_the_end(async move { sweep::sweep(&store, steps).await }).await
    }

    /// Uploads that nobody wrote to for `delay` epochs, and not for the time of a lease: their
    /// clients were told that they can go on.
    pub fn quiet_uploads(&self, delay: u64) -> Vec<QuietUpload> {
        let store = self.store();
        store.sessions.quiet(store.leases.latest_quiet(delay))
    }

    /// Discards an upload that is still as quiet. Gives whether it was.
    pub async fn discard_quiet_upload(&self, id: UploadId, delay: u64) -> Result<bool> {
        let store = self.store().clone();
        let latest = store.leases.latest_quiet(delay);
        let running = store.clone();
        running.running.to_the_end(async move { store.sessions.discard_quiet(&store, id, latest).await }).await
    }

    /// Whether an earlier process may have left files that no record points to.
    pub async fn may_have_orphans(&self) -> Result<bool> {
        Ok(self.store().get(Table::Meta, keys::ORPHANS).await?.is_some())
    }

    /// The parts of the store in which such files may be. What comes into others from now on is known.
    pub async fn orphan_shards(&self) -> Result<Vec<u32>> {
        self.store().tier.occupied().await.map_err(|source| Error::io("listing blobs", source))
    }

    /// Removes files of one part that no record points to. Gives what was removed, with its size
    /// in bytes.
    pub async fn sweep_orphans(&self, shard: u32) -> Result<Vec<(Digest, u64)>> {
        let store = self.store().clone();
        self.store().running.to_the_end(async move { orphans::sweep(&store, shard).await }).await
    }

    /// All parts were searched: the next opening need not think of it.
    pub async fn orphans_swept(&self) -> Result<()> {
        let done = |transaction: &mut Transaction<'_>| {
            transaction.delete(Table::Meta, keys::ORPHANS.to_vec());
            Ok(())
        };
        self.store().committer.run(Durability::Buffered, done).await
    }
}
