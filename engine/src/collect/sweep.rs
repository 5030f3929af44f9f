//! The steps of a sweep, on the commit thread.
//!
//! What a plan found in its snapshot is asked again here, in the same transaction that acts on it.

use std::sync::{Arc, Mutex, atomic::Ordering::Relaxed};

use super::{
    content,
    keepers::{self, entry},
    leases::{Key, Leases},
};
use crate::{
    Digest, EdgeKind, Namespace,
    clock::Moment,
    commit::{Change, Transaction, epoch},
    damage,
    error::Result,
    format::{Placement, keys},
    index::{Durability, Table},
    quota,
    statistics::add,
    store::Store,
};

/// Steps that share one transaction at most: pushes that come meanwhile wait for these, which is a
/// fraction of a millisecond.
pub const STEPS_MAX: usize = 4;

/// Why a member may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Plain content that no document needs and no name points at.
    Unneeded,
    /// A document that refers to nothing, that no document needs and no name points at.
    Unnamed,
    /// The same, but it refers to something, and that is gone.
    TargetGone,
}

/// One step. Delays are in epochs: an entry that stands on the garbage table since epoch `e` may go
/// from epoch `e + delay` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sweep {
    /// Takes a member out of its namespace; what it needed, and its content if nobody else holds
    /// it, come onto the garbage table as of the same epoch as it.
    Member { namespace: Namespace, digest: Digest, cause: Cause, delay: u64 },
    /// Puts a document onto the garbage table because what it refers to is gone since an epoch.
    Suspect { namespace: Namespace, digest: Digest, since: u64 },
    /// Takes a member that is kept off the garbage table, or one that is gone and was dealt with.
    Settle { namespace: Namespace, digest: Digest, since: u64 },
    /// Removes content that nobody holds, and its bytes.
    Content { digest: Digest, delay: u64 },
    /// Removes a namespace without members, or takes one that has some off the garbage table.
    Namespace { namespace: Namespace, delay: u64 },
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// Carried out. `bytes` were freed by it.
    Done { bytes: u64 },
    /// Something keeps the target after all; nothing was changed.
    Kept,
}

/// What the commit thread tells the sweeper.
#[derive(Default)]
struct Outcome {
    swept: Vec<Swept>,
    condemned: Vec<Key>,
    /// Content whose records went.
    forgotten: Vec<Digest>,
    /// How much of it was damaged.
    damaged: i64,
    /// Their bytes.
    bytes: u64,
    /// Members that were taken out.
    members: u64,
    /// Content whose bytes are in a file that may go once this is durable.
    files: Vec<Digest>,
}

/// Runs the steps, some at a time.
pub(super) async fn sweep(store: &Arc<Store>, steps: Vec<Sweep>) -> Result<Vec<Swept>> {
    let mut all = Vec::with_capacity(steps.len());
    for steps in steps.chunks(STEPS_MAX) {
        all.extend(sweep_some(store, steps.to_vec()).await?);
    }
    Ok(all)
}

async fn sweep_some(store: &Arc<Store>, steps: Vec<Sweep>) -> Result<Vec<Swept>> {
    // Only what makes bytes go must be durable before they do.
    let removes_content = steps.iter().any(|step| matches!(step, Sweep::Content { .. }));
    let durability = if removes_content { Durability::Synced } else { Durability::Buffered };
    let shared = Arc::new(Mutex::new(Outcome::default()));
    let (outcome, leases) = (shared.clone(), store.leases.clone());
    let decide = move |transaction: &mut Transaction<'_>| {
        let mut outcome = outcome.lock().expect("no panic holds it");
        let mut sweeper = Sweeper { epoch: epoch(transaction)?, transaction, leases: &leases, outcome: &mut outcome };
        for step in &steps {
            let swept = sweeper.step(step)?;
            sweeper.outcome.swept.push(swept);
        }
        Ok(())
    };
    let done = store.committer.run(durability, decide).await;
    let Outcome { swept, condemned, forgotten, damaged, bytes, members, files } =
        std::mem::take(&mut *shared.lock().expect("no panic holds it"));
    if done.is_ok() {
        // What is cached is gone; whoever opens it now asks the index.
        forgotten.iter().for_each(|digest| store.open_cache.drop_entry(digest));
    }
    store.leases.release(&condemned);
    done?;
    store.damaged.fetch_sub(damaged, Relaxed);
    add(&store.counters.members_collected, members);
    add(&store.counters.blobs_collected, forgotten.len() as u64);
    add(&store.counters.bytes_collected, bytes);
    content::remove_files(store, files).await?;
    Ok(swept)
}

struct Sweeper<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    leases: &'a Leases,
    epoch: u64,
    outcome: &'a mut Outcome,
}

impl Sweeper<'_, '_> {
    fn step(&mut self, step: &Sweep) -> Result<Swept> {
        match step {
            Sweep::Member { namespace, digest, cause, delay } => self.member(namespace, digest, *cause, *delay),
            Sweep::Suspect { namespace, digest, since } => self.suspect(namespace, digest, *since),
            Sweep::Settle { namespace, digest, since } => self.settle(namespace, digest, *since),
            Sweep::Content { digest, delay } => self.content(digest, *delay),
            Sweep::Namespace { namespace, delay } => self.namespace(namespace, *delay),
        }
    }

