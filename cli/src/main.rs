//! The binary `orlop`: reads flags and files, wires the engine to the API, and nothing else.
//!
//! The only crate of the workspace that reads configuration files, flags and signals.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod args;
mod audit;
mod bench;
mod check;
mod collector;
mod config;
mod damage;
mod exit;
mod export;
mod gc;
mod hint;
mod huge_pages;
mod import;
mod log;
mod log_file;
mod log_output;
mod log_switch;
mod offline;
mod open_files;
mod private;
mod progress;
mod rebuild;
mod reload;
mod retention;
mod rules;
mod schema;
mod scrub;
mod serve;
mod signals;
mod usage;
mod verify;
mod watch;

use args::{Arguments, Command};
use exit::{Exit, Failure};

/// Faster than the system's allocator where threads free each other's buffers, as connections do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = run(arguments.command);
    audit::flush();
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("orlop: {failure}");
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(arguments) => block_on(serve::run(&arguments))?.map(|()| ExitCode::SUCCESS),
        Command::Check(arguments) => block_on(check::run(&arguments))?,
        Command::Gc(arguments) => block_on(gc::run(&arguments))?.map(|()| ExitCode::SUCCESS),
        Command::Scrub(arguments) => block_on(scrub::run(&arguments))?,
        Command::Rebuild(arguments) => block_on(rebuild::run(&arguments))?,
        Command::Verify(arguments) => verify::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Schema => schema::run().map(|()| ExitCode::SUCCESS),
        Command::Retention(arguments) => retention::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Usage(arguments) => usage::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Import(arguments) => block_on(import::run(&arguments))?,
        Command::Export(arguments) => block_on(export::run(&arguments))?,
        Command::Bench(flags) => block_on(bench::run(&flags))?,
    }
}

/// Runs on as many worker threads as the machine has cores.
/// Errors: the operating system refuses the threads.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot start worker threads: {error}"))),
    }
}
