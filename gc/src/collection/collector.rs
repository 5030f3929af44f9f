//! Collection in the background: the clock of the epochs, runs in an interval or on request, one at
//! a time, on terms that may change meanwhile.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use orlop_engine::Engine;
use serde::Serialize;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    Clock,
    options::Options,
    report::Report,
    run::{Flow, collect},
    window::Window,
};
use crate::{
    maintenance::{Governed, maintain},
    retention::Retention,
};

/// The most that a run is put off at random, so that many servers do not begin together.
const JITTER_MAX: Duration = Duration::from_secs(30);

/// The longest sleep until a window opens. The wall clock may be set meanwhile.
const WINDOW_SLEEP_MAX: Duration = Duration::from_secs(30);

/// When runs begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub clock: Clock,
    pub runs: Runs,
    /// Runs begin by themselves, and go on, only while it is open. One that did not come to its end
    /// goes on when it opens again. Runs on request are not bound to it.
    pub window: Option<Window>,
}

/// When runs begin by themselves; on request they always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    Never,
    /// Soon after the start.
    Once,
    /// So long after the end of the last one, and a little at random.
    Every(Duration),
}

impl Runs {
    /// How long to wait for the next run, of which this is the first or not.
    fn wait(self, is_first: bool) -> Option<Duration> {
        match self {
            Runs::Every(interval) if is_first => Some(jitter(interval)),
            Runs::Every(interval) => Some(interval + jitter(interval)),
            Runs::Once if is_first => Some(jitter(JITTER_MAX)),
            Runs::Once | Runs::Never => None,
        }
    }
}

/// Runs collections of one engine. Cloning shares it.
#[derive(Clone)]
pub struct Collector {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    terms: Mutex<Arc<Terms>>,
    state: Mutex<State>,
    /// Somebody asked for a run.
    asked: Notify,
    is_stopping: AtomicBool,
    /// It is to stop, or has other terms.
    woken: Arc<Notify>,
    /// The epochs have another length.
    rewound: Notify,
}

/// What runs go by.
struct Terms {
    options: Options,
    /// Policies that a run follows and applies before.
    retention: Option<Arc<Retention>>,
    /// `None` before the background began.
    schedule: Option<Schedule>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    /// With its window: it has to go on.
    Late,
    /// For there are other terms: what was still to be done is judged anew.
    Changed,
}

#[derive(Default)]
struct State {
    /// How far the run is that is under way.
    running: Option<Report>,
    /// A run was asked for and has not begun.
    is_asked: bool,
    last: Option<Report>,
    last_error: Option<String>,
    runs: u64,
    /// The next run waits for the window to open.
    waits_for_window: bool,
}

/// What the collector does and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub epoch: u64,
    /// About how many entries the garbage table has.
    pub candidates: u64,
    /// Runs that ended.
    pub runs: u64,
    /// A run is due, and waits for its part of the day.
    pub waits_for_window: bool,
    /// How far a run under way is.
    pub running: Option<Report>,
    /// The last run that ended.
    pub last: Option<Report>,
    /// Why the last run failed, if it did.
    pub error: Option<String>,
}

impl Collector {
    pub fn new(engine: Engine, options: Options) -> Self {
        Collector::with(engine, options, None)
    }

    /// Each run begins with removing the names that the policies drop. Then it keeps the documents
    /// without a name that they keep, whatever `options.keep` is.
    pub fn governed(engine: Engine, options: Options, retention: Arc<Retention>) -> Self {
        Collector::with(engine, options, Some(retention))
    }

    fn with(engine: Engine, options: Options, retention: Option<Arc<Retention>>) -> Self {
        Collector {
            shared: Arc::new(Shared {
                engine,
                terms: Mutex::new(Arc::new(Terms { options, retention, schedule: None })),
                state: Mutex::default(),
                asked: Notify::new(),
                is_stopping: AtomicBool::new(false),
                woken: Arc::default(),
                rewound: Notify::new(),
            }),
        }
    }

    /// Lets runs follow other options, policies and times from now on. A run under way ends after the few steps it
    /// is at and begins anew, so that nothing goes by terms that are no longer wanted. What waits at a change of
    /// the clock waits no shorter than by the shorter one.
    pub fn change(&self, options: Options, retention: Arc<Retention>, schedule: Schedule) {
        let next = Terms { options, retention: Some(retention), schedule: Some(schedule) };
        let before = std::mem::replace(&mut *self.shared.terms_held(), Arc::new(next));
        if before.schedule.is_none_or(|before| before.clock != schedule.clock) {
            self.shared.rewound.notify_one();
        }
        self.shared.woken.notify_one();
    }

    /// Asks for a run as soon as possible. Gives whether this is new: false while one is under way
    /// or asked for.
    pub fn start(&self) -> bool {
        let mut state = self.shared.state();
        if state.running.is_some() || state.is_asked {
            return false;
        }
        state.is_asked = true;
        self.shared.asked.notify_one();
        true
    }

    pub fn status(&self) -> Status {
        let engine = &self.shared.engine;
        let state = self.shared.state();
        Status {
            epoch: engine.epoch(),
            candidates: engine.candidates_estimate(),
            runs: state.runs,
            waits_for_window: state.waits_for_window,
            running: state.running.clone(),
            last: state.last.clone(),
            error: state.last_error.clone(),
        }
    }

    /// Begins to work in the background. Call inside a tokio runtime.
    pub fn spawn(&self, schedule: Schedule) -> Background {
        {
            let mut terms = self.shared.terms_held();
            let Terms { options, retention, .. } = &**terms;
            let (options, retention) = (options.clone(), retention.clone());
            *terms = Arc::new(Terms { options, retention, schedule: Some(schedule) });
        }
        let clock = tokio::spawn(tick(self.shared.clone()));
        let runs = tokio::spawn(run_all(self.shared.clone()));
        Background { shared: self.shared.clone(), clock, runs }
    }
}

