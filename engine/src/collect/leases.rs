//! Who relies on what: answers that were given, uploads that count on stored content, and what is
//! being removed at this moment.
//!
//! In: "I told somebody that this is there" and "I want to remove this". Out: a yes to only one of
//! them. Both are decided under the same lock, so there is no moment between the look and the leap:
//!
//! - who tells has looked the content up before, with a ticket. If anything of the shard was
//!   condemned since the ticket, the telling fails and the look-up is repeated. While the content itself
//!   is condemned there are no tickets: what was looked up may be gone by the time of telling;
//! - who condemns (on the commit thread, as the last check of a removal) is refused while a lease or
//!   a pin holds. From then on nobody can tell or pin until the removal is visible.
//!
//! Nothing here is written: at opening, everything counts as told at the current epoch.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    hash::BuildHasher,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::Notify;

use crate::{
    Digest, Namespace,
    error::Result,
    schedule::{AtomicU64, Mutex, MutexGuard, RandomState},
};

/// Shards, so that answers about different content rarely meet.
const SHARDS: u64 = 64;

/// Answers that one shard remembers: 1,048,576 in all, which is 18 MiB. When there are more,
/// everything of the shard counts as told.
const TOLD_MAX: usize = 16_384;

/// What a lease or pin is about: a hash of it. Two things with one hash protect each other.
pub(crate) type Key = u64;

pub(crate) struct Leases {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    epoch: AtomicU64,
    /// Something told at epoch e is protected up to and including epoch e + this.
    lease_epochs: u64,
    /// A removal became visible or was given up.
    settled: Notify,
}

#[derive(Default)]
struct Shard {
    /// When somebody was last told of something.
    told: HashMap<Key, u64>,
    /// When everything was told.
    all_told: Option<u64>,
    /// What is being removed.
    condemned: HashSet<Key>,
    /// Counts condemnations, for tickets.
    condemnations: u64,
    /// Content that uploads rely on, with how many do.
    pinned: HashMap<Key, u32>,
}

impl Leases {
    pub fn new(epoch: u64, lease_epochs: u64) -> Self {
        let shard = || Mutex::new(Shard { all_told: Some(epoch), ..Shard::default() });
        Leases {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: RandomState::default(),
            epoch: AtomicU64::new(epoch),
            lease_epochs,
            settled: Notify::new(),
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub fn advance_to(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::SeqCst);
    }

    /// Whether something told at an epoch is still protected.
    pub fn holds(&self, told: u64, now: u64) -> bool {
        told.saturating_add(self.lease_epochs) >= now
    }

    /// The last epoch that is over for so many epochs, and for a lease.
    pub fn latest_quiet(&self, delay: u64) -> Option<u64> {
        self.epoch().checked_sub(delay.max(self.lease_epochs.saturating_add(1)))
    }

    pub fn waive_earlier_answers(&self) {
        for shard in &self.shards {
            lock(shard).all_told = None;
        }
    }

    pub fn member_key(&self, namespace: &Namespace, digest: &Digest) -> Key {
        self.hasher.hash_one((namespace, digest))
    }

    fn content_key(&self, digest: &Digest) -> Key {
        self.hasher.hash_one(digest)
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // The high bits: the maps use the low ones.
        lock(&self.shards[(key >> 58) as usize])
    }

    /// Looks a member up with `look` and tells of it: what comes out stays for the time of a lease.
    pub async fn telling<T, L>(&self, namespace: &Namespace, digest: &Digest, look: impl Fn() -> L) -> Result<T>
    where
        L: Future<Output = Result<T>>,
    {
        self.telling_of(namespace, digest, look, |_| true).await
    }

    /// Like [`Leases::telling`]; what `is_told` says no to is looked up without a lease.
    pub async fn telling_of<T, L>(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        look: impl Fn() -> L,
        is_told: impl Fn(&T) -> bool,
    ) -> Result<T>
    where
        L: Future<Output = Result<T>>,
    {
        let key = self.member_key(namespace, digest);
        loop {
            let ticket = self.ticket(key);
            let found = look().await?;
            if !is_told(&found) || ticket.is_some_and(|ticket| self.tell(key, ticket)) {
                return Ok(found);
            }
            self.wait_for(key).await;
        }
    }

    /// `None` while it is condemned.
    fn ticket(&self, key: Key) -> Option<u64> {
        let shard = self.shard(key);
        (!shard.condemned.contains(&key)).then_some(shard.condemnations)
    }

    fn tell(&self, key: Key, ticket: u64) -> bool {
        let mut shard = self.shard(key);
        if shard.condemnations != ticket || shard.condemned.contains(&key) {
            return false;
        }
        self.insert(&mut shard, key);
        true
    }

    fn insert(&self, shard: &mut Shard, key: Key) {
        let now = self.epoch();
        if shard.told.len() >= TOLD_MAX && !shard.told.contains_key(&key) {
            shard.told.retain(|_, told| self.holds(*told, now));
            if shard.told.len() >= TOLD_MAX {
                shard.told.clear();
                shard.all_told = Some(now);
            }
        }
        shard.told.insert(key, now);
    }

    /// Tells of `key` again if `holds`: if what was told of it before is still visible. No removal comes
    /// between the look and the telling, because it is condemned under the same lock before it is written.
    pub fn tell_if(&self, key: Key, holds: impl FnOnce() -> bool) -> bool {
        let mut shard = self.shard(key);
        if shard.condemned.contains(&key) || !holds() {
            return false;
        }
        self.insert(&mut shard, key);
        true
    }

    /// Waits until a removal of `key`, if there is one, is visible or given up.
    async fn wait_for(&self, key: Key) {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if !self.shard(key).condemned.contains(&key) {
                return;
            }
            settled.await;
        }
    }

