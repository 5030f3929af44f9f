//! What is computed while the bytes of an upload pass.

use crate::{Algorithm, digest::Hasher, format::ChunkSums};

/// The digest and the checksums of the first `bytes` bytes.
#[derive(Clone)]
pub(in crate::ingest) struct Passing {
    pub hasher: Hasher,
    pub sums: ChunkSums,
    pub bytes: u64,
}

impl Passing {
    pub fn new(algorithm: Algorithm) -> Self {
        Passing { hasher: Hasher::new(algorithm), sums: ChunkSums::default(), bytes: 0 }
    }

    /// How many of `len` bytes that begin at `start` did not pass yet.
    pub fn unseen(&self, start: u64, len: usize) -> usize {
        let end = start + len as u64;
        usize::try_from(end.saturating_sub(self.bytes)).unwrap_or(usize::MAX).min(len)
    }

    /// Takes what is new of content that begins at `start`. Panics if that is beyond what passed: bytes
    /// can't be left out.
    pub fn take(&mut self, start: u64, content: &[u8]) {
        assert!(start <= self.bytes, "bytes from {start} on come after only {}", self.bytes);
        let new = &content[content.len() - self.unseen(start, content.len())..];
        self.hasher.update(new);
        self.sums.update(new);
        self.bytes += new.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    #[test]
    fn no_byte_counts_twice() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut passing = Passing::new(Algorithm::Sha256);
        for (start, end) in [(0, 70_000), (0, 70_000), (10, 20), (60_000, 130_000), (130_000, 130_000), (1, 200_000)] {
            passing.take(start as u64, &content[start..end]);
        }
        assert_eq!(passing.bytes, 200_000);
        assert_eq!(passing.hasher.finish(), Digest::of(Algorithm::Sha256, &content));
        let mut sums = ChunkSums::default();
        sums.update(&content);
        assert_eq!(passing.sums.finish(), sums.finish());
    }

    #[test]
    #[should_panic(expected = "come after only 3")]
    fn no_byte_is_left_out() {
        let mut passing = Passing::new(Algorithm::Sha256);
        passing.take(0, b"abc");
        passing.take(4, b"e");
    }
}
