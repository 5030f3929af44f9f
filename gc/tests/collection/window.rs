//! The part of the day in which the collector runs by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orlop_engine::{
    Engine, Namespace,
    environment::{Environment, System},
};
use orlop_gc::{Background, Clock, Collector, Keep, Options, Rules, Runs, Schedule, Window};
use tokio::time::Instant;

use crate::common::*;

const HOUR_MS: u64 = 3_600_000;
const HOUR: Duration = Duration::from_millis(HOUR_MS);
const MINUTE: Duration = Duration::from_secs(60);

/// Turns of the runtime in which every task that can go on has done so.
const TURNS: u32 = 64;

/// A wall clock that goes with tokio's, which the tests pause, and that can be set.
struct Wall {
    system: System,
    started: Instant,
    at_start_ms: AtomicU64,
}

impl Wall {
    fn new(unix_ms: u64) -> Arc<Self> {
        Arc::new(Wall { system: System::default(), started: Instant::now(), at_start_ms: AtomicU64::new(unix_ms) })
    }

    fn set(&self, unix_ms: u64) {
        let elapsed = self.unix_ms() - self.at_start_ms.load(Ordering::SeqCst);
        self.at_start_ms.store(unix_ms.saturating_sub(elapsed), Ordering::SeqCst);
    }
}

impl Environment for Wall {
    fn unix_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).expect("short");
        self.at_start_ms.load(Ordering::SeqCst) + elapsed
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }

    fn random(&self) -> u128 {
        self.system.random()
    }
}

/// Three o'clock to five.
fn window() -> Window {
    Window::new(3 * 60, 5 * 60).expect("a window")
}

fn day(hour: u64) -> u64 {
    20_000 * 24 * HOUR_MS + hour * HOUR_MS
}

/// A store at an hour of the day with garbage that may go, and its wall clock.
async fn filled(hour: u64, garbage: u64) -> (Engine, Namespace, Arc<Wall>) {
    stay_awake();
    let mut parts = Parts::new(3);
    let wall = Wall::new(day(hour));
    parts.options.environment = wall.clone();
    let engine = parts.open().await;
    engine.waive_earlier_answers();
    let a = namespace("a");
    for number in 0..garbage {
        push(&engine, &a, &content(2 * number)).await.expect("pushed");
    }
    advance(&engine, LEASE + 1).await;
    (engine, a, wall)
}

fn at_once() -> Options {
    Options { delay: 0, document_delay: 0, ..Options::default() }
}

/// Its epochs are too long to begin by themselves.
fn spawn(collector: &Collector, runs: Runs) -> Background {
    let clock = Clock::of_lease(10_000 * HOUR);
    collector.spawn(Schedule { clock, runs, window: Some(window()) })
}

/// Keeps the runtime busy. One that is never idle does not move a paused clock by itself, which it
/// would do while it waits for the commit thread.
fn stay_awake() {
    tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
}

