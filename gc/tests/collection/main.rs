//! Collection on the simulated disk and index: against a slow model, through crashes, in races.

mod common;
mod crash;
mod graphs;
mod journal;
mod model;
mod policies;
mod races;
mod rules;
