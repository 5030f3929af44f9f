//! Making things visible: a [`Batch`] becomes one atomic change of the index.
//!
//! In: sealed content whose bytes are durable, and what is to be said about it. Out: a
//! [`Receipt`]. What has become true: everything in the batch, durably, or nothing of it.

mod apply;
mod batch;
mod committer;
mod guard;
pub(crate) mod place;
mod transaction;

pub(crate) use apply::{Change, epoch, epoch_of, malformed};
pub use batch::{Batch, Edge, EdgeKind, Receipt, Removal};
pub(crate) use committer::{Committer, Targets};
pub use guard::Guard;
#[cfg(test)]
pub(crate) use transaction::to_changes;
pub(crate) use transaction::{Overlay, Transaction, decoded, decoded_u64};
