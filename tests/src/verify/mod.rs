//! The verifying client: it knows what every answer promised, and asks whether it was kept.
//!
//! In: a seed, and a registry that may be killed, filled up or damaged at any moment. Out: a tally of
//! what was done, or the first [`Violation`] of docs/semantics.md. Content is computed from (seed, id,
//! length), so nothing has to be stored to check any range of it. A [`Journal`] outside the
//! registry's reach says what was asked and what was acknowledged; [`Facts`] are what follows from it.
//!
//! A [`Worker`] changes its own repositories only and does one thing at a time, so there is one right
//! answer to each of its questions. Content and mounts are shared by all workers.

use std::fmt;

mod check;
mod content;
mod facts;
mod hostile;
mod image;
mod journal;
mod push;
mod read;
mod remove;
mod worker;

pub use check::Depth;
pub use content::Content;
pub use facts::{Facts, Key};
pub use journal::{Change, Event, Journal, Line};
pub use worker::{Stop, Tally, Worker, World};

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// What is needed to do the same again.
    pub rig: &'static str,
    pub seed: u64,
    pub worker: u64,
    pub operation: u64,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { rig, seed, worker, operation, what } = self;
        write!(f, "ORLOP_RIG_SEED={seed} rig={rig} worker={worker} operation={operation}: {what}")
    }
}
