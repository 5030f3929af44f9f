//! What can be exchanged while a server runs: its limits, and what its handler goes by.
//!
//! In: new limits, and word that the handler answers by other rules from now on. Out: the limits of connections
//! that begin later, and the generation by which answers that are kept are told apart from those of other rules.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use super::slots::Slots;
use crate::limits::{LimitError, Limits};

/// Shared by a server, which looks at it, and by whoever exchanges something.
#[derive(Debug)]
pub struct Live {
    limits: ArcSwap<Limits>,
    generation: AtomicU64,
    pub(super) slots: Arc<Slots>,
}

/// What tells rules from those before them. An answer is of the generation that was read *before* its request was
/// given to the handler: it was made by rules at least as new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Live {
    /// Errors: a limit out of its range.
    pub fn new(limits: Limits) -> Result<Arc<Self>, LimitError> {
        limits.check()?;
        Ok(Arc::new(Live {
            limits: ArcSwap::from_pointee(limits),
            generation: AtomicU64::new(0),
            slots: Arc::default(),
        }))
    }

    pub fn limits(&self) -> Arc<Limits> {
        self.limits.load_full()
    }

    /// Sets the limits of connections that begin from now on, and how many there may be; those that are too many
    /// stay. `accept_queue_max` is the socket's, and stays as it was when the server was bound. Errors: a limit out of its range; then nothing changes.
    pub fn set_limits(&self, limits: Limits) -> Result<(), LimitError> {
        limits.check()?;
        self.limits.store(Arc::new(limits));
        self.slots.look_again();
        Ok(())
    }

    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Forgets all answers that are kept, those included whose requests are with the handler now. Call it when the
    /// handler has begun to go by the new rules: whoever reads the new generation then sees them as well.
    pub fn advance(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
