//! The scrub on the simulated disk and on a real one: what is wrong is found and healed, what is right is
//! left alone, through crashes, failing devices and races.

#[path = "../collection/common.rs"]
mod common;
mod crash;
mod devices;
mod flaws;
mod passes;
mod places;
mod races;
