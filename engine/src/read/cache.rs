//! Content that was opened lately: its record, and its bytes (inline) or open file.
//!
//! In: content that was just opened and verified as far as opening does. Out: the same without
//! asking index or disk. Membership is never cached: whoever asks has looked it up.
//!
//! Each shard keeps two generations. Entries are put into the young one and move there when they
//! are used; when it is full, the old one is dropped and the young one becomes old. So what is in
//! use stays, and the cost is two look-ups.

use std::{collections::HashMap, sync::Arc};

use super::blob::Source;
use crate::{
    Digest,
    format::BlobRecord,
    schedule::{Mutex, MutexGuard},
};

/// Shards, so that pulls of different content rarely meet.
const SHARDS: usize = 16;

/// Entries of one generation of one shard: at most 4,096 open files in all.
const ENTRIES_MAX: usize = 128;

/// Inline bytes of one generation of one shard: at most 32 MiB in all.
const BYTES_MAX: usize = 1 << 20;

/// Content that is open.
pub(crate) struct Opened {
    pub record: BlobRecord,
    pub(super) source: Source,
}

impl Opened {
    fn bytes(&self) -> usize {
        match &self.source {
            Source::Inline(content) => content.len(),
            Source::File(_) => 0,
        }
    }
}

#[derive(Default)]
struct Shard {
    young: HashMap<Digest, Arc<Opened>>,
    young_bytes: usize,
    old: HashMap<Digest, Arc<Opened>>,
    /// Counts what was dropped because it is no longer true, so that nobody puts back what he
    /// opened before.
    dropped: u64,
}

/// The shards.
#[derive(Default)]
pub(crate) struct OpenCache {
    shards: [Mutex<Shard>; SHARDS],
}

/// What must not have changed between opening and caching.
pub(crate) struct Ticket(u64);

impl OpenCache {
    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard> {
        // The second byte: the first one chooses directories and locks.
        let number = usize::from(digest.as_bytes()[1]) % SHARDS;
        self.shards[number].lock().expect("no panic holds it")
    }

    /// Cached content, or a ticket to cache what the caller opens instead.
    pub fn get(&self, digest: &Digest) -> Result<Arc<Opened>, Ticket> {
        let mut shard = self.shard(digest);
        if let Some(opened) = shard.young.get(digest) {
            return Ok(opened.clone());
        }
        match shard.old.remove(digest) {
            Some(opened) => {
                shard.insert(*digest, opened.clone());
                Ok(opened)
            }
            None => Err(Ticket(shard.dropped)),
        }
    }

    /// Keeps what was opened since the ticket was given, unless something was dropped since.
    pub fn put(&self, digest: &Digest, ticket: &Ticket, opened: Arc<Opened>) {
        let mut shard = self.shard(digest);
        if shard.dropped == ticket.0 {
            shard.insert(*digest, opened);
        }
    }

    /// The content changed: it is damaged, healed or gone.
    pub fn drop_entry(&self, digest: &Digest) {
        let mut shard = self.shard(digest);
        shard.dropped += 1;
        if let Some(opened) = shard.young.remove(digest) {
            shard.young_bytes -= opened.bytes();
        }
        shard.old.remove(digest);
    }
}

impl Shard {
    fn insert(&mut self, digest: Digest, opened: Arc<Opened>) {
        if self.young.len() >= ENTRIES_MAX || self.young_bytes + opened.bytes() > BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += opened.bytes();
        if let Some(replaced) = self.young.insert(digest, opened) {
            self.young_bytes -= replaced.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Algorithm,
        format::{ChunkSums, Health, Placement},
    };

    fn opened(len: usize) -> Arc<Opened> {
        let sums = ChunkSums::default().finish();
        let record = BlobRecord { health: Health::Sound, placement: Placement::Inline, size: len as u64, sums };
        Arc::new(Opened { record, source: Source::Inline(Bytes::from(vec![0; len])) })
    }

    fn put(cache: &OpenCache, digest: &Digest, opened: Arc<Opened>) {
        let Err(ticket) = cache.get(digest) else { panic!("{digest} is cached") };
        cache.put(digest, &ticket, opened);
    }

    fn digest(number: u32) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_le_bytes())
    }

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let cache = OpenCache::default();
        let kept = digest(0);
        put(&cache, &kept, opened(100));
        for number in 1..20_000 {
            put(&cache, &digest(number), opened(5_000));
            assert!(cache.get(&kept).is_ok(), "used {number} times");
        }
        let (mut entries, mut bytes) = (0, 0);
        for shard in &cache.shards {
            let shard = shard.lock().expect("no panic");
            assert_eq!(shard.young_bytes, shard.young.values().map(|opened| opened.bytes()).sum::<usize>());
            entries += shard.young.len() + shard.old.len();
            bytes += shard.young.values().chain(shard.old.values()).map(|opened| opened.bytes()).sum::<usize>();
        }
        assert!(
            entries <= 2 * SHARDS * ENTRIES_MAX && bytes <= 2 * SHARDS * BYTES_MAX,
            "{entries} entries, {bytes} bytes"
        );
    }

    #[test]
    fn what_was_opened_before_a_change_is_not_put_back() {
        let cache = OpenCache::default();
        let name = digest(1);
        let Err(ticket) = cache.get(&name) else { panic!("empty") };
        cache.drop_entry(&name);
        cache.put(&name, &ticket, opened(1));
        assert!(cache.get(&name).is_err(), "it was opened before it changed");
        put(&cache, &name, opened(1));
        assert!(cache.get(&name).is_ok());
        cache.drop_entry(&name);
        assert!(cache.get(&name).is_err());
    }
}
