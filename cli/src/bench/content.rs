//! What is pushed: a blob known by its digest before any of its bytes are made.
//!
//! In: a seed and a length. Out: the digest, and as often as wanted a [`Reader`] of the same bytes.
//! Nothing of a random blob is kept in memory, so a set of thousands costs under 100 bytes each.

use std::fmt;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::random::{Random, STEP_BYTES};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

/// Bytes that a reader makes at a time: they fit a core's second-level cache, and one write to a
/// socket takes them.
pub const FRAME_BYTES_MAX: usize = 128 << 10;

/// Random bytes at the start of a sparse blob; the rest is zeros, as in zb's test files.
const SPARSE_RANDOM_BYTES: u64 = 4 * KIB;

const _: () = assert!(FRAME_BYTES_MAX.is_multiple_of(STEP_BYTES));

static ZEROS: [u8; FRAME_BYTES_MAX] = [0; FRAME_BYTES_MAX];

/// A SHA-256 digest, shown as registries write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"sha256:................................................................";
        for (pair, byte) in text[7..].chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).expect("hexadecimal digits are ASCII"))
    }
}

#[derive(Debug, Clone)]
pub struct Content {
    pub bytes: u64,
    pub digest: Digest,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    /// Random throughout: no compression, no two blocks alike.
    Random { seed: u64 },
    /// Random at the start, then zeros.
    Sparse { seed: u64 },
    /// Small documents.
    Held(Bytes),
}

impl Content {
    /// `bytes` random bytes. Generates and hashes all of them.
    pub fn random(seed: u64, bytes: u64) -> Self {
        Self::hashed(Source::Random { seed }, bytes)
    }

    /// `bytes` bytes of which the first 4 KiB are random and the others zero.
    pub fn sparse(seed: u64, bytes: u64) -> Self {
        Self::hashed(Source::Sparse { seed }, bytes)
    }

    pub fn held(document: Bytes) -> Self {
        let bytes = document.len() as u64;
        Self::hashed(Source::Held(document), bytes)
    }

    fn hashed(source: Source, bytes: u64) -> Self {
        let mut reader = Reader::new(source.clone(), bytes);
        let mut buffer = BytesMut::new();
        let mut hasher = Sha256::new();
        while let Some(frame) = reader.next(&mut buffer) {
            hasher.update(&frame);
        }
        Self { bytes, digest: Digest(hasher.finalize().into()), source }
    }

    pub fn reader(&self) -> Reader {
        Reader::new(self.source.clone(), self.bytes)
    }
}

/// The bytes of a [`Content`], frame by frame.
pub struct Reader {
    source: Source,
    random: Random,
    bytes_done: u64,
    bytes_left: u64,
}

impl Reader {
    fn new(source: Source, bytes: u64) -> Self {
        let seed = match source {
            Source::Random { seed } | Source::Sparse { seed } => seed,
            Source::Held(_) => 0,
        };
        Self { source, random: Random::new(seed), bytes_done: 0, bytes_left: bytes }
    }

    pub fn bytes_left(&self) -> u64 {
        self.bytes_left
    }

    /// The next frame, at most [`FRAME_BYTES_MAX`] long, none at the end. Memory comes from
    /// `buffer`, which uses it again once earlier frames are dropped.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Option<Bytes> {
        self.next_within(FRAME_BYTES_MAX, buffer)
    }

    /// As [`Reader::next`], with frames of at most `bytes_max`, a multiple of [`STEP_BYTES`] up to
    /// [`FRAME_BYTES_MAX`]. Held documents come whole.
    pub fn next_within(&mut self, bytes_max: usize, buffer: &mut BytesMut) -> Option<Bytes> {
        if self.bytes_left == 0 {
            return None;
        }
        let frame = match &self.source {
            Source::Held(document) => document.clone(),
            Source::Sparse { .. } if self.bytes_done > 0 => {
                Bytes::from_static(&ZEROS[..length(self.bytes_left, bytes_max)])
            }
            Source::Sparse { .. } => self.generate(self.bytes_left.min(SPARSE_RANDOM_BYTES), bytes_max, buffer),
            Source::Random { .. } => self.generate(self.bytes_left, bytes_max, buffer),
        };
        self.bytes_done += frame.len() as u64;
        self.bytes_left -= frame.len() as u64;
        Some(frame)
    }

    fn generate(&mut self, bytes: u64, bytes_max: usize, buffer: &mut BytesMut) -> Bytes {
        let length = length(bytes, bytes_max);
        if buffer.capacity() < length {
            // Two frames: one is generated while the other is being written.
            buffer.reserve(2 * bytes_max);
        }
        buffer.resize(length, 0);
        self.random.fill(buffer);
        buffer.split().freeze()
    }
}

/// Of a frame when so many bytes are left.
fn length(bytes: u64, bytes_max: usize) -> usize {
    usize::try_from(bytes).map_or(bytes_max, |bytes| bytes.min(bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &Content) -> Vec<u8> {
        let mut reader = content.reader();
        let mut buffer = BytesMut::new();
        let mut bytes = Vec::new();
        while let Some(frame) = reader.next(&mut buffer) {
            assert!(!frame.is_empty() && frame.len() <= FRAME_BYTES_MAX);
            bytes.extend_from_slice(&frame);
        }
        assert_eq!(reader.bytes_left(), 0);
        bytes
    }

    #[test]
    fn the_digest_is_that_of_the_bytes_read() {
        for bytes in [0, 1, 63, 4096, 4097, FRAME_BYTES_MAX as u64, 3 * FRAME_BYTES_MAX as u64 + 17] {
            for content in [Content::random(3, bytes), Content::sparse(3, bytes)] {
                let found = read(&content);
                assert_eq!(found.len() as u64, bytes);
                assert_eq!(content.digest.0, <[u8; 32]>::from(Sha256::digest(&found)), "{content:?}");
            }
        }
    }

    #[test]
    fn sparse_is_zero_after_the_first_four_kibibytes_and_random_is_not() {
        let sparse = read(&Content::sparse(5, MIB));
        assert!(sparse[..4096].iter().filter(|&&byte| byte == 0).count() < 100);
        assert!(sparse[4096..].iter().all(|&byte| byte == 0));
        let random = read(&Content::random(5, MIB));
        assert!(random[4096..].iter().filter(|&&byte| byte == 0).count() < 10_000);
    }

    #[test]
    fn seeds_make_contents_unique() {
        assert_ne!(Content::random(1, 4096).digest, Content::random(2, 4096).digest);
        assert_eq!(Content::random(1, 4096).digest, Content::random(1, 4096).digest);
    }

    #[test]
    fn a_digest_is_written_as_registries_do() {
        let empty = Content::held(Bytes::new()).digest.to_string();
        assert_eq!(empty, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