/// Lets time pass, a minute at once, and every run that begins come to its end.
async fn pass(collector: &Collector, time: Duration) {
    for _ in 0..time.as_secs() / MINUTE.as_secs() {
        tokio::time::advance(MINUTE).await;
        turns().await;
        while collector.status().running.is_some() {
            turns().await;
        }
    }
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

async fn members(engine: &Engine, ns: &Namespace) -> usize {
    let ns = ns.clone();
    engine.survey(move |view| view.members(&ns, 10_000)).await.expect("listed").len()
}

#[tokio::test(start_paused = true)]
async fn runs_begin_by_themselves_only_while_it_is_open() {
    let (engine, _, _) = filled(0, 1).await;
    let collector = Collector::new(engine.clone(), at_once());
    let background = spawn(&collector, Runs::Every(HOUR / 4));
    pass(&collector, 2 * HOUR).await;
    let status = collector.status();
    assert!(status.runs == 0 && status.waits_for_window, "it is two o'clock: {status:?}");
    pass(&collector, HOUR * 3 / 2).await;
    let status = collector.status();
    assert!(status.runs > 0 && !status.waits_for_window, "half past three: {status:?}");
    assert_eq!(status.last.expect("a report").removed.contents, 0, "the first run took it: {}", status.runs);
    pass(&collector, 2 * HOUR).await;
    let runs = collector.status().runs;
    assert!(runs >= 4, "an hour and a half had room for more than {runs}");
    pass(&collector, 20 * HOUR).await;
    assert_eq!(collector.status().runs, runs, "from half past five to half past one");
    pass(&collector, 3 * HOUR).await;
    assert!(collector.status().runs > runs, "the next day");
    background.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_on_request_is_not_bound_to_it() {
    let (engine, a, _) = filled(12, 3).await;
    let collector = Collector::new(engine.clone(), at_once());
    let background = spawn(&collector, Runs::Every(HOUR));
    assert!(collector.start());
    pass(&collector, MINUTE).await;
    assert_eq!(collector.status().runs, 1);
    assert_eq!(members(&engine, &a).await, 0);
    background.stop().await;
}

/// Lets the window end while a plan is made.
struct Late {
    wall: Arc<Wall>,
    plans: AtomicU64,
}

impl Keep for Late {
    fn rules(&self, _namespace: &Namespace) -> Rules {
        if self.plans.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wall.set(day(12));
        }
        Rules::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_stops_when_it_ends_and_goes_on_in_the_next_one() {
    const GARBAGE: u64 = 300;
    let (engine, a, wall) = filled(4, GARBAGE).await;
    push_document(&engine, &a, b"document", Vec::new(), None).await.expect("pushed");
    advance(&engine, LEASE + 1).await;
    let keep = Arc::new(Late { wall: wall.clone(), plans: AtomicU64::new(0) });
    let collector = Collector::new(engine.clone(), Options { keep, ..at_once() });
    // Once: it must come to its end nevertheless.
    let background = spawn(&collector, Runs::Once);
    pass(&collector, HOUR).await;
    let status = collector.status();
    let report = status.last.clone().expect("a report");
    let left = members(&engine, &a).await as u64;
    assert!(!report.is_complete && status.waits_for_window, "{status:?}");
    assert!(left > GARBAGE / 2 && report.removed.members == GARBAGE + 1 - left, "one step, {left} are left: {report}");

    pass(&collector, 20 * HOUR).await;
    let status = collector.status();
    assert_eq!((status.runs, members(&engine, &a).await), (2, 0), "{status:?}");
    assert!(status.last.expect("a report").is_complete);
    pass(&collector, 48 * HOUR).await;
    assert_eq!(collector.status().runs, 2, "then it is over");
    background.stop().await;
}

/// The clock lies by ten years, and is set: runs begin by what it says, without a long wait.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_moves_runs_and_nothing_else() {
    const TEN_YEARS_MS: u64 = 3650 * 24 * HOUR_MS;
    let (engine, a, wall) = filled(12, 3).await;
    let epoch = engine.epoch();
    let collector = Collector::new(engine.clone(), Options { delay: LEASE + 5, ..at_once() });
    let background = spawn(&collector, Runs::Every(HOUR));
    pass(&collector, 2 * HOUR).await;
    assert_eq!(collector.status().runs, 0, "two in the afternoon");
    for there in [day(3) + TEN_YEARS_MS, day(4) - TEN_YEARS_MS] {
        let runs = collector.status().runs;
        wall.set(there);
        pass(&collector, 5 * MINUTE).await;
        assert_eq!(collector.status().runs, runs + 1, "the window is open now");
        wall.set(day(12));
        pass(&collector, 2 * HOUR).await;
        assert_eq!(collector.status().runs, runs + 1, "and closed again");
    }
    assert_eq!((engine.epoch(), members(&engine, &a).await), (epoch, 3), "the delay is counted in epochs");
    background.stop().await;
}
