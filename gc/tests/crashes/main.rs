//! Model crashes: random workloads of everything the engine and collection do, on the simulated disk
//! and index, with a crash at every disk operation and every index write, and up to 64 choices of what
//! of the unsynced bytes, names and changes is left. Recovery runs twice and the checker is clean each
//! time; whatever was acknowledged is there, the one change under way is whole or absent.
//!
//! `ORLOP_MODEL_STATES` says how many crash states to reach, `ORLOP_RIG_SEED` the first workload; a
//! quick run is part of `make test`, `make crash` a long one. A failure names all that repeats it.

mod facts;
mod rig;
mod workload;

use std::env;

use orlop_engine::io::Synced;

use crate::rig::{Lie, Report, Rig};

/// Crash states of a quick run.
const STATES_DEFAULT: u64 = 3_000;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Workload after workload until so many states were tried. On one thread: answers come in the order of
/// the seed. Nothing waits for a device: without a driver for that, letting others go first costs no system call.
fn run(first_seed: u64, states: u64, lie: Option<Lie>) -> Result<Report, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut report = Report::default();
        let mut seed = first_seed;
        while report.states < states {
            Rig { seed, lie, states_max: states }.run(&mut report).await?;
            seed += 1;
        }
        Ok(report)
    })
}

#[test]
fn no_crash_state_loses_or_leaves_anything() {
    let (seed, states) = (number("ORLOP_RIG_SEED", 1), number("ORLOP_MODEL_STATES", STATES_DEFAULT));
    match run(seed, states, None) {
        Ok(report) => eprintln!("rig model, seeds from {seed}: {report}; losses 0, checker clean, recovered twice"),
        Err(what) => panic!("{what}"),
    }
}

/// The negative controls: without one of its syncs the store loses something, and the rig sees it.
#[test]
fn a_missing_sync_is_found() {
    for lie in [Lie::Disk(Synced::Bytes), Lie::Disk(Synced::Names), Lie::Index] {
        let found = run(1, STATES_DEFAULT, Some(lie));
        let what = found.err().unwrap_or_else(|| panic!("{lie:?} went unnoticed"));
        eprintln!("{lie:?} is found: {what}");
    }
}
