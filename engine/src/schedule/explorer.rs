//! One scenario in many orders.

use std::{
    any::Any,
    collections::HashSet,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::random::{Choices, Seeded};

/// Memory for the stack of one task, in bytes; only what is used is taken.
const STACK_BYTES: usize = 1 << 20;

/// Steps of one schedule. More of them mean that somebody waits for what never comes.
const STEPS_MAX: usize = 1_000_000;

/// What is to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Exploration {
    /// The scenario's name, for the line that repeats a failure.
    pub name: &'static str,
    /// Seed of the first schedule; the others count up from it.
    pub first_seed: u64,
    /// How many schedules.
    pub schedules: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    pub schedules: u64,
    /// Of these, how many differed from all before.
    pub distinct: u64,
    /// Choices of who goes on, in all schedules.
    pub steps: u64,
    /// Of all choices, in order.
    pub trace: u64,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { schedules, distinct, steps, .. } = self;
        write!(f, "{schedules} schedules, {distinct} of them distinct, {steps} steps")
    }
}

#[derive(Default)]
struct Progress {
    schedules: u64,
    traces: HashSet<u64>,
    steps: u64,
    trace: u64,
    failure: Option<String>,
}

impl Progress {
    fn add(&mut self, choices: &Choices) {
        self.schedules += 1;
        self.traces.insert(choices.trace);
        self.steps += choices.steps;
        self.trace = self.trace.rotate_left(1) ^ choices.trace;
    }
}

/// Runs `scenario`, which gets the schedule's seed, in one order after the other, until one fails: it gives
/// an error, panics, or waits for ever. Errors: one line that repeats it.
pub fn explore<F>(
    exploration: Exploration,
    scenario: impl Fn(u64) -> F + Send + Sync + 'static,
) -> Result<Explored, String>
where
    F: Future<Output = Result<(), String>>,
{
    let Exploration { name, first_seed, schedules } = exploration;
    let (progress, seed) = (Arc::new(Mutex::new(Progress::default())), Arc::new(AtomicU64::new(first_seed)));
    let next = {
        let (progress, seed) = (progress.clone(), seed.clone());
        move |done: Option<Choices>| {
            let mut progress = lock(&progress);
            done.iter().for_each(|choices| progress.add(choices));
            let next = first_seed.wrapping_add(progress.schedules);
            let goes_on = progress.schedules < schedules && progress.failure.is_none();
            goes_on.then(|| {
                seed.store(next, Ordering::SeqCst);
                next
            })
        }
    };
    let run = {
        let (progress, seed) = (progress.clone(), seed.clone());
        move || {
            let outcome = shuttle::future::block_on(scenario(seed.load(Ordering::SeqCst)));
            lock(&progress).failure = outcome.err();
        }
    };
    let ended = catch_unwind(AssertUnwindSafe(|| Runner::new(Seeded::new(next), config()).run(run)));
    let mut progress = lock(&progress);
    let failure = progress.failure.take().or_else(|| ended.err().map(|panic| said(&*panic)));
    match failure {
        Some(what) => {
            let (seed, what) = (seed.load(Ordering::SeqCst), what.replace('\n', "; "));
            Err(format!("ORLOP_RIG_SEED={seed} ORLOP_SCHEDULES=1 rig=schedules scenario={name}: {what}"))
        }
        None => Ok(Explored {
            schedules: progress.schedules,
            distinct: progress.traces.len() as u64,
            steps: progress.steps,
            trace: progress.trace,
        }),
    }
}

/// Runs `scenario` in every order there is: for a few steps of a few threads. Gives how many orders.
#[cfg(test)]
pub(crate) fn in_every_order(scenario: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(shuttle::scheduler::DfsScheduler::new(None, false), config()).run(scenario)
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    // The seed is what repeats it.
    config.failure_persistence = FailurePersistence::None;
    // That orderings of atomics all count as the strongest: docs/reliability.md says so.
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    config
}

fn lock<T>(progress: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}
