//! Bytes on their way in.
//!
//! In: bytes of a session, in order, over any number of requests and restarts. Out: [`Sealed`].
//! What has become true: the bytes lie in the store's file system (or in memory, if small) and
//! have the digest they were announced with. Not yet: durable, visible.

mod adopt;
mod crowd;
mod file;
mod filling;
mod hashing;
mod held;
mod home;
mod intake;
mod known;
mod reservation;
mod sealed;
mod session;
mod upload;

pub use adopt::{Adopted, Adoption, Taken};
pub use crowd::UploadsMax;
pub(crate) use hashing::HashThreads;
pub use home::{UploadHome, UploadOwner};
pub(crate) use reservation::Ahead;
pub use sealed::Sealed;
pub(crate) use sealed::{Proven, Staged};
pub(crate) use session::{Sessions, uploads_path};
pub use session::{UploadId, UploadStatus};
pub use upload::Upload;
