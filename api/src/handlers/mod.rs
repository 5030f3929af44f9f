//! The operations of the distribution specification, one noun per file. In: a parsed request. Out:
//! an answer, or a [`error_map::Failure`] from the one table of them. No handler knows a route, a
//! socket or a file.

pub mod account;
pub mod base;
pub mod blob;
pub mod collection;
mod conditional;
pub mod error_map;
pub mod extensions;
pub mod incoming;
pub mod manifest;
pub mod probes;
pub mod referrers;
mod repeat;
pub mod reply;
pub mod scope;
pub mod scrub;
pub mod tags;
pub mod token;
pub mod upload;
