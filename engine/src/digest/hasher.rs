//! Streaming hashers whose state can be stored with an upload and taken up after a restart.

use digest::{Digest as _, common::hazmat::SerializableState};
use sha2::{Sha256, Sha512};

use super::{Algorithm, Digest};

/// Computes one digest while bytes pass.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
    Blake3(Box<blake3::Hasher>),
}

/// A hasher's state between two bytes, for storage. BLAKE3 has none: it is hashed again from the
/// stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState(pub Vec<u8>);

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
            Algorithm::Blake3 => Hasher::Blake3(Box::new(blake3::Hasher::new())),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
            Hasher::Blake3(_) => Algorithm::Blake3,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let digest = match self {
            Hasher::Sha256(hasher) => Digest::from_bytes(algorithm, &hasher.finalize()),
            Hasher::Sha512(hasher) => Digest::from_bytes(algorithm, &hasher.finalize()),
            Hasher::Blake3(hasher) => Digest::from_bytes(algorithm, hasher.finalize().as_bytes()),
        };
        digest.expect("a hasher's output has its algorithm's length")
    }

    /// The state for storage, or `None` when the algorithm has no storable state.
    pub fn save(&self) -> Option<SavedState> {
        match self {
            Hasher::Sha256(hasher) => Some(SavedState(hasher.serialize().to_vec())),
            Hasher::Sha512(hasher) => Some(SavedState(hasher.serialize().to_vec())),
            Hasher::Blake3(_) => None,
        }
    }

    /// Takes up a saved state; `None` if it is not one of this build's (the bytes must be hashed
    /// again then).
    pub fn restore(algorithm: Algorithm, state: &SavedState) -> Option<Self> {
        let raw = state.0.as_slice();
        match algorithm {
            Algorithm::Sha256 => Sha256::deserialize(raw.try_into().ok()?).ok().map(Hasher::Sha256),
            Algorithm::Sha512 => Sha512::deserialize(raw.try_into().ok()?).ok().map(Hasher::Sha512),
            Algorithm::Blake3 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_state_continues_at_every_cut() {
        let content: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in [0, 1, 63, 64, 65, 127, 128, 129, 2000, 4000] {
                let mut first = Hasher::new(algorithm);
                first.update(&content[..cut]);
                let saved = first.save().expect("SHA-2 state can be stored");
                let mut second = Hasher::restore(algorithm, &saved).expect("own state");
                second.update(&content[cut..]);
                assert_eq!(second.finish(), Digest::of(algorithm, &content), "{algorithm} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_foreign_state_is_refused() {
        assert!(Hasher::restore(Algorithm::Sha256, &SavedState(vec![0; 7])).is_none());
        assert!(Hasher::restore(Algorithm::Sha512, &SavedState(Vec::new())).is_none());
        assert!(Hasher::new(Algorithm::Blake3).save().is_none());
    }
}
