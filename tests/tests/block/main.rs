//! The real binary on real file systems, over a device whose power is cut at every flush and between
//! (`orlop_tests::block`).
//!
//! Each test needs root, /dev/fuse, loop devices and the mkfs of its file system. Without them it says so in one
//! line and does nothing.

mod controls;
mod device;
mod images;
mod names;
mod rig;
