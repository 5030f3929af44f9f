//! Hashing beside the threads that serve requests.
//!
//! In: filled buffers of an upload, in the order of its bytes. Out: the same buffers, once they are
//! part of the upload's digest and checksums. What has become true: every byte before
//! [`Passing::bytes`] was hashed, once, in order.
//!
//! Each upload has a [`Lane`]; the [`HashThreads`] take turns at the lanes that have something to do, a
//! buffer each time, so that no two threads ever touch the same hasher and no upload waits for another
//! one's end.

mod lane;
mod passing;
mod threads;

pub(super) use lane::{Hashed, Lane};
pub(super) use passing::Passing;
pub(crate) use threads::HashThreads;
