//! Where an upload exists, and for whom. From anywhere else, and for anybody else, it does not.

use std::fmt;

use crate::{Algorithm, Digest, Namespace};

/// Whoever an upload belongs to, as a mark of [`UploadOwner::BYTES`] bytes that says nothing else about him.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadOwner([u8; UploadOwner::BYTES]);

impl UploadOwner {
    /// The size of a mark.
    pub const BYTES: usize = 32;

    /// The mark of whoever the caller knows by these bytes: their BLAKE3 hash, so that it is the same after a restart
    /// and different for everybody else.
    pub fn known_by(bytes: &[u8]) -> Self {
        let hash = Digest::of(Algorithm::Blake3, bytes);
        UploadOwner(hash.as_bytes().try_into().expect("a hash of 256 bits"))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(UploadOwner(bytes.try_into().ok()?))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for UploadOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

/// The namespace and the owner of an upload. One without an owner is for whoever asks without one, and a namespace
/// alone is such a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadHome {
    pub namespace: Namespace,
    pub owner: Option<UploadOwner>,
}

impl From<&Namespace> for UploadHome {
    fn from(namespace: &Namespace) -> Self {
        UploadHome { namespace: namespace.clone(), owner: None }
    }
}

impl From<&UploadHome> for UploadHome {
    fn from(home: &UploadHome) -> Self {
        home.clone()
    }
}
