//! One deadline that is armed, moved and disarmed many times without a new allocation.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline inside a hand-written poll function. The timer is allocated at the first `arm`, so a
/// deadline that is never needed costs nothing.
#[derive(Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl Deadline {
    /// Sets or moves the deadline.
    pub(super) fn arm(&mut self, at: Instant) {
        if self.at == Some(at) {
            return;
        }
        self.at = Some(at);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
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
        match &mut self.sleep {
            Some(sleep) if self.at.is_some() => sleep.as_mut().poll(context),
            _ => Poll::Pending,
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
}
