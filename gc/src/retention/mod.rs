//! Which names are kept and which are dropped, and why.
//!
//! In: [`Retention`], what an operator wants; the names of one namespace with the times of their
//! last push and pull; the store's clock. Out: a [`Verdict`] for each name, with the rule that keeps
//! it or the reason that drops it. [`evaluate`] is a pure function: it reads no clock and no store,
//! so that what it would do can be printed, tested and compared. [`apply`] carries it out through
//! the engine.
//!
//! Three rules hold against surprises:
//! - A name is dropped only if no rule that could speak for it keeps it: rules never take from each
//!   other, whatever their order.
//! - A time in the future counts as now.
//! - Times are those of the store's own clock ([`orlop_engine::Moment`]), which follows no jump of
//!   the wall clock.

mod apply;
mod evaluate;
mod glob;
mod pattern;
mod policy;
mod unnamed;
mod verdict;

pub use apply::{Report, apply};
pub use evaluate::{Candidate, Times, evaluate};
pub use glob::{Glob, GlobError};
pub use pattern::{NamePattern, PatternError};
pub use policy::{KeepNames, Policy, Retention, Rules};
pub use unnamed::{Keeper, Unnamed};
pub use verdict::{Dropped, Kept, Rule, Span, Verdict};
