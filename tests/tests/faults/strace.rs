//! System calls of the real binary fail on a real file system: strace tells the kernel to refuse them.
//!
//! The rings make the engine's own writes and syncs without system calls that could be refused one by one, so these are
//! RocksDB's, and those that make, cut, rename and remove files. In each run the n-th such call of each thread fails;
//! then n is one more, until nothing meets it. The page cache keeps what was written: this finds what is said and done
//! about an error, and what a start makes of it. What a lost sync takes with it is for the other tests here.
//!
//! Without the right to trace processes the test says so in one line and does nothing.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, atomic::Ordering},
};

use orlop_tests::{
    Options, Registry,
    rig::{self, seed},
    verify::{Depth, Worker, World},
};

use crate::common::journal;

/// Operations of the client in each run.
const OPERATIONS: u64 = 40;

/// Calls that fail together, and with what.
const CALLS: [(&str, &str); 6] = [
    ("fsync,fdatasync", "EIO"),
    ("sync_file_range", "EIO"),
    ("fallocate", "ENOSPC"),
    ("ftruncate", "EIO"),
    ("rename,renameat,renameat2", "EIO"),
    ("unlink,unlinkat", "EIO"),
];

/// Why nothing can be traced here, if so.
fn obstacle() -> Option<String> {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Err(error) => Some(format!("strace: {error}; run scripts/setup test")),
        Ok(ended) if !ended.status.success() => Some(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
        Ok(_) => None,
    }
}

/// `serve` with a fault. The tracer is no parent of it, so that a signal reaches it and not the tracer.
fn failing(serve: &Command, calls: &str, error: &str, at: u64, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-e", "signal=none", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:error={error}:when={at}"), "-o"]).arg(log);
    strace.arg(serve.get_program()).args(serve.get_args());
    if let Some(directory) = serve.get_current_dir() {
        strace.current_dir(directory);
    }
    strace
}

#[derive(Debug, Default)]
struct Report {
    runs: u64,
    calls_failed: u64,
    failed_starts: u64,
    /// Runs after which the store wanted a restart.
    stopped: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_refused_costs_nothing_that_was_acknowledged() {
    if let Some(obstacle) = obstacle() {
        eprintln!("rig strace: not run, processes can't be traced: {obstacle}");
        return;
    }
    let mut registry = Registry::start(Options { config: Some(rig::config("1h")), ..Options::default() }).await;
    let world = Arc::new(World::new("strace", seed(), 1));
    let mut worker = Worker::new(&world, 0, &journal(&registry), registry.address());
    registry.stop();
    let mut report = Report::default();
    for (calls, error) in CALLS {
        for at in 1.. {
            let fault = format!("ORLOP_RIG_SEED={} rig=strace: number {at} of {calls} gives {error}", seed());
            let met = run_with(&mut registry, &world, &mut worker, &mut report, (calls, error, at)).await;
            if met.unwrap_or_else(|what| panic!("{fault}: {what}")) == 0 {
                break;
            }
        }
    }
    assert!(report.calls_failed > 0, "nothing met a fault");
    eprintln!("rig strace, seed {}: {report:?}; {:?}", seed(), worker.tally());
    registry.finish();
}

/// One run. Gives how many calls failed.
async fn run_with(
    registry: &mut Registry,
    world: &World,
    worker: &mut Worker,
    report: &mut Report,
    (calls, error, at): (&str, &str, u64),
) -> Result<usize, String> {
    report.runs += 1;
    let log = registry.scratch("client").join("strace");
    let mut command = failing(&registry.serve_command(), calls, error, at, &log);
    world.may_fail.store(true, Ordering::SeqCst);
    match registry.try_restart_by(&mut command, || false) {
        Ok(_) => {
            worker.reconnect(registry.address());
            let end = world.operations.load(Ordering::SeqCst) + OPERATIONS;
            let ran = worker.run(|| world.operations.load(Ordering::SeqCst) >= end).await;
            ran.map_err(|violation| violation.to_string())?;
            // Still the same process: what it answers is right, or an error.
            let verified = worker.verify_unless_it_fails(Depth::Everything).await;
            report.stopped += u64::from(!verified.map_err(|violation| violation.to_string())?);
            registry.kill();
        }
        // An error at the start is a right answer, if there was one.
        Err(output) if injected(&log) == 0 => return Err(format!("it does not start:\n{output}")),
        Err(_) => report.failed_starts += 1,
    }
    let met = injected(&log);
    report.calls_failed += met as u64;
    world.may_fail.store(false, Ordering::SeqCst);
    registry.try_restart(|| false).map_err(|output| format!("it does not start afterwards:\n{output}"))?;
    worker.reconnect(registry.address());
    worker.verify(Depth::Everything).await.map_err(|violation| violation.to_string())?;
    registry.stop();
    let checked = registry.check();
    match checked.status.success() {
        true => Ok(met),
        false => Err(format!("{}{}", checked.stdout, checked.stderr)),
    }
}

/// How many calls were refused, as strace has written it down.
fn injected(log: &Path) -> usize {
    let text = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text).matches("(INJECTED)").count()
}
