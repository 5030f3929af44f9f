//! Engine errors, sorted by what the caller can do about them.

use std::{io, path::PathBuf};

use crate::digest::Digest;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything an engine operation can report. Match on the variant, never on the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The namespace holds no such blob, name or upload. Nothing to retry.
    #[error("{what} is not known in this namespace")]
    NotFound { what: What },

    /// The bytes do not have the digest they were announced with.
    #[error("digest mismatch: expected {expected}, the bytes have {found}")]
    DigestMismatch { expected: Digest, found: Digest },

    /// A chunk was not the next one of its upload.
    #[error("upload is at offset {expected}, the chunk starts at {found}")]
    OutOfOrder { expected: u64, found: u64 },

    /// Another writer holds the upload session.
    #[error("another request is writing to this upload; wait for it to end")]
    Busy,

    /// A limit of `Options` was reached.
    #[error("{what} is limited to {max}")]
    TooLarge { what: &'static str, max: u64 },

    /// The namespace does not hold what the new content needs.
    #[error("{digest} is needed but not in this namespace")]
    Missing { digest: Digest },

    /// The namespace holds the content, but with another size than was said.
    #[error("{digest} has {expected} bytes, not {found}")]
    WrongSize { digest: Digest, expected: u64, found: u64 },

    /// The content is still needed by other content of the namespace.
    #[error("{digest} is needed by {by}")]
    Needed { digest: Digest, by: Digest },

    /// The name was bound again, or removed, since it was looked at.
    #[error("{name} is not bound any more as it was seen")]
    Moved { name: String },

    /// Whoever asked has no right to bind, move or remove this name.
    #[error("the name {name} may not be made, moved or removed by this request")]
    Forbidden { name: String },

    /// A quota has no room for the new content. Delete something, or raise the quota.
    #[error("the quota of {prefix:?} is used up: {used} of {max} bytes are used, {added} more do not fit")]
    OverQuota { prefix: String, used: u64, added: u64, max: u64 },

    /// No more namespaces are allowed.
    #[error("there are {max} namespaces already, which is the limit")]
    TooManyNamespaces { max: u64 },

    /// A file cannot get a second name, in the store or outside of it; a copy of it can.
    #[error("{digest} cannot be hard-linked: {source}")]
    CannotLink { digest: Digest, source: io::Error },

    /// A file of another tree cannot be read, or is not what can be taken in.
    #[error("the file cannot be taken in: {source}")]
    Unreadable { source: io::Error },

    /// No more uploads may begin before others have ended.
    #[error("there are {max} unfinished uploads already, which is the limit; finish or cancel one, or wait")]
    TooManyUploads { max: usize },

    /// Stored bytes do not match their checksum. The blob answers as not found until it is
    /// pushed again.
    #[error(
        "{digest} is damaged at offset {offset}: checksum {expected:08x} expected, {found:08x} found; push it again to heal it"
    )]
    Damaged { digest: Digest, offset: u64, expected: u32, found: u32 },

    /// The store's index is damaged.
    #[error("{path}: {reason}")]
    Store { path: PathBuf, reason: String },

    /// An operator asked for what would take something away that may still be wanted.
    #[error("{path}: {reason}")]
    Refused { path: PathBuf, reason: String },

    /// The directory holds something else, or a store of another format.
    #[error("{path}: {reason}")]
    Foreign { path: PathBuf, reason: String },

    /// Another process has the store open.
    #[error("{path} is in use by another process; stop it or choose another root")]
    InUse { path: PathBuf },

    /// The device is full. Reads and deletes still work.
    #[error("no space left in the store")]
    NoSpace,

    /// An earlier write or sync of the index failed. Nothing is acknowledged until the store is
    /// opened again.
    #[error("the store stopped accepting changes after a failed write: {reason}")]
    Stopped { reason: String },

    /// The write or sync of the index that was to make this change failed. Until the store is opened again it reads
    /// as not made; then it may be found made, whole.
    #[error("whether this change was made shows when the store is opened again: {reason}")]
    InDoubt { reason: String },

    /// The operating system refused an operation.
    #[error("{context}: {source}")]
    Io { context: &'static str, source: io::Error },
}

/// What was looked for and not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Blob,
    Name,
    Upload,
    Namespace,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            What::Blob => "blob",
            What::Name => "name",
            What::Upload => "upload",
            What::Namespace => "namespace",
        })
    }
}

impl Error {
    /// Wraps an operating system error; a full device becomes [`Error::NoSpace`].
    pub fn io(context: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Error::NoSpace,
            _ => Error::Io { context, source },
        }
    }
}