/// The tasks of a collector.
pub struct Background {
    shared: Arc<Shared>,
    clock: JoinHandle<()>,
    runs: JoinHandle<()>,
}

impl Background {
    /// Ends the tasks; a run under way ends after the few steps it is at.
    pub async fn stop(self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.shared.woken.notify_one();
        if self.runs.await.is_err() {
            tracing::error!("the collector panicked");
        }
        self.clock.abort();
    }
}

/// Advances the epoch: at most once in its length, by a clock that only goes forward.
async fn tick(shared: Arc<Shared>) {
    loop {
        let epoch = shared.schedule().clock.epoch();
        let mut ticks = interval_at(Instant::now() + epoch, epoch);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shared.rewound.notified() => break,
            }
            if let Err(error) = shared.engine.advance_epoch().await {
                tracing::warn!(%error, "the epoch could not be advanced; nothing is collected meanwhile");
                return;
            }
        }
    }
}

/// Why a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Asked,
    /// By itself, and bound to this window if there is one.
    Due(Option<Window>),
}

async fn run_all(shared: Arc<Shared>) {
    let mut is_first = true;
    let mut since = Instant::now();
    let mut wait = shared.schedule().runs.wait(is_first);
    loop {
        let window = shared.schedule().window;
        let due = async {
            match wait {
                Some(wait) => sleep(wait.saturating_sub(since.elapsed())).await,
                None => std::future::pending().await,
            }
            if let Some(window) = window {
                shared.wait_for(window).await;
            }
        };
        let begun = tokio::select! {
            () = shared.woken.notified() => None,
            () = shared.asked.notified() => Some(Begun::Asked),
            () = due => Some(Begun::Due(window)),
        };
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        let end = match begun {
            Some(begun) => shared.run(begun).await,
            None => {
                shared.state().waits_for_window = false;
                wait = shared.schedule().runs.wait(is_first);
                continue;
            }
        };
        if shared.is_stopping.load(Ordering::SeqCst) {
            return;
        }
        is_first = false;
        since = Instant::now();
        let runs = shared.schedule().runs;
        wait = match end {
            End::Over => runs.wait(false),
            // One that was asked for was asked for again.
            End::Changed if begun == Some(Begun::Asked) => runs.wait(false),
            End::Changed if runs == Runs::Never => None,
            End::Late | End::Changed => Some(Duration::ZERO),
        };
    }
}

/// A random part of a tenth of the interval.
pub(crate) fn jitter(interval: Duration) -> Duration {
    let most = (interval / 10).min(JITTER_MAX);
    let random = RandomState::new().hash_one(0u8);
    most.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }

    fn terms_held(&self) -> std::sync::MutexGuard<'_, Arc<Terms>> {
        self.terms.lock().expect("no panic holds it")
    }

    fn terms(&self) -> Arc<Terms> {
        self.terms_held().clone()
    }

    fn schedule(&self) -> Schedule {
        self.terms().schedule.expect("it is set before the tasks begin, and stays")
    }

    fn is_open(&self, window: Window) -> bool {
        window.is_open(self.engine.clock().unix_ms)
    }

    /// Waits until a window is open, in short sleeps: the wall clock may be set meanwhile.
    async fn wait_for(&self, window: Window) {
        while !self.is_open(window) {
            self.state().waits_for_window = true;
            let opens_in = window.opens_in(self.engine.clock().unix_ms);
            sleep(opens_in.min(WINDOW_SLEEP_MAX)).await;
            if self.is_open(window) {
                // It opens for many servers at the same time.
                sleep(jitter(10 * JITTER_MAX)).await;
            }
        }
    }

    /// One run, by the terms at its begin.
    async fn run(&self, begun: Begun) -> End {
        let terms = self.terms();
        {
            let mut state = self.state();
            state.is_asked = false;
            state.waits_for_window = false;
            state.running = Some(Report { epoch: self.engine.epoch(), ..Report::default() });
        }
        let is_changed = || !Arc::ptr_eq(&terms, &self.terms_held());
        let mut is_late = false;
        let mut progress = |so_far: &Report| {
            self.state().running = Some(so_far.clone());
            is_late = matches!(begun, Begun::Due(Some(window)) if !self.is_open(window));
            let goes_on = !is_late && !is_changed() && !self.is_stopping.load(Ordering::SeqCst);
            if goes_on { Flow::Continue(()) } else { Flow::Break(()) }
        };
        let outcome = match terms.retention.clone() {
            Some(retention) => {
                let governed = Governed { retention, stopping: self.woken.clone() };
                maintain(&self.engine, &terms.options, &governed, &mut progress).await
            }
            None => collect(&self.engine, &terms.options, &mut progress).await,
        };
        if is_late {
            tracing::info!("the time window of collection is over; the run goes on in the next one");
        }
        let mut state = self.state();
        state.running = None;
        state.runs += 1;
        match outcome {
            Ok(report) => {
                if !report.is_empty() {
                    tracing::info!(removed = %report.removed, duration_ms = report.duration_ms, "collection");
                }
                state.last_error = None;
                state.last = Some(report);
            }
            Err(error) => {
                tracing::warn!(%error, "a collection ended early; the next one goes on");
                state.last_error = Some(error.to_string());
            }
        }
        if is_changed() {
            if begun == Begun::Asked {
                state.is_asked = true;
                self.asked.notify_one();
            }
            return End::Changed;
        }
        if is_late { End::Late } else { End::Over }
    }
}
