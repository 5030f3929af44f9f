//! One deadline that is armed, moved and disarmed many times without a new allocation.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline inside a hand-written poll function. The timer is allocated at the first `arm`, so a
/// deadline that is never needed costs nothing. A deadline that only moves away leaves the timer where
/// it is and looks again when that runs out: moving a timer takes a lock, and connections move theirs
/// with every request.
#[derive(Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
    /// Whom the timer wakes, as far as is known.
    woken: Option<Waker>,
}

impl Deadline {
    /// Sets or moves the deadline.
    pub(super) fn arm(&mut self, at: Instant) {
        self.at = Some(at);
        match &mut self.sleep {
            Some(sleep) if at < sleep.deadline() => {
                sleep.as_mut().reset(at);
                self.woken = None;
            }
            Some(_) => {}
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
    }

    pub(super) fn disarm(&mut self) {
        self.at = None;
    }

    pub(super) fn armed(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once an armed deadline has passed. Without one it never is, and registers no waker.
    pub(super) fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some(sleep), Some(at)) = (&mut self.sleep, self.at) else { return Poll::Pending };
        // The timer knows already whom to wake.
        if !sleep.is_elapsed() && self.woken.as_ref().is_some_and(|woken| woken.will_wake(context.waker())) {
            return Poll::Pending;
        }
        self.woken = Some(context.waker().clone());
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_can_be_moved_disarmed_and_armed_again() {
        let begin = Instant::now();
        let mut deadline = Deadline::default();
        deadline.arm(begin + Duration::from_secs(5));
        deadline.arm(begin + Duration::from_secs(7));
        poll_fn(|context| deadline.poll_passed(context)).await;
        assert_eq!(begin.elapsed().as_secs(), 7);

        deadline.disarm();
        assert!(!deadline.armed());
        let never = timeout(Duration::from_secs(60), poll_fn(|context| deadline.poll_passed(context)));
        assert!(never.await.is_err());

        deadline.arm(Instant::now() + Duration::from_secs(1));
        poll_fn(|context| deadline.poll_passed(context)).await;
        assert_eq!(begin.elapsed().as_secs(), 68);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_away_again_and_again_passes_once() {
        let begin = Instant::now();
        let mut deadline = Deadline::default();
        for second in 1..=60 {
            deadline.arm(Instant::now() + Duration::from_secs(10));
            let early = timeout(Duration::from_secs(1), poll_fn(|context| deadline.poll_passed(context))).await;
            assert!(early.is_err(), "after {second} s");
        }
        poll_fn(|context| deadline.poll_passed(context)).await;
        assert_eq!(begin.elapsed().as_secs(), 69);
        // Nearer again, after the timer ran out.
        deadline.arm(Instant::now() + Duration::from_secs(100));
        deadline.arm(Instant::now() + Duration::from_secs(2));
        poll_fn(|context| deadline.poll_passed(context)).await;
        assert_eq!(begin.elapsed().as_secs(), 71);
    }
}
