//! What many slow readers share, so that none of them keeps a chunk to itself.
//!
//! In: chunks that were just read and verified. Out: the same chunks, as long as others did not take their place. What
//! has become true: a reader that goes on at once finds the rest of its chunk here, and one that doesn't has nothing
//! in memory but the copy that its client is slow to take.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Digest;

/// Reads under way at once for readers that keep nothing of them but a copy.
const READS_MAX: usize = 32;

/// Bytes of chunks that are kept, and one chunk more.
const KEPT_BYTES_MAX: usize = 4 << 20;

pub(crate) struct Narrow {
    turns: Semaphore,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The newest last.
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

struct Chunk {
    digest: Digest,
    offset: u64,
    bytes: Bytes,
}

impl Default for Narrow {
    fn default() -> Self {
        Narrow { turns: Semaphore::new(READS_MAX), kept: Mutex::default() }
    }
}

impl Narrow {
    /// Waits until there are few enough reads under way.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("it is never closed")
    }

    /// The chunk of a blob that begins at `offset`.
    pub fn get(&self, digest: &Digest, offset: u64) -> Option<Bytes> {
        let kept = self.kept();
        let found = kept.chunks.iter().find(|chunk| chunk.offset == offset && chunk.digest == *digest);
        found.map(|chunk| chunk.bytes.clone())
    }

    /// Keeps a chunk until newer ones take its place.
    pub fn keep(&self, digest: &Digest, offset: u64, bytes: &Bytes) {
        let mut kept = self.kept();
        kept.bytes += bytes.len();
        kept.chunks.push_back(Chunk { digest: *digest, offset, bytes: bytes.clone() });
        while kept.bytes > KEPT_BYTES_MAX + bytes.len() {
            let Some(oldest) = kept.chunks.pop_front() else { break };
            kept.bytes -= oldest.bytes.len();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics with it, and it is a cache.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn the_newest_chunks_are_kept() {
        let narrow = Narrow::default();
        let digest = crate::digest::Hasher::new(Algorithm::Sha256).finish();
        let chunk = |number: u64| Bytes::from(vec![number as u8; 64 << 10]);
        let count = (KEPT_BYTES_MAX >> 16) as u64;
        for number in 0..2 * count {
            narrow.keep(&digest, number << 16, &chunk(number));
        }
        for number in 0..2 * count {
            let expected = (number >= count - 1).then(|| chunk(number));
            assert!(narrow.get(&digest, number << 16) == expected, "{number}");
        }
        // A large one pushes all others out, and is kept itself.
        narrow.keep(&digest, 1, &Bytes::from(vec![0; 2 * KEPT_BYTES_MAX]));
        assert!(narrow.get(&digest, 1).is_some());
        narrow.keep(&digest, 0, &chunk(0));
        assert!(narrow.get(&digest, 0).is_some() && narrow.get(&digest, 1).is_none());
    }
}
