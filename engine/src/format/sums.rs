//! Checksums of a blob's chunks, computed in the same pass as its digest.
//!
//! A blob starts with chunks of 64 KiB. When their number reaches [`SUMS_MAX`], neighbours are
//! merged (CRCs can be combined without the bytes) and the chunk size doubles: a record stays
//! under 64 KiB and an upload's memory bounded whatever the blob's size.

use crc32fast::Hasher as Crc;

use super::codec::{Decoder, Encoder, Malformed};

/// The first chunk size: 64 KiB.
pub const CHUNK_BYTES_MIN: u64 = 64 << 10;

/// The most checksums a blob can have; an even number.
pub const SUMS_MAX: usize = 16_384;

/// A finished blob's checksums (CRC-32, IEEE 802.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// A power of two, at least [`CHUNK_BYTES_MIN`]. The last chunk may be shorter.
    pub chunk_bytes: u64,
    /// One per chunk in order; none for the empty blob.
    pub sums: Vec<u32>,
}

impl Sums {
    /// Checks chunk number `index`. On a mismatch gives (expected, found).
    pub fn verify(&self, index: usize, chunk: &[u8]) -> Result<(), (u32, u32)> {
        let expected = self.sums.get(index).copied().unwrap_or(0);
        let found = crc32fast::hash(chunk);
        if expected == found && index < self.sums.len() { Ok(()) } else { Err((expected, found)) }
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        out.u8(self.chunk_bytes.trailing_zeros() as u8);
        out.u32(u32::try_from(self.sums.len()).expect("at most SUMS_MAX"));
        for sum in &self.sums {
            out.u32(*sum);
        }
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let exponent = from.u8()?;
        let count = from.u32()? as usize;
        if !(16..48).contains(&exponent) || count > SUMS_MAX {
            return Err(from.malformed());
        }
        let mut sums = Vec::with_capacity(count);
        for _ in 0..count {
            sums.push(from.u32()?);
        }
        Ok(Sums { chunk_bytes: 1 << exponent, sums })
    }
}

/// Checksums under way.
#[derive(Clone)]
pub struct ChunkSums {
    done: Sums,
    /// The unfinished chunk.
    crc: Crc,
    crc_bytes: u64,
}

impl Default for ChunkSums {
    fn default() -> Self {
        ChunkSums { done: Sums { chunk_bytes: CHUNK_BYTES_MIN, sums: Vec::new() }, crc: Crc::new(), crc_bytes: 0 }
    }
}

impl ChunkSums {
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.done.chunk_bytes - self.crc_bytes;
            let count = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(count);
            self.crc.update(now);
            self.crc_bytes += count as u64;
            bytes = later;
            if self.crc_bytes == self.done.chunk_bytes {
                self.close_chunk();
            }
        }
    }

    /// The sums over all bytes so far; the last, unfinished chunk included.
    pub fn finish(mut self) -> Sums {
        if self.crc_bytes > 0 {
            self.done.sums.push(self.crc.finalize());
        }
        self.done
    }

    fn close_chunk(&mut self) {
        let crc = std::mem::replace(&mut self.crc, Crc::new());
        self.done.sums.push(crc.finalize());
        self.crc_bytes = 0;
        if self.done.sums.len() == SUMS_MAX {
            let half = self.done.chunk_bytes;
            self.done.sums = self.done.sums.chunks_exact(2).map(|pair| combine(pair[0], pair[1], half)).collect();
            self.done.chunk_bytes = half * 2;
        }
    }

    pub(super) fn encode(&self, out: &mut Encoder) {
        self.done.encode(out);
        out.u32(self.crc.clone().finalize());
        out.u64(self.crc_bytes);
    }

    pub(super) fn decode(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let done = Sums::decode(from)?;
        let (crc, crc_bytes) = (from.u32()?, from.u64()?);
        if crc_bytes >= done.chunk_bytes || done.sums.len() >= SUMS_MAX {
            return Err(from.malformed());
        }
        Ok(ChunkSums { done, crc: Crc::new_with_initial_len(crc, crc_bytes), crc_bytes })
    }
}

/// The CRC of two neighbours of which the second has `len` bytes.
fn combine(first: u32, second: u32, len: u64) -> u32 {
    let mut crc = Crc::new_with_initial(first);
    crc.combine(&Crc::new_with_initial_len(second, len));
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
    }

    #[test]
    fn merged_neighbours_equal_the_larger_chunk() {
        let bytes = content(4 * CHUNK_BYTES_MIN as usize);
        let half = 2 * CHUNK_BYTES_MIN as usize;
        let merged = combine(crc32fast::hash(&bytes[..half]), crc32fast::hash(&bytes[half..]), half as u64);
        assert_eq!(merged, crc32fast::hash(&bytes));
    }

    #[test]
    fn chunks_double_when_there_are_too_many() {
        let block = content(CHUNK_BYTES_MIN as usize);
        let mut sums = ChunkSums::default();
        for _ in 0..SUMS_MAX + 3 {
            sums.update(&block);
        }
        sums.update(&block[..100]);
        let sums = sums.finish();
        assert_eq!(sums.chunk_bytes, 2 * CHUNK_BYTES_MIN);
        assert_eq!(sums.sums.len(), SUMS_MAX / 2 + 2);
        let pair = [block.as_slice(), block.as_slice()].concat();
        sums.verify(0, &pair).expect("merged chunk");
        sums.verify(SUMS_MAX / 2, &pair).expect("chunk after the merge");
        sums.verify(SUMS_MAX / 2 + 1, &[block.as_slice(), &block[..100]].concat()).expect("last, shorter chunk");
        assert!(sums.verify(SUMS_MAX / 2 + 2, b"").is_err(), "there is no such chunk");
    }

    #[test]
    fn a_cut_anywhere_gives_the_same_sums() {
        let bytes = content(3 * CHUNK_BYTES_MIN as usize + 17);
        let mut whole = ChunkSums::default();
        whole.update(&bytes);
        let whole = whole.finish();
        for cut in [0, 1, 65_535, 65_536, 65_537, 150_000] {
            let mut first = ChunkSums::default();
            first.update(&bytes[..cut]);
            let mut out = Encoder::new(1);
            first.encode(&mut out);
            let stored = out.finish();
            let mut from = Decoder::new("test", 1, &stored).expect("own version");
            let mut second = ChunkSums::decode(&mut from).expect("own bytes");
            second.update(&bytes[cut..]);
            assert_eq!(second.finish(), whole, "cut at {cut}");
        }
    }
}