    /// Whether a lease in memory protects a member.
    pub fn is_told(&self, namespace: &Namespace, digest: &Digest) -> bool {
        let key = self.member_key(namespace, digest);
        self.is_leased(&self.shard(key), key)
    }

    /// Whether an upload relies on stored content.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        let key = self.content_key(digest);
        self.shard(key).pinned.contains_key(&key)
    }

    fn is_leased(&self, shard: &Shard, key: Key) -> bool {
        let told = shard.told.get(&key).copied().max(shard.all_told);
        told.is_some_and(|told| self.holds(told, self.epoch()))
    }

    /// Condemns a member, unless a lease protects it. Give the key to [`Leases::release`] when the
    /// removal is visible or given up.
    pub fn condemn_member(&self, namespace: &Namespace, digest: &Digest) -> Option<Key> {
        let key = self.member_key(namespace, digest);
        let mut shard = self.shard(key);
        if self.is_leased(&shard, key) {
            return None;
        }
        shard.condemn(key)
    }

    /// Condemns content, unless an upload relies on it.
    pub fn condemn_content(&self, digest: &Digest) -> Option<Key> {
        let key = self.content_key(digest);
        let mut shard = self.shard(key);
        if shard.pinned.contains_key(&key) { None } else { shard.condemn(key) }
    }

    /// The removals are visible, or will not be.
    pub fn release(&self, keys: &[Key]) {
        for key in keys {
            self.shard(*key).condemned.remove(key);
        }
        self.settled.notify_waiters();
    }

    /// Lets an upload rely on stored content: it stays as long as the pin. `None` if it is being
    /// removed; ask the index only while holding a pin.
    pub fn pin(self: &Arc<Self>, digest: &Digest) -> Option<Pin> {
        let key = self.content_key(digest);
        let mut shard = self.shard(key);
        if shard.condemned.contains(&key) {
            return None;
        }
        *shard.pinned.entry(key).or_default() += 1;
        Some(Pin { leases: self.clone(), key })
    }

    /// Like [`Leases::pin`]; waits while the content is being removed.
    pub async fn pin_settled(self: &Arc<Self>, digest: &Digest) -> Pin {
        loop {
            match self.pin(digest) {
                Some(pin) => return pin,
                None => self.wait_for(self.content_key(digest)).await,
            }
        }
    }
}

impl Shard {
    fn condemn(&mut self, key: Key) -> Option<Key> {
        self.condemnations += 1;
        // Another removal with the same hash is under way: this one has time.
        self.condemned.insert(key).then_some(key)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().expect("no panic holds it")
}

/// Keeps stored content from being removed.
pub(crate) struct Pin {
    leases: Arc<Leases>,
    key: Key,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut shard = self.leases.shard(self.key);
        if let Some(count) = shard.pinned.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                shard.pinned.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Algorithm,
        error::{Error, What},
    };

