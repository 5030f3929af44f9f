//! Benches of the engine's stages, each beside a yardstick that is measured in the same run.
//!
//! In: content made from a counter, in memory. Out: criterion's lines and its estimates in
//! `target/criterion`. Figures of one machine at one time: compare within a run, not between runs.
//! `docs/performance.md` says which question each group answers and how to read the answer.
//!
//! ```text
//!   make bench                                                all groups, and the other benches
//!   cargo bench -p orlop-benches --bench engine -- ingest/    one group
//! ```

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

mod collection;
mod commit;
mod content;
mod digest;
mod ingest;
mod look_up;
mod plain;
mod read;
mod store;

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time one measurement should take; all groups together stay under four minutes.
const MEASUREMENT: Duration = Duration::from_millis(1500);
const WARM_UP: Duration = Duration::from_millis(500);

/// The fewest criterion allows: the disk's noise is far above what more samples would resolve.
const SAMPLES: usize = 10;

fn settings() -> Criterion {
    Criterion::default().without_plots().sample_size(SAMPLES).measurement_time(MEASUREMENT).warm_up_time(WARM_UP)
}

criterion_group! {
    name = engine;
    config = settings();
    targets = digest::bench, ingest::bench, commit::bench, look_up::bench, read::bench, collection::bench
}
criterion_main!(engine);
