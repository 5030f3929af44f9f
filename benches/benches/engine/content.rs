//! Content to push and pull: bytes that differ each time, and the sizes that matter.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use orlop_engine::{Algorithm, Digest};

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// Every piece of content of a run is another one.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Bytes that a counter makes distinct, so that no store has them yet.
#[derive(Default)]
pub struct Content(Vec<u8>);

impl Content {
    /// Pseudo-random bytes: nothing on the way can compress them. At least 8.
    pub fn new(len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        Content(bytes)
    }

    /// Becomes other content of the same length. Gives its digest.
    pub fn renew(&mut self) -> Digest {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0[..8].copy_from_slice(&number.to_le_bytes());
        Digest::of(Algorithm::Sha256, &self.0)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

/// A size as it stands in a bench's name.
pub fn label(bytes: usize) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / KIB) }
}
