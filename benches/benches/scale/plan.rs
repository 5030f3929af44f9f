//! What lies in the store: every blob follows from its number, so nothing has to be remembered.

use orlop_engine::{Algorithm, Digest, Namespace};

/// Bytes of each blob. Random, so that no compression makes room that the index then seems to save.
pub const CONTENT_BYTES: usize = 32;

/// Blobs that are pushed together, into one repository.
pub const RUN_BLOBS: u64 = 250;

/// With documents, the last of so many blobs is a document that needs the others.
pub const IMAGE_BLOBS: u64 = 10;

const REPOSITORIES: u64 = 1000;

/// Numbers from here on are never pushed.
const ABSENT_FROM: u64 = 1 << 40;

/// What to fill a store with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// A multiple of [`RUN_BLOBS`].
    pub blobs: u64,
    /// Whether every tenth blob is a document with edges to the nine before it.
    pub documents: bool,
}

impl Plan {
    /// At least `blobs`, in whole runs.
    pub fn new(blobs: u64, documents: bool) -> Self {
        Plan { blobs: blobs.max(1).next_multiple_of(RUN_BLOBS), documents }
    }

    /// The store beside which the full one is measured: one run of blobs.
    pub fn empty() -> Self {
        Plan { blobs: RUN_BLOBS, documents: false }
    }

    pub fn runs(self) -> u64 {
        self.blobs / RUN_BLOBS
    }

    pub fn is_document(self, number: u64) -> bool {
        self.documents && number % IMAGE_BLOBS == IMAGE_BLOBS - 1
    }
}

/// The repository of a run. They take turns, so that each is spread over the whole fill.
pub fn repository(run: u64) -> String {
    let number = run % REPOSITORIES;
    format!("team-{:02}/service-{number:03}", number % 40)
}

pub fn namespace(run: u64) -> Namespace {
    Namespace::new(&repository(run)).expect("a valid namespace")
}

/// The content of a blob. Distinct for distinct numbers, because the mixer is a bijection.
pub fn content(number: u64) -> [u8; CONTENT_BYTES] {
    let mut bytes = [0; CONTENT_BYTES];
    for (word, at) in bytes.chunks_exact_mut(8).zip(0..) {
        word.copy_from_slice(&mix(number * 4 + at).to_le_bytes());
    }
    bytes
}

pub fn digest(number: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &content(number))
}

/// The digest of content that no store has.
pub fn absent(number: u64) -> Digest {
    digest(ABSENT_FROM + number)
}

/// Numbers that follow no order but are the same in every run of the tool.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(mix(seed))
    }

    /// A number below `bound`. The bias is far below what is measured.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }
}

/// The finalizer of splitmix64: a bijection of 64 bits in which each bit depends on all others.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
