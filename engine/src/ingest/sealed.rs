//! Content whose digest matched.

use std::sync::Arc;

use bytes::Bytes;

use super::UploadId;
use crate::{
    Digest,
    format::BlobRecord,
    io::{Disk, Handle},
};

/// What is known of sealed content, without its file.
#[derive(Clone)]
pub(crate) struct Proven {
    pub digest: Digest,
    /// `None` when the content was stored already and only its digest was proven again.
    pub record: Option<BlobRecord>,
    /// The content, when its placement is inline.
    pub inline: Bytes,
    /// The session it came from, whose record goes with the commit.
    pub upload: Option<UploadId>,
}

/// A complete file that has no final name yet.
pub(crate) struct Staged {
    pub disk: Arc<dyn Disk>,
    pub file: Handle,
    /// The session, if it was ever written down: its file has a name in the upload area.
    pub written_down: Option<UploadId>,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(id) = self.written_down {
            // The final name, if it was given one, keeps the bytes; if not, they are given up.
            drop(self.disk.unlink(&id.path()));
        }
    }
}

/// Content whose digest matched, ready for a `Batch`. Dropped without a commit it leaves nothing
/// behind.
pub struct Sealed {
    pub(crate) proven: Proven,
    pub(crate) size: u64,
    pub(crate) staged: Option<Staged>,
}

impl Sealed {
    pub fn digest(&self) -> &Digest {
        &self.proven.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}
