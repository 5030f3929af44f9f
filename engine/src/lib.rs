//! A content-addressable blob store: bytes <-> disk <-> index.
//!
//! ```text
//!   WRITE                                             READ
//!   bytes                                             bytes
//!     v ingest   Upload: hashed as they pass            ^ read    Reader: verified chunk by chunk
//!     v io       Disk: ring or threads, O_DIRECT        | io      page cache first, then the disk
//!     v ingest   Sealed: the digest matches             | read    Blob: (namespace, digest) found
//!     v commit   Batch: bytes durable, then the index   | index   one look-up per table
//!     v index    Receipt: visible, acknowledged --------+
//! ```
//!
//! Four sentences hold the design: the index never points at bytes that are not durable; bytes are
//! hashed once, on the way in, and nothing is `Sealed` without a matching digest; there is no way
//! from a bare digest to bytes, every look-up is (namespace, digest); whoever was told that a blob
//! exists is protected from collection.
//!
//! What the content means (documents, media types, protocols) is not known here: a membership
//! carries an opaque label, an edge an opaque payload.
#![deny(unsafe_code)]

mod allowances;
pub mod check;
mod clock;
pub mod collect;
mod commit;
pub mod damage;
pub mod digest;
mod engine;
pub mod environment;
mod error;
mod format;
pub mod index;
mod ingest;
#[expect(unsafe_code, reason = "aligned memory and raw descriptors for the kernel; argued in place")]
pub mod io;
mod journal;
mod namespace;
mod options;
mod quota;
mod read;
pub mod rebuild;
mod running;
#[cfg(not(feature = "schedules"))]
mod schedule;
#[cfg(feature = "schedules")]
pub mod schedule;
pub mod scrub;
mod statistics;
mod store;
pub mod tier;
mod usage;
mod verify;

pub use allowances::Allowances;
pub use clock::Moment;
pub use commit::{Batch, Edge, EdgeKind, Guard, Receipt, Removal};
pub use digest::{Algorithm, Digest};
pub use engine::Engine;
pub use error::{Error, Result, What};
pub use ingest::{
    Adopted, Adoption, Sealed, Taken, Upload, UploadHome, UploadId, UploadOwner, UploadStatus, UploadsMax,
};
pub use namespace::{Namespace, NamespaceError};
pub use options::{INLINE_BYTES_LIMIT, IndexKind, Options};
pub use quota::{NamespaceSize, QUOTAS_MAX, Quota, QuotaUse};
pub use read::{Blob, Bookmark, Found, Grounds, Listed, Named, Reader, Referring};
pub use statistics::Statistics;
#[cfg(feature = "rocks")]
pub use usage::Survey;
pub use usage::{DocumentUse, NameUse, Usage};
