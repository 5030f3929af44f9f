//! Question: does a registry with millions of blobs answer like an empty one, and what does its
//! index cost?
//!
//! In: a store that is filled through the engine, blobs of 32 random bytes in 1,000 repositories.
//! Out: a table of what was measured, the full store beside an empty one in the same minutes.
//! `docs/performance.md`, "Scale", says how to read it.
//!
//! ```text
//!   make scale BLOBS=10000000                      everything, in a temporary directory
//!   ... --bench scale -- --blobs N --store DIR     keeps the store; filled once
//!       --stage fill|measure|compact               only that, on a kept store
//!       --documents                                every tenth blob is a document needing nine others
//!       --requests N --pushes N --json FILE
//! ```
//!
//! Run by the tests, it is small and proves only that the tool works.

use std::process::ExitCode;

mod args;
mod client;
mod fill;
mod latency;
mod load;
mod plan;
mod process;
mod report;
mod run;
mod size;

use args::{Arguments, Role};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| start(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Outcome<()> {
    match &arguments.role {
        Role::Fill(root) => fill::run(root, arguments.plan),
        Role::Serve(root) => process::serve(root),
        Role::Measure => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            tokio::task::LocalSet::new().block_on(&runtime, run::run(arguments))
        }
    }
}
