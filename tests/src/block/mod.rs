//! Real file systems over a device that remembers every write and every flush.
//!
//! In: a file system to make, and whatever is done to it. Out: a [`Recording`], from which the device can be
//! made again as it may have been at any moment: all that was flushed by then, and of what was not, any
//! part.
//!
//! A [`Disk`] is a file system of Linux on a loop device, whose file is the only one of a file system of ours
//! (`faults::wire` speaks the protocol). The loop device has a volatile cache and no FUA as the kernel
//! sees it, so a file system says with flushes alone what must be durable; each arrives here as an fsync of
//! the file. Needs root, /dev/fuse, loop devices, and the mkfs of the file system.

mod device;
mod disk;
mod file_system;
mod leftovers;
mod recording;

pub use device::Device;
pub use disk::{Broken, Disk};
pub use file_system::{FileSystem, Repair};
pub use recording::{Entry, Image, Left, Moment, Player, Recording};
