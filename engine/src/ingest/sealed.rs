//! Content whose digest matched.

use std::sync::Arc;

use bytes::Bytes;

use super::{UploadId, session::delete_record};
use crate::{Digest, collect::Pin, format::BlobRecord, io::Handle, schedule, store::Store};

/// What is known of sealed content, without its file.
pub(crate) struct Proven {
    pub digest: Digest,
    /// `None` when the content was stored already and only its digest was proven again.
    pub record: Option<BlobRecord>,
    /// The content, when its placement is inline.
    pub inline: Bytes,
    /// Keeps content that was stored already until the commit is decided.
    pub pin: Option<Pin>,
    /// The session it came from, whose record goes with the commit.
    pub upload: Option<UploadId>,
}

/// A complete file that has no final name yet.
pub(crate) struct Staged {
    pub store: Arc<Store>,
    pub file: Handle,
    /// The session, if it was ever written down: its file has a name in the upload area.
    pub written_down: Option<UploadId>,
    /// The commit took the session's record with it.
    pub is_committed: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(id) = self.written_down else { return };
        // Without a runtime the process is ending, and the next opening clears up.
        if !schedule::can_spawn() {
            return;
        }
        let (store, is_committed, work) = (self.store.clone(), self.is_committed, self.store.running.begin());
        drop(schedule::spawn(async move {
            // The final name, if it was given one, keeps the bytes; if not, they are given up.
            if let Err(error) = store.disk.unlink(&id.path()).await {
                tracing::debug!(upload = %id, %error, "its file stays until the store is opened again");
            }
            if !is_committed && let Err(error) = delete_record(&store, id).await {
                tracing::debug!(upload = %id, %error, "its record stays until the store is opened again");
            }
            drop(work);
        }));
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
