//! Places for connections, of which there are as many as the limit says at that moment.
//!
//! In: connections that want to begin, one after the other. Out: a place for each, held until it ends. A limit that is
//! lowered below what is held ends nothing: there is no place until enough have ended.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// The places of one server. One task takes them.
#[derive(Debug, Default)]
pub struct Slots {
    held: AtomicU64,
    /// One was given back, or the limit is another one.
    changed: Notify,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Slots>);

impl Slots {
    /// Waits until fewer places are held than `max` says. Dropping it takes nothing.
    pub(super) async fn take(self: &Arc<Self>, max: impl Fn() -> u64) -> Slot {
        // Only the caller adds to them, so that what is free stays so; a change after the look leaves a notice.
        while self.held.load(Ordering::Acquire) >= max() {
            self.changed.notified().await;
        }
        self.held.fetch_add(1, Ordering::AcqRel);
        Slot(self.clone())
    }

    /// How many are held.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The limit is another one.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn the_limit_is_the_one_of_the_moment() {
        let (slots, max) = (Arc::<Slots>::default(), AtomicU64::new(2));
        let limit = || max.load(Ordering::Relaxed);
        let (first, second) = (slots.take(limit).await, slots.take(limit).await);
        let mut third = pin!(slots.take(limit));
        let mut context = Context::from_waker(Waker::noop());
        assert!(third.as_mut().poll(&mut context).is_pending(), "two are all");
        max.store(1, Ordering::Relaxed);
        slots.look_again();
        drop(first);
        assert!(third.as_mut().poll(&mut context).is_pending(), "one is left, and one is all");
        max.store(2, Ordering::Relaxed);
        slots.look_again();
        assert!(third.as_mut().poll(&mut context).is_ready(), "raised");
        drop(second);
    }
}
