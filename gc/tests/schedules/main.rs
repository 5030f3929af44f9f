//! Schedules: small scenarios of everything that meets in an engine, each in thousands of orders that a seed
//! chooses, at every lock, every number that threads share and every answer of the disk. The engine is the
//! real one; disk and index are the simulated ones.
//!
//! `ORLOP_SCHEDULES` says how many orders of each scenario, `ORLOP_RIG_SEED` the first of them; a quick run is
//! part of `make test`, `make schedules` a long one. A failure is one line that repeats it.

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../collection/common.rs"]
mod common;
#[path = "../collection/flaws.rs"]
mod flaws;

mod collecting;
mod controls;
mod histories;
mod names;
mod reading;
mod stage;
mod stopping;
mod uploads;

use std::env;

use orlop_engine::schedule::{Exploration, explore};

/// Orders of each scenario in a quick run.
const SCHEDULES_DEFAULT: u64 = 1_000;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// What is asked for, of one scenario.
fn exploration(name: &'static str) -> Exploration {
    let (first_seed, schedules) = (number("ORLOP_RIG_SEED", 1), number("ORLOP_SCHEDULES", SCHEDULES_DEFAULT));
    Exploration { name, first_seed, schedules }
}

macro_rules! scenarios {
    ($($name:ident: $scenario:path,)+) => {$(
        #[test]
        fn $name() {
            match explore(exploration(stringify!($name)), $scenario) {
                Ok(explored) => eprintln!("rig schedules, scenario {}: {explored}; nothing lost", stringify!($name)),
                Err(what) => panic!("{what}"),
            }
        }
    )+};
}

scenarios! {
    writers_of_one_upload: uploads::writers,
    uploads_of_one_content: uploads::same_content,
    quiet_uploads: uploads::quiet,
    hash_threads: uploads::hash_threads,
    pushes_and_collection: collecting::pushes,
    looks_and_collection: collecting::looks,
    mounts_deletes_and_collection: collecting::mounts,
    documents_and_deletes: collecting::documents,
    moving_names: names::moves,
    answers_given_again: names::answers_given_again,
    answers_given_again_and_collection: names::leases_given_again,
    hot_reads: reading::hot,
    damage_and_healing: reading::damage,
    closing: stopping::closing,
    failing_groups: stopping::failing_groups,
}

/// Without this a line that names a seed would repeat nothing.
#[test]
fn a_seed_repeats_its_schedule() {
    let few = Exploration { name: "repeated", first_seed: 7, schedules: 40 };
    for scenario in [collecting::pushes_boxed, uploads::quiet_boxed] {
        let (once, again) = (explore(few, scenario), explore(few, scenario));
        assert!(once.is_ok(), "{once:?}");
        assert_eq!(once, again);
    }
}
