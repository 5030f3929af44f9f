//! Content whose bytes are not what was stored.
//!
//! In: a suspicion, of a reader or of the scrub. Out: a record that says so, a row in the list of damaged
//! content, and the wrong bytes set aside. What has become true: the content answers as not found in
//! every namespace at once, until it is pushed again or a scrub finds all its bytes right.
//!
//! ```text
//!   alarm        who saw something: a second look, then the mark, under the lock of the digest
//!   mark         the change of the index, asked again in the transaction that makes it
//!   quarantine   wrong files, kept for a while for who wants to know what happened
//!   affected     whom it hurts: the namespaces that have it, the names that lead to it
//!   list         all of this for people
//! ```

mod affected;
mod alarm;
mod list;
mod mark;
pub(crate) mod quarantine;

pub use affected::Affected;
pub(crate) use alarm::{Alarm, condemn, is_absence, suspect};
pub use list::Damaged;
pub(crate) use list::count;
pub(crate) use mark::{Marked, Unmarked, clear, mark_sound};

/// What is wrong with content's bytes. The discriminants are part of the on-disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flaw {
    /// There are none.
    Missing = 1,
    /// There are fewer or more than were stored.
    Length = 2,
    /// A chunk does not have its checksum.
    Checksum = 3,
    /// All checksums match, and the digest does not.
    Digest = 4,
    /// The device does not give them.
    Unreadable = 5,
}

impl Flaw {
    pub(crate) const ALL: [Flaw; 5] = [Flaw::Missing, Flaw::Length, Flaw::Checksum, Flaw::Digest, Flaw::Unreadable];

    /// The word for lists and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Flaw::Missing => "missing",
            Flaw::Length => "length",
            Flaw::Checksum => "checksum",
            Flaw::Digest => "digest",
            Flaw::Unreadable => "unreadable",
        }
    }
}

/// Who found damage. The discriminants are part of the on-disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Finder {
    /// Somebody who wanted the bytes.
    Read = 1,
    Scrub = 2,
    /// Who made the index again, and did not find the bytes.
    Rebuild = 3,
}

impl Finder {
    pub(crate) const ALL: [Finder; 3] = [Finder::Read, Finder::Scrub, Finder::Rebuild];

    /// The word for lists and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Finder::Read => "read",
            Finder::Scrub => "scrub",
            Finder::Rebuild => "rebuild",
        }
    }
}
