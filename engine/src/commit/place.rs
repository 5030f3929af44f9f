//! Bringing what is sealed to its final place, then changing the index.

use std::sync::{Arc, Mutex, atomic::Ordering::Relaxed};

use tokio::sync::OwnedMutexGuard;

use super::{
    apply::apply,
    batch::{Batch, Receipt, Step},
    transaction::Transaction,
};
use crate::{
    Digest,
    clock::Clock,
    collect::{Pin, remove_locked},
    error::{Error, Result},
    index::Durability,
    ingest::{Sealed, Staged},
    io::foreign::refuses_links,
    statistics::add,
    store::Store,
};

/// Makes a batch durable and visible.
pub(crate) async fn commit(store: &Store, batch: Batch) -> Result<Receipt> {
    let Batch { namespace, mut steps, guard } = batch;
    let mut placing = Placing::default();
    let placed = placing.place_all(store, &mut steps).await;
    let committed = match placed {
        Ok(()) => {
            let clock = store.clock.clone();
            let healed = placing.healed.clone();
            let decide = move |transaction: &mut Transaction<'_>| {
                // Read here, where changes follow each other: the order of times is the order of commits.
                let now = clock.now();
                *healed.lock().expect("no panic holds it") =
                    apply(transaction, &namespace, steps, guard.as_deref(), now)?;
                Clock::record(transaction, now);
                Ok(())
            };
            store.committer.run(Durability::Synced, decide).await
        }
        Err(error) => Err(error),
    };
    match committed {
        Ok(()) => {
            placing.tell_healed(store);
            placing.staged.iter_mut().for_each(|staged| staged.is_committed = true);
            Ok(Receipt(()))
        }
        Err(error) => {
            placing.give_back(store).await;
            Err(error)
        }
    }
}

/// What is held until the commit.
#[derive(Default)]
struct Placing {
    staged: Vec<Staged>,
    /// Content that was given its final name, to be taken back if the commit fails.
    placed: Vec<Digest>,
    /// The locks of the digests that were placed: who pushes the same content meanwhile waits for
    /// the commit and finds it stored, and nobody removes its file.
    locks: Vec<(usize, OwnedMutexGuard<()>)>,
    /// Content that was damaged until the commit.
    healed: Arc<Mutex<Vec<Digest>>>,
}

impl Placing {
    /// Brings what is sealed to its final place, unless the same content is stored already.
    async fn place_all(&mut self, store: &Store, steps: &mut [Step]) -> Result<()> {
        let added = |step: &Step| match step {
            Step::Content { sealed, .. } => Some(sealed.proven.inline.len() as u64),
            _ => None,
        };
        if steps.iter().any(|step| added(step).is_some()) {
            store.admit(steps.iter().filter_map(added).sum())?;
        }
        let mut unplaced = Vec::new();
        for step in steps {
            let Step::Content { sealed, .. } = step else { continue };
            let Some(file) = sealed.staged.take() else {
                let is_known = sealed.proven.record.is_none();
                add(&store.counters.blobs_deduplicated, u64::from(is_known));
                continue;
            };
            match store.leases.pin(sealed.digest()) {
                // Pushed again, the usual case. It needs no lock: the pin keeps it.
                Some(pin) if store.is_stored(sealed.digest()).await? => {
                    known(store, sealed, pin);
                    self.staged.push(file);
                }
                _ => unplaced.push((Store::placing_slot(sealed.digest()), sealed, file)),
            }
        }
        // In order, so that two batches never wait for each other.
        unplaced.sort_by_key(|(slot, ..)| *slot);
        for (slot, sealed, file) in unplaced {
            let is_held = self.locks.last().is_some_and(|(held, _)| *held == slot);
            let lock = if is_held { None } else { Some((slot, store.lock_placing(slot).await)) };
            // A removal that was decided ends first: until then the record points at the old file.
            let pin = store.leases.pin_settled(sealed.digest()).await;
            if store.is_stored(sealed.digest()).await? {
                known(store, sealed, pin);
            } else {
                self.locks.extend(lock);
                self.placed.push(*sealed.digest());
                place(store, sealed, &file).await?;
            }
            self.staged.push(file);
        }
        Ok(())
    }

    fn tell_healed(&self, store: &Store) {
        for digest in self.healed.lock().expect("no panic holds it").iter() {
            store.damaged.fetch_sub(1, Relaxed);
            add(&store.counters.blobs_healed, 1);
            tracing::info!(target: "audit", %digest, "damaged content was pushed again and is healed everywhere");
        }
    }

    /// Removes files that the commit did not make a record for. While the locks are held nobody
    /// else can have.
    async fn give_back(self, store: &Store) {
        for digest in &self.placed {
            if let Err(error) = remove_locked(store, digest).await {
                tracing::debug!(%digest, %error, "a file without a record stays until the store is opened again");
            }
        }
        drop(self.locks);
    }
}

/// The content is stored: what was proven is only that the client has it too. The pin keeps it
/// until the commit is decided.
fn known(store: &Store, sealed: &mut Sealed, pin: Pin) {
    sealed.proven.record = None;
    sealed.proven.pin = Some(pin);
    add(&store.counters.blobs_deduplicated, 1);
}

async fn place(store: &Store, sealed: &Sealed, staged: &Staged) -> Result<()> {
    let placed = store.tier.place(&staged.file, sealed.size, sealed.digest()).await;
    placed.map_err(|source| match refuses_links(&source) {
        true => Error::CannotLink { digest: *sealed.digest(), source },
        false => Error::io("placing a blob", source),
    })?;
    // What is cached is the damaged file that was just replaced, if anything.
    store.open_cache.drop_entry(sealed.digest());
    add(&store.counters.blobs_stored, 1);
    Ok(())
}
