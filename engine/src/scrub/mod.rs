//! Looking for damage before somebody needs the bytes.
//!
//! In: digests in their order, from a thread of its own. Out: for each, whether its bytes on the device are
//! what was stored. What to do about it, and how fast to go on, is decided by who asks; marking and taking
//! back are carried out here, after a second look under the lock that keeps files from coming and going.

mod inspector;
mod look;
mod pass;

pub use inspector::{Condemned, Inspector};
pub use look::{Look, Verdict};
pub use pass::{Pass, Passes};

pub use crate::io::lower_priority;
