//! Question: does a collection cost what the garbage costs, whatever the store has, and does anybody
//! who pushes or pulls meanwhile notice it?
//!
//! In: a store that is filled through the engine: documents that need eight blobs each, one blob of
//! every sixteen a file. Garbage of 0.1, 1 and 10 per cent of it is made the way it comes to be:
//! images are pushed and their tags deleted.
//! Out: for each share of garbage, the time of a run, what it read and wrote of the index, and the
//! memory it added at its peak; then the latencies of clients that push and pull over HTTP while a
//! run is under way, and for as long without one, in turns; then the same beside a scrub.
//! `docs/performance.md`, "Collection beside traffic", says how to read it.
//!
//! ```text
//!   make collect BLOBS=1000000 [STORE=DIR]         everything
//!   ... --bench collect -- --blobs N --store DIR   keeps the store; filled once
//!       --stage fill|curve|traffic|scrub           only that, on a kept store
//!       --rounds N                                 of each measurement, default 3
//!       --per-mille N                              garbage of `traffic`, default 10
//! ```
//!
//! Run by the tests, it is small and proves only that the tool works.

use std::process::ExitCode;

mod args;
#[path = "../scale/client.rs"]
mod client;
mod counting;
mod curve;
#[path = "../scale/latency.rs"]
mod latency;
mod memory;
mod store;
mod traffic;

use args::{Arguments, Stage};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("collect: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let root = arguments.store.as_deref().unwrap_or(temporary.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = store::Store::open(root).await?;
        if arguments.does(Stage::Fill) {
            store.fill(arguments.blobs).await?;
        }
        if arguments.does(Stage::Curve) {
            curve::measure(&store, arguments).await?;
        }
        if arguments.does(Stage::Traffic) {
            traffic::collection(&store, arguments).await?;
        }
        if arguments.does(Stage::Scrub) {
            traffic::scrub(&store, arguments).await?;
        }
        store.close().await
    })
}
