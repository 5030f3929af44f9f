//! What a connection is doing, as far as its time limits are concerned.
//!
//! The socket reports bytes, the service reports requests; out comes the moment at which the
//! connection has to end if nothing else happens:
//!
//! ```text
//!   Opening --first byte--> Head --request--> Busy --last request ended--> Idle --first byte--> Head
//!   header_timeout          header_timeout    none                         idle_timeout
//! ```
//!
//! On HTTP/2 bytes between requests are pings and window updates, so there is no Head phase and only a
//! request ends the Idle phase.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::metrics::EndCause;

/// Shared by the socket, the service and the supervisor of one connection.
pub(super) struct Activity {
    header_timeout: Duration,
    idle_timeout: Duration,
    state: Mutex<State>,
    /// Told when the last request in flight ended.
    pub(super) quiet: Notify,
    stalled: AtomicBool,
    /// hyper has answered what needed it.
    leaving: AtomicBool,
}

struct State {
    phase: Phase,
    in_flight: usize,
    multiplexed: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    Opening(Instant),
    Head(Instant),
    Busy,
    Idle(Instant),
}

impl Activity {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> Self {
        Activity {
            header_timeout,
            idle_timeout,
            state: Mutex::new(State { phase: Phase::Opening(Instant::now()), in_flight: 0, multiplexed: false }),
            quiet: Notify::new(),
            stalled: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
        }
    }

    /// The TLS handshake is over; the time for the first request begins.
    pub(super) fn opened(&self) {
        self.state().phase = Phase::Opening(Instant::now());
    }

    /// The connection speaks HTTP/2.
    pub(super) fn multiplexed(&self) {
        let mut state = self.state();
        state.multiplexed = true;
        state.phase = Phase::Idle(Instant::now());
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.state().multiplexed
    }

    /// The socket delivered bytes.
    pub(super) fn bytes_read(&self) {
        let mut state = self.state();
        if !state.multiplexed && matches!(state.phase, Phase::Opening(_) | Phase::Idle(_)) {
            state.phase = Phase::Head(Instant::now());
        }
    }

    /// A request head is complete. Returns when its first byte came, or now where that is not known.
    pub(super) fn request_started(&self) -> Instant {
        let mut state = self.state();
        let began = match state.phase {
            Phase::Head(began) => began,
            _ => Instant::now(),
        };
        state.phase = Phase::Busy;
        state.in_flight += 1;
        began
    }

    pub(super) fn request_ended(&self) {
        let mut state = self.state();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.phase = Phase::Idle(Instant::now());
            // On HTTP/1 requests end in the task that supervises them, which looks anyway.
            if state.multiplexed {
                self.quiet.notify_one();
            }
        }
    }

    /// When the connection has to end as things are, and why. `None` while requests are in flight.
    pub(super) fn deadline(&self) -> Option<(Instant, EndCause)> {
        match self.state().phase {
            Phase::Opening(since) | Phase::Head(since) => Some((since + self.header_timeout, EndCause::HeaderTimeout)),
            Phase::Idle(since) => Some((since + self.idle_timeout, EndCause::Idle)),
            Phase::Busy => None,
        }
    }

    /// Since when no request has been in flight. `None` while one is.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        match self.state().phase {
            Phase::Opening(since) | Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Busy => None,
        }
    }

    /// The next request may not need hyper.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is between two requests, and the next one may not need hyper.
    pub(super) fn leaves(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) && matches!(self.state().phase, Phase::Idle(_))
    }

    /// hyper is left.
    pub(super) fn left(&self) {
        self.leaving.store(false, Ordering::Relaxed);
    }

    /// The client took no byte of an answer for too long.
    pub(super) fn stall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    pub(super) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn the_head_clock_runs_from_the_first_byte_and_is_not_reset_by_later_ones() {
        let activity = Activity::new(HEADER, IDLE);
        let opened = Instant::now();
        assert_eq!(activity.deadline(), Some((opened + HEADER, EndCause::HeaderTimeout)));
        advance(Duration::from_secs(3)).await;
        activity.bytes_read();
        let first = Instant::now();
        advance(Duration::from_secs(9)).await;
        activity.bytes_read();
        assert_eq!(activity.deadline(), Some((first + HEADER, EndCause::HeaderTimeout)));
        assert_eq!(activity.request_started(), first);
        assert_eq!(activity.deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_clock_starts_when_the_last_request_ended() {
        let activity = Activity::new(HEADER, IDLE);
        activity.multiplexed();
        activity.request_started();
        activity.request_started();
        activity.request_ended();
        assert_eq!(activity.deadline(), None);
        advance(Duration::from_secs(500)).await;
        activity.request_ended();
        let quiet = Instant::now();
        advance(Duration::from_secs(60)).await;
        activity.bytes_read();
        assert_eq!(activity.deadline(), Some((quiet + IDLE, EndCause::Idle)));
    }
}
