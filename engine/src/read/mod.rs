//! Bytes on their way out.
//!
//! In: a namespace and a digest or name. Out: verified bytes. What has become true: every byte
//! handed out matched the checksum taken when the digest was proven.

mod blob;
mod cache;
mod documents;
mod grounds;
mod hot;
mod narrow;
mod reader;

pub use blob::{Blob, Found, Named, Referring};
pub(crate) use blob::{find, open};
pub(crate) use cache::OpenCache;
pub use documents::Listed;
pub use grounds::{Bookmark, Grounds};
pub(crate) use grounds::{Mark, Marks};
pub(crate) use hot::HotCache;
pub(crate) use narrow::Narrow;
pub(crate) use reader::EXTENT_BYTES;
pub use reader::Reader;
