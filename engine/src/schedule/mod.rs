//! What the engine runs and waits by: threads, tasks, locks, and the numbers that threads share.
//!
//! In: the same names everywhere in the engine. Out: those of the standard library and of tokio; with the
//! feature `schedules`, which is for tests alone, those of a scheduler that runs one thread or task at a
//! time and lets a seed choose which one goes on at each lock and each shared number. [`explore`] then
//! runs a scenario in as many orders as it is told, and a seed repeats one.
//!
//! Channels and asynchronous locks are tokio's in both: they only wait by wakers, so whoever polls them
//! decides the order. [`point`] stands before those that others see the effect of.

#[cfg(feature = "schedules")]
mod chosen;
#[cfg(feature = "schedules")]
mod explorer;
#[cfg(not(feature = "schedules"))]
mod free;
#[cfg(feature = "schedules")]
mod random;

#[cfg(feature = "schedules")]
pub(crate) use chosen::*;
#[cfg(feature = "schedules")]
pub use chosen::{spawn, yield_now};
#[cfg(all(test, feature = "schedules"))]
pub(crate) use explorer::in_every_order;
#[cfg(feature = "schedules")]
pub use explorer::{Exploration, Explored, explore};
#[cfg(not(feature = "schedules"))]
pub(crate) use free::*;
