//! Bytes against everything that is known of them: length, chunk checksums and digest.

use crate::{
    Digest,
    damage::Flaw,
    digest::Hasher,
    format::{BlobRecord, ChunkSums},
};

/// What all bytes so far come to.
pub(crate) struct Tally {
    pub hasher: Hasher,
    pub sums: ChunkSums,
    /// Bytes.
    pub size: u64,
}

impl Tally {
    pub fn new(digest: &Digest) -> Self {
        Tally { hasher: Hasher::new(digest.algorithm()), sums: ChunkSums::default(), size: 0 }
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.sums.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// What is wrong with the bytes and where it begins, if anything is: they are all there were.
    pub fn compare(self, digest: &Digest, record: &BlobRecord) -> Option<(Flaw, u64)> {
        if self.size != record.size {
            return Some((Flaw::Length, self.size.min(record.size)));
        }
        let found = self.sums.finish();
        if found != record.sums {
            let differs = found.sums.iter().zip(&record.sums.sums).position(|(found, expected)| found != expected);
            let chunk = differs.unwrap_or(0) as u64;
            return Some((Flaw::Checksum, chunk * record.sums.chunk_bytes));
        }
        (self.hasher.finish() != *digest).then_some((Flaw::Digest, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Algorithm,
        format::{Health, Placement},
    };

    fn tally(digest: &Digest, bytes: &[u8]) -> Tally {
        let mut tally = Tally::new(digest);
        tally.add(bytes);
        tally
    }

    #[test]
    fn every_way_to_be_wrong_is_told_with_its_place() {
        let bytes: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, &bytes);
            let sums = tally(&digest, &bytes).sums.finish();
            let size = bytes.len() as u64;
            let record = BlobRecord { health: Health::Sound, placement: Placement::File, size, sums };
            assert_eq!(tally(&digest, &bytes).compare(&digest, &record), None);
            for at in [0, 65_535, 65_536, 131_072, 199_999] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x40;
                let chunk = at as u64 / 65_536 * 65_536;
                assert_eq!(tally(&digest, &flipped).compare(&digest, &record), Some((Flaw::Checksum, chunk)));
            }
            assert_eq!(tally(&digest, &bytes[..77]).compare(&digest, &record), Some((Flaw::Length, 77)));
            let longer = [bytes.as_slice(), b"more"].concat();
            assert_eq!(tally(&digest, &longer).compare(&digest, &record), Some((Flaw::Length, size)));
            let other = Digest::of(algorithm, b"other");
            assert_eq!(tally(&other, &bytes).compare(&other, &record), Some((Flaw::Digest, 0)));
        }
    }
}