    fn member(&mut self, namespace: &Namespace, digest: &Digest, cause: Cause, delay: u64) -> Result<Swept> {
        let Some(standing) = entry(self.transaction, &keys::candidate(namespace, digest))? else {
            return Ok(Swept::Kept);
        };
        let since = self.latest_loss(namespace, digest, standing.since)?;
        let is_young = since.saturating_add(delay) > self.epoch;
        let is_leased = standing.told.is_some_and(|told| self.leases.holds(told, self.epoch));
        if is_young || is_leased || self.is_kept(namespace, digest)? || !self.still(namespace, digest, cause)? {
            return Ok(Swept::Kept);
        }
        // Last, so that nothing is condemned that is kept for another reason.
        let Some(condemned) = self.leases.condemn_member(namespace, digest) else { return Ok(Swept::Kept) };
        self.outcome.condemned.push(condemned);
        Change::new(self.transaction, namespace, Moment::default()).take_out(digest, since)?;
        self.outcome.members += 1;
        Ok(Swept::Done { bytes: 0 })
    }

    /// Since when a member may be garbage: what it refers to may have gone later than the rest.
    fn latest_loss(&self, namespace: &Namespace, digest: &Digest, mut since: u64) -> Result<u64> {
        let ends = (namespace, digest, EdgeKind::Refers);
        for target in keepers::ends(self.transaction, Table::Edges, ends, None, usize::MAX)? {
            let gone = entry(self.transaction, &keys::candidate(namespace, &target))?;
            since = since.max(gone.map_or(0, |gone| gone.since));
        }
        Ok(since)
    }

    fn is_kept(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        Ok(keepers::is_named(self.transaction, namespace, digest)?
            || keepers::is_needed(self.transaction, namespace, digest)?)
    }

    fn still(&self, namespace: &Namespace, digest: &Digest, cause: Cause) -> Result<bool> {
        let Some(member) = keepers::member(self.transaction, namespace, digest)? else { return Ok(false) };
        if member.label.is_empty() {
            return Ok(cause == Cause::Unneeded);
        }
        let (refers, is_target_there) = keepers::refers(self.transaction, namespace, digest)?;
        Ok(match cause {
            Cause::Unneeded => false,
            Cause::Unnamed => !refers,
            Cause::TargetGone => refers && !is_target_there,
        })
    }

    fn suspect(&mut self, namespace: &Namespace, digest: &Digest, since: u64) -> Result<Swept> {
        if keepers::member(self.transaction, namespace, digest)?.is_none() {
            return Ok(Swept::Kept);
        }
        Change::new(self.transaction, namespace, Moment::default()).suspect(digest, since)?;
        Ok(Swept::Done { bytes: 0 })
    }

    fn settle(&mut self, namespace: &Namespace, digest: &Digest, since: u64) -> Result<Swept> {
        let key = keys::candidate(namespace, digest);
        let Some(standing) = entry(self.transaction, &key)? else { return Ok(Swept::Kept) };
        let is_leased = standing.told.is_some_and(|told| self.leases.holds(told, self.epoch));
        if standing.since != since || is_leased {
            return Ok(Swept::Kept);
        }
        let is_settled = match keepers::member(self.transaction, namespace, digest)? {
            // An entry of this epoch could be another one than the plan saw.
            None => since < self.epoch,
            Some(_) if self.is_kept(namespace, digest)? => true,
            Some(member) => !member.label.is_empty() && keepers::refers(self.transaction, namespace, digest)?.1,
        };
        if !is_settled {
            return Ok(Swept::Kept);
        }
        self.transaction.delete(Table::Garbage, key);
        Ok(Swept::Done { bytes: 0 })
    }

    fn content(&mut self, digest: &Digest, delay: u64) -> Result<Swept> {
        let key = keys::unheld(digest);
        let Some(standing) = entry(self.transaction, &key)? else { return Ok(Swept::Kept) };
        if standing.since.saturating_add(delay) > self.epoch || keepers::is_held(self.transaction, digest)? {
            return Ok(Swept::Kept);
        }
        let Some(record) = keepers::blob(self.transaction, digest)? else {
            // Only the file may be left, from a sweep that did not come to its end.
            self.outcome.files.push(*digest);
            return Ok(Swept::Done { bytes: 0 });
        };
        let Some(condemned) = self.leases.condemn_content(digest) else { return Ok(Swept::Kept) };
        self.outcome.condemned.push(condemned);
        self.transaction.delete(Table::Blobs, digest.to_key());
        self.outcome.damaged += i64::from(damage::clear(self.transaction, digest)?);
        match record.placement {
            Placement::Inline => {
                self.transaction.delete(Table::Bytes, digest.to_key());
                self.transaction.delete(Table::Garbage, key);
            }
            // The entry stays until the file is gone, so that a crash does not lose sight of it.
            Placement::File => self.outcome.files.push(*digest),
        }
        self.outcome.forgotten.push(*digest);
        self.outcome.bytes += record.size;
        Ok(Swept::Done { bytes: record.size })
    }

    fn namespace(&mut self, namespace: &Namespace, delay: u64) -> Result<Swept> {
        let key = keys::emptied(namespace);
        let Some(standing) = entry(self.transaction, &key)? else { return Ok(Swept::Kept) };
        if standing.since.saturating_add(delay) > self.epoch {
            return Ok(Swept::Kept);
        }
        let members = keys::within(namespace);
        let is_empty = self.transaction.first(Table::Members, &members)?.is_none();
        if is_empty {
            self.transaction.delete(Table::Namespaces, keys::namespace(namespace));
            quota::dismiss(self.transaction)?;
        }
        self.transaction.delete(Table::Garbage, key);
        Ok(if is_empty { Swept::Done { bytes: 0 } } else { Swept::Kept })
    }
}
