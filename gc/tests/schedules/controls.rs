//! Negative controls: without one of the protections, the scenario that is about it fails.

use orlop_engine::schedule::{Exploration, explore};

use crate::{
    collecting::{self, Look},
    flaws::{Flaw, Flawed},
    stage::{Turn, ground},
};

/// Schedules within which a missing protection must show.
const SCHEDULES_MAX: u64 = 2_000;

/// Explores until something is lost.
fn noticed<F>(name: &'static str, scenario: impl Fn(u64) -> F + Send + Sync + 'static)
where
    F: Future<Output = Turn>,
{
    let explored = explore(Exploration { name, first_seed: 1, schedules: SCHEDULES_MAX }, scenario);
    let what = explored.err().unwrap_or_else(|| panic!("{name}: nothing is lost in {SCHEDULES_MAX} schedules"));
    assert!(what.contains("was told that"), "{what}");
    eprintln!("{name} is found: {what}");
}

#[test]
fn a_push_without_its_lease_is_found() {
    noticed("a push without its lease", |seed| async move {
        let parts = ground(seed);
        let index = Flawed::over(&parts.index, Flaw::ForgetsLeases { prefix: "a" });
        collecting::pushes_over(&parts, index).await
    });
}

#[test]
fn a_mount_without_its_lease_is_found() {
    noticed("a mount without its lease", |seed| async move {
        let parts = ground(seed);
        let index = Flawed::over(&parts.index, Flaw::ForgetsLeases { prefix: "to" });
        collecting::mounts_over(&parts, index).await
    });
}

#[test]
fn an_answer_without_its_lease_is_found() {
    noticed("an answer without its lease", |seed| collecting::looks_by(seed, Look::Peeking));
}
