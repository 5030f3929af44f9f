//! Decides what dies in a store. The engine carries it out.
#![forbid(unsafe_code)]

pub mod retention;
