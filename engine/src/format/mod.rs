//! Every byte the engine puts into the index: keys and records, encoded and decoded side by side.
//! docs/format.md describes the same for people; a test compares golden bytes.

mod codec;
pub mod keys;
mod records;
mod sums;

pub use codec::Malformed;
pub use records::{
    AllowanceRecord, BlobRecord, CandidateRecord, Health, JournalRecord, MemberRecord, NameRecord, Placement,
    UploadRecord, UploadSink, UsageRecord,
};
pub use sums::ChunkSums;

/// The store's format. A store of another version is refused.
pub const VERSION: u32 = 1;

/// The content of the file `FORMAT` in the store's root.
pub const FORMAT_LINE: &str = "orlop store 1\n";
