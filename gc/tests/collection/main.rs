//! Collection on the simulated disk and index: against a slow model, through crashes, in races.

mod clocks;
mod common;
mod controls;
mod crash;
mod flaws;
mod graphs;
mod journal;
mod model;
mod policies;
mod races;
mod rules;
mod window;
