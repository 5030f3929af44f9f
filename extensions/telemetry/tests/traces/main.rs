//! Traces over real sockets: a registry in this process, and a collector that says what it got.

mod exporting;
mod parents;
mod rig;
mod spans;
