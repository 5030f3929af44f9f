//! The whole registry over real sockets: the real binary, real clients, a real disk.
//!
//! One binary, because each would link the same harness; one module for each kind of question.

mod access;
mod api_keys;
mod audit;
mod badinput;
mod clients;
mod crash;
mod durability;
mod full;
mod import;
mod large;
mod live;
mod logs;
mod protocol;
mod rebuild;
mod reload;
mod scrub;
mod soak;
mod traces;
