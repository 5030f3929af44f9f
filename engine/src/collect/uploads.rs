//! Uploads that nobody goes on with.

use crate::{Namespace, UploadId};

/// An upload without a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietUpload {
    pub id: UploadId,
    pub namespace: Namespace,
    /// Bytes received.
    pub offset: u64,
    /// The epoch in which somebody last wrote to it.
    pub since: u64,
}
