//! The real binary on a disk that loses power, refuses and lies: `orlop_tests::faults` is the disk.
//!
//! It needs root and /dev/fuse. Without them each test says so in one line and does nothing.

mod common;
mod disk;
mod errors;
mod power;
mod strace;
