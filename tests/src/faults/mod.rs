//! A file system that can lose power, refuse and lie, for the real binary to live on.
//!
//! In: a directory to mount it on. Out: a [`FaultDisk`], an ordinary file system to whoever uses it, in
//! memory, and behind it a second image: what is durable. Only fsync and fdatasync make a file's bytes
//! durable, and with them the name it was made under; any other name only a sync of its directory;
//! sync_file_range does nothing. When the
//! power is cut, what is not durable is lost, all of it or a part that a seed chooses. A [`Fault`] makes
//! one operation fail. Rules watch over every operation.
//!
//! It speaks the kernel's protocol itself (`wire`), because what matters here are files without a name
//! and answers that never come. Mounting needs root and /dev/fuse.

pub(crate) mod disk;
mod names;
mod operation;
pub(crate) mod pages;
mod plan;
mod rules;
pub(crate) mod serve;
mod tree;
pub(crate) mod wire;

pub use disk::{FaultDisk, Image};
pub use operation::{Class, Kind, Operation};
pub use plan::{Fault, Harm};
pub use rules::STORE;
pub use serve::Gate;

/// What a power loss leaves of what is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing: only what was synced is there.
    Durable,
    /// What chance chooses: pages, sectors, sizes and names, each for itself.
    Some,
    /// All of it, as when only the process is killed.
    Everything,
}
