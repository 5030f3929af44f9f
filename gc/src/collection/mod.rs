//! Collection: from the garbage table to a plan, from a plan to a sweep.
//!
//! ```text
//!   options   delays in epochs, rules for documents without a name
//!     v planner   one snapshot: what nothing keeps, and what falls with it
//!     v plan      the answer as a value: printed by a dry run, swept by a run
//!     v run       steps through the engine's commit thread, a bounded number at a time
//!       pace      short bursts of both, beside those who push and pull
//!     v report    what went, why, and what waits
//!   rehearsal   a run that only plans
//!   collector   all of this in the background, one run at a time, and the clock of the epochs
//!   window      when in the day it begins by itself
//! ```

mod clock;
mod collector;
mod options;
mod pace;
mod plan;
mod planner;
mod rehearsal;
mod report;
mod run;
mod window;

pub use clock::Clock;
pub(crate) use collector::jitter;
pub use collector::{Background, Collector, Runs, Schedule, Status};
pub use options::{Keep, Options, Rules, Unnamed};
pub use plan::{Kind, Plan, Reason, Removal, Totals, Waiting};
pub(crate) use rehearsal::rehearse;
pub use report::Report;
pub use run::{Flow, Progress, collect, plan};
pub use window::{NoWindow, Window};
