//! Decides what dies, and what is damaged. The engine carries it out, and asks again before it does.
//!
//! In: the names of a store with their times, and what the engine put on its garbage table. Out:
//! verdicts over names ([`retention`]) and a [`Plan`] for the rest, values that can be printed, and
//! a [`Report`] of what became of it. What the content means is not known here either: there are
//! members with and without labels, names, and edges between them.
#![forbid(unsafe_code)]

mod collection;
mod maintenance;
pub mod retention;
mod scrub;

pub use collection::{
    Background, Clock, Collector, Flow, Keep, Kind, NoWindow, Options, Plan, Progress, Reason, Removal, Report, Rules,
    Runs, Schedule, Status, Totals, Unnamed, Waiting, Window, collect, plan,
};
pub use maintenance::governed_options;
pub use scrub::{PassReport, ScrubOptions, ScrubStatus, Scrubber, Scrubbing, scrub};
