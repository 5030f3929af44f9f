//! Collection on the simulated disk and index: against a slow model, through crashes, in races.

mod clocks;
mod common;
mod crash;
mod graphs;
mod model;
mod policies;
mod races;
mod rules;
