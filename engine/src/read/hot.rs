//! Verified bytes of files that are read again and again, in memory.
//!
//! In: extents of files that were just read and verified. Out: the same bytes without asking disk
//! or page cache, and without checking them again: what is here is the very memory that matched
//! its checksums. It never becomes untrue, because a digest names one content for ever.
//!
//! An extent is admitted when it is read for the second time within memory of [`SEEN`] other ones,
//! so that content pulled once, however large, takes no memory here.

use std::{hash::BuildHasher, sync::atomic::Ordering};

use bytes::Bytes;
use quick_cache::{Weighter, sync::Cache};

use super::EXTENT_BYTES;
use crate::{
    Digest,
    schedule::{self, AtomicU32, RandomState},
};

/// How many extents are remembered as read once: 64 GiB of files, in 256 KiB of memory.
const SEEN: usize = if schedule::IS_CHOSEN { 1 << 6 } else { 1 << 16 };

/// What an entry takes beside its bytes, in bytes: the key, the lists it is in, the buffer's handle.
const ENTRY_BYTES: u64 = 256;

/// An extent's place: the content and the offset of its first byte.
type Key = (Digest, u64);

/// The extents, at most as many bytes of them as was asked for.
pub(crate) struct HotCache {
    extents: Cache<Key, Bytes, ByBytes>,
    /// Marks of extents read once, at the place that their hash gives; 0 is none.
    seen: Box<[AtomicU32]>,
    hasher: RandomState,
    /// Larger extents are not kept: they would push out too much at once.
    extent_bytes_max: usize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, extent: &Bytes) -> u64 {
        extent.len() as u64 + ENTRY_BYTES
    }
}

impl HotCache {
    /// A cache of at most `bytes_max` bytes; with 0 it keeps nothing. `extent_bytes` is what
    /// extents of large content mostly have.
    pub fn new(bytes_max: u64, extent_bytes: u64) -> Self {
        let entries = usize::try_from(bytes_max / extent_bytes).unwrap_or(usize::MAX);
        let seen = if bytes_max == 0 { 0 } else { SEEN };
        HotCache {
            extents: Cache::with_weighter(entries.max(1), bytes_max, ByBytes),
            seen: (0..seen).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::default(),
            extent_bytes_max: usize::try_from(bytes_max / 8).unwrap_or(usize::MAX),
        }
    }

    /// The extent of this content that starts at `offset`.
    pub fn get(&self, digest: &Digest, offset: u64) -> Option<Bytes> {
        if self.seen.is_empty() {
            return None;
        }
        self.extents.get(&(*digest, offset))
    }

    /// Whether [`HotCache::get`] would find it now.
    pub fn has(&self, digest: &Digest, offset: u64) -> bool {
        !self.seen.is_empty() && self.extents.contains_key(&(*digest, offset))
    }

    /// Whether an extent that is about to be read should be kept: it was asked about before.
    pub fn admits(&self, digest: &Digest, offset: u64) -> bool {
        if self.seen.is_empty() {
            return false;
        }
        let hash = self.hasher.hash_one((*digest, offset));
        // The place and the mark are of different bits. A mark that another extent left by chance
        // only keeps one a read too early.
        let place = &self.seen[hash as usize % self.seen.len()];
        let mark = (hash >> 32) as u32 | 1;
        place.swap(mark, Ordering::Relaxed) == mark
    }

    /// Keeps a whole, verified extent.
    pub fn keep(&self, digest: &Digest, offset: u64, extent: &Bytes) {
        if extent.len() <= self.extent_bytes_max {
            self.extents.insert((*digest, offset), extent.clone());
        }
    }

    /// Drops all extents of content with so many bytes, in chunks of so many.
    pub fn drop_content(&self, digest: &Digest, (size, chunk_bytes): (u64, u64)) {
        let extent_bytes = usize::try_from(chunk_bytes.max(EXTENT_BYTES)).unwrap_or(usize::MAX);
        (0..size).step_by(extent_bytes).for_each(|offset| drop(self.extents.remove(&(*digest, offset))));
    }

    /// Bytes kept now, what entries take beside them included.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.extents.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    const EXTENT_BYTES: usize = 1 << 20;

    fn digest(number: u32) -> Digest {
        Digest::of(Algorithm::Sha256, &number.to_le_bytes())
    }

    fn extent(fill: u8) -> Bytes {
        vec![fill; EXTENT_BYTES].into()
    }

    /// Reads as a reader does.
    fn read(cache: &HotCache, number: u32) -> Option<Bytes> {
        let digest = digest(number);
        let found = cache.get(&digest, 0);
        if found.is_none() && cache.admits(&digest, 0) {
            cache.keep(&digest, 0, &extent(number as u8));
        }
        found
    }

    #[test]
    fn the_second_read_is_kept_and_the_first_is_not() {
        let cache = HotCache::new(64 << 20, EXTENT_BYTES as u64);
        assert_eq!(read(&cache, 1), None);
        assert_eq!(cache.bytes(), 0, "read once");
        assert_eq!(read(&cache, 1), None);
        assert_eq!(read(&cache, 1), Some(extent(1)));
        assert!(cache.has(&digest(1), 0));
        assert!(cache.get(&digest(1), EXTENT_BYTES as u64).is_none(), "another extent of it");
        assert!(cache.get(&digest(2), 0).is_none(), "other content");
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let bytes_max = 64 << 20;
        let cache = HotCache::new(bytes_max, EXTENT_BYTES as u64);
        for number in (0..300).chain(0..300) {
            read(&cache, number);
            assert!(cache.bytes() <= bytes_max, "{} bytes after {number}", cache.bytes());
        }
        assert!(cache.bytes() > bytes_max / 2, "it is used: {} bytes", cache.bytes());
    }

    #[test]
    fn what_is_hot_outlives_what_is_read_twice() {
        let cache = HotCache::new(64 << 20, EXTENT_BYTES as u64);
        for _ in 0..4 {
            read(&cache, 0);
        }
        for number in (1..500).flat_map(|number| [number, number]) {
            read(&cache, number);
            assert!(read(&cache, 0).is_some(), "it was pushed out by {number}");
        }
    }

    #[test]
    fn without_memory_it_keeps_nothing() {
        let cache = HotCache::new(0, EXTENT_BYTES as u64);
        for _ in 0..3 {
            assert_eq!(read(&cache, 1), None);
        }
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn an_extent_that_would_push_out_much_is_not_kept() {
        let cache = HotCache::new(4 << 20, EXTENT_BYTES as u64);
        for _ in 0..3 {
            assert_eq!(read(&cache, 1), None);
        }
    }
}
