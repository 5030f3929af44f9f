//! The answers to liveness, start and readiness probes.
//!
//! Alive means: the process answers, nothing more; a restart would not cure a full disk. Ready means:
//! this server accepts connections and its engine accepts changes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use http::StatusCode;

/// Where a server is in its life. It only moves forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    Starting = 0,
    Serving = 1,
    Draining = 2,
    Stopped = 3,
}

/// What a probe is told: a status and one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub text: String,
}

/// Asks whether the engine accepts changes; the error is the reason it does not.
type Accepting = dyn Fn() -> Result<(), String> + Send + Sync;

/// The health of one server, shared between its listener and the probe routes.
#[derive(Clone)]
pub struct Health {
    phase: Arc<AtomicU8>,
    accepting: Arc<Accepting>,
}

impl Health {
    /// `accepting` is asked at every readiness probe; it must not block.
    pub fn new(accepting: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Health { phase: Arc::new(AtomicU8::new(Phase::Starting as u8)), accepting: Arc::new(accepting) }
    }

    /// Moves on to `phase`. An earlier phase than the present one is ignored.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Stopped,
        }
    }

    /// `/livez`: always 200.
    pub fn live(&self) -> Answer {
        Answer::ok()
    }

    /// `/startupz`: 200 from the moment the server serves, 503 before.
    pub fn started(&self) -> Answer {
        match self.phase() {
            Phase::Starting => Answer::unavailable("not started: the store is being opened"),
            _ => Answer::ok(),
        }
    }

    /// `/readyz`: 200 while the server serves and the engine accepts changes, else 503 with the reason.
    pub fn ready(&self) -> Answer {
        match self.phase() {
            Phase::Starting => Answer::unavailable("not ready: starting"),
            Phase::Draining => Answer::unavailable("not ready: draining"),
            Phase::Stopped => Answer::unavailable("not ready: stopped"),
            Phase::Serving => match (self.accepting)() {
                Ok(()) => Answer::ok(),
                Err(reason) => Answer::unavailable(&format!("not ready: {reason}")),
            },
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Answer {
    fn ok() -> Self {
        Answer { status: StatusCode::OK, text: "ok\n".to_owned() }
    }

    fn unavailable(reason: &str) -> Self {
        Answer { status: StatusCode::SERVICE_UNAVAILABLE, text: format!("{reason}\n") }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn readiness_follows_the_phases_and_liveness_does_not() {
        let health = Health::new(|| Ok(()));
        assert_eq!(health.started().status, 503);
        assert_eq!(health.ready().text, "not ready: starting\n");

        health.advance(Phase::Serving);
        assert_eq!(health.started().status, 200);
        assert_eq!(health.ready(), Answer::ok());

        health.advance(Phase::Draining);
        assert_eq!(health.ready().status, 503);
        assert_eq!(health.ready().text, "not ready: draining\n");
        assert_eq!(health.started().status, 200);

        health.advance(Phase::Stopped);
        health.advance(Phase::Serving);
        assert_eq!(health.ready().text, "not ready: stopped\n");
        assert_eq!(health.live().status, 200);
    }

    #[test]
    fn an_engine_that_stopped_makes_the_server_unready() {
        let broken = Arc::new(AtomicBool::new(false));
        let engine = broken.clone();
        let health =
            Health::new(move || if engine.load(Ordering::Relaxed) { Err("the index failed".into()) } else { Ok(()) });
        health.advance(Phase::Serving);
        assert_eq!(health.ready().status, 200);
        broken.store(true, Ordering::Relaxed);
        assert_eq!(health.ready().text, "not ready: the index failed\n");
        assert_eq!(health.live().status, 200);
    }
}