    fn digest(number: u64) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_le_bytes())
    }

    fn told(leases: &Leases, ns: &Namespace, digest: &Digest) -> bool {
        let key = leases.member_key(ns, digest);
        let ticket = leases.shard(key).condemnations;
        leases.tell(key, ticket)
    }

    #[tokio::test]
    async fn what_was_seen_while_it_was_removed_is_looked_up_again() {
        let (leases, ns) = (Leases::new(5, 0), Namespace::new("a").expect("valid"));
        leases.waive_earlier_answers();
        let condemned = leases.condemn_member(&ns, &digest(1)).expect("nothing protects it");
        let looks = AtomicU64::new(0);
        let look = || async {
            // The removal becomes visible right after the first look.
            match looks.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    leases.release(&[condemned]);
                    Ok(())
                }
                _ => Err(Error::NotFound { what: What::Blob }),
            }
        };
        let told = leases.telling(&ns, &digest(1), look).await;
        assert!(matches!(told, Err(Error::NotFound { .. })), "{told:?}");
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        assert!(!leases.is_told(&ns, &digest(1)));
    }

    #[test]
    fn a_lease_ends_with_its_epochs_and_is_renewed_by_telling() {
        let (leases, ns) = (Leases::new(5, 2), Namespace::new("a").expect("valid"));
        leases.waive_earlier_answers();
        assert!(told(&leases, &ns, &digest(1)));
        for epoch in 5..=7 {
            leases.advance_to(epoch);
            assert!(leases.is_told(&ns, &digest(1)), "epoch {epoch}");
            assert_eq!(leases.condemn_member(&ns, &digest(1)), None);
            assert!(!leases.is_told(&ns, &digest(2)), "another digest");
        }
        leases.advance_to(8);
        assert!(!leases.is_told(&ns, &digest(1)));
        assert!(told(&leases, &ns, &digest(1)));
        leases.advance_to(10);
        assert_eq!(leases.condemn_member(&ns, &digest(1)), None);
        leases.advance_to(11);
        assert!(leases.condemn_member(&ns, &digest(1)).is_some());
    }

    #[test]
    fn everything_counts_as_told_at_opening() {
        let (leases, ns) = (Leases::new(7, 1), Namespace::new("a").expect("valid"));
        assert!(leases.is_told(&ns, &digest(1)));
        leases.advance_to(9);
        assert!(!leases.is_told(&ns, &digest(1)));
    }

    #[test]
    fn telling_and_condemning_exclude_each_other() {
        let (leases, ns) = (Leases::new(0, 0), Namespace::new("a").expect("valid"));
        leases.waive_earlier_answers();
        let key = leases.member_key(&ns, &digest(1));
        let early = leases.shard(key).condemnations;
        let condemned = leases.condemn_member(&ns, &digest(1)).expect("nobody was told");
        let late = leases.shard(key).condemnations;
        assert!(!leases.tell(key, late), "it is being removed");
        assert_eq!(leases.condemn_member(&ns, &digest(1)), None, "once is enough");
        leases.release(&[condemned]);
        assert!(!leases.tell(key, early), "what was seen before is no longer true");
        assert!(told(&leases, &ns, &digest(1)));
    }

    #[test]
    fn telling_again_renews_the_lease_unless_the_removal_has_begun() {
        let (leases, ns) = (Leases::new(0, 0), Namespace::new("a").expect("valid"));
        leases.waive_earlier_answers();
        let key = leases.member_key(&ns, &digest(1));
        assert!(!leases.tell_if(key, || false));
        assert!(!leases.is_told(&ns, &digest(1)), "it is not there any more");
        assert!(leases.tell_if(key, || true));
        assert_eq!(leases.condemn_member(&ns, &digest(1)), None);
        leases.advance_to(1);
        let condemned = leases.condemn_member(&ns, &digest(1)).expect("the lease ended");
        assert!(!leases.tell_if(key, || true), "it is being removed");
        leases.release(&[condemned]);
        assert!(leases.tell_if(key, || true), "the removal was given up");
    }

    #[test]
    fn content_is_either_pinned_or_condemned() {
        let leases = Arc::new(Leases::new(0, 0));
        let pins = [leases.pin(&digest(1)).expect("free"), leases.pin(&digest(1)).expect("shared")];
        for pin in pins {
            assert_eq!(leases.condemn_content(&digest(1)), None);
            drop(pin);
        }
        let condemned = leases.condemn_content(&digest(1)).expect("no pin is left");
        assert!(leases.pin(&digest(1)).is_none());
        leases.release(&[condemned]);
        assert!(leases.pin(&digest(1)).is_some());
    }

    #[test]
    fn memory_is_bounded_and_an_overflow_protects_everything() {
        let (leases, ns) = (Leases::new(0, 3), Namespace::new("a").expect("valid"));
        leases.waive_earlier_answers();
        let most = 4 * SHARDS * TOLD_MAX as u64 / 3;
        for number in 0..most {
            assert!(told(&leases, &ns, &digest(number)));
        }
        assert!(leases.shards.iter().all(|shard| lock(shard).told.len() <= TOLD_MAX));
        for number in (0..most).step_by(1000) {
            assert!(leases.is_told(&ns, &digest(number)), "{number} is protected by its shard");
        }
        leases.advance_to(4);
        assert!(!leases.is_told(&ns, &digest(0)));
    }
}

#[cfg(all(test, feature = "schedules"))]
mod every_order;
