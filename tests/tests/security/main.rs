//! Attacks on the whole registry over real sockets: every case of `docs/security.md` that concerns
//! what exists, each with the published advisory it comes from.
//!
//! `make test` runs all of them with few clients; `make attack` with as many as the bars ask for:
//! `ORLOP_ATTACK_CONNECTIONS` is the number of attacking connections or requests, and
//! `ORLOP_ATTACK_SECONDS` how long a flood lasts.

mod common;
mod content;
mod descriptors;
mod floods;
mod foreign;
mod frames;
mod graphs;
mod http1;
mod lists;
mod memory;
mod names;
mod page;
mod sessions;
mod sharing;
mod slow;
mod storage;
mod tls;
