//! Scrub in the background: one pass at a time, in an interval or on request, taken up again where an
//! earlier process stopped.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use orlop_engine::{
    Engine, Error, Result,
    scrub::{Inspector, Pass, lower_priority},
};
use serde::Serialize;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::sleep,
};

use super::{
    options::ScrubOptions,
    run::{PassReport, run},
};
use crate::collection::{Flow, jitter};

/// The most that a pass is put off at random after the start, so that many servers do not begin together.
const START_DELAY_MAX: Duration = Duration::from_secs(30);

/// How long to wait after a pass that ended with an error.
const RETRY: Duration = Duration::from_secs(600);

/// Looks through the content of one engine. Cloning shares it.
#[derive(Clone)]
pub struct Scrubber {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    options: Mutex<ScrubOptions>,
    state: Mutex<State>,
    /// Somebody asked for a pass.
    asked: Notify,
    is_stopping: AtomicBool,
    /// It is to stop, or has other options.
    woken: Notify,
}

#[derive(Default)]
struct State {
    /// How far the pass is that is under way.
    running: Option<Pass>,
    /// A pass was asked for and has not begun.
    is_asked: bool,
    /// A pass that was interrupted.
    interrupted: Option<Pass>,
    last: Option<Pass>,
    error: Option<String>,
    passes: u64,
}

/// What the scrubber does and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ScrubStatus {
    /// Seconds from the end of a pass to the next; `None`: only on request.
    pub interval_s: Option<u64>,
    /// Bytes in a second; `None`: no limit.
    pub rate_bytes_max: Option<u64>,
    /// Passes that ended since the start.
    pub passes: u64,
    /// How far a pass under way is.
    pub running: Option<PassReport>,
    /// How far a pass came that is going to be taken up again.
    pub interrupted: Option<PassReport>,
    /// The last pass that ended, perhaps of an earlier process.
    pub last: Option<PassReport>,
    /// About how many blobs there are.
    pub blobs: u64,
    /// Blobs that are damaged now, whoever found it.
    pub damaged: u64,
    /// Why the last pass ended early, if it did.
    pub error: Option<String>,
}

impl Scrubber {
    pub fn new(engine: Engine, options: ScrubOptions) -> Self {
        let shared = Shared {
            engine,
            options: Mutex::new(options),
            state: Mutex::default(),
            asked: Notify::new(),
            is_stopping: AtomicBool::new(false),
            woken: Notify::new(),
        };
        Scrubber { shared: Arc::new(shared) }
    }

    pub fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Sets when and how fast from now on. A pass under way goes on by it; without an interval it waits until
    /// somebody asks, unless somebody had.
    pub fn change(&self, options: ScrubOptions) {
        *self.shared.options_held() = options;
        self.shared.woken.notify_one();
    }

    /// Asks for a pass as soon as possible; one that was interrupted goes on. Gives whether this is new:
    /// false while one is under way or asked for.
    pub fn start(&self) -> bool {
        let mut state = self.shared.state();
        if state.running.is_some() || state.is_asked {
            return false;
        }
        state.is_asked = true;
        self.shared.asked.notify_one();
        true
    }

    pub fn status(&self) -> ScrubStatus {
        let (engine, options) = (&self.shared.engine, self.shared.options());
        let state = self.shared.state();
        ScrubStatus {
            interval_s: options.interval.map(|interval| interval.as_secs()),
            rate_bytes_max: options.rate_bytes_max,
            passes: state.passes,
            running: state.running.map(PassReport::from),
            interrupted: state.interrupted.map(PassReport::from),
            last: state.last.map(PassReport::from),
            blobs: engine.blobs_estimate(),
            damaged: engine.damaged_count(),
            error: state.error.clone(),
        }
    }

    /// Begins to work in the background, on a thread of its own with the lowest priority. Call inside a
    /// tokio runtime, which must have a thread beside the one that is going to wait for the end.
    ///
    /// Errors: `Io` if there can be no thread.
    pub fn spawn(&self) -> Result<Scrubbing> {
        let (runtime, shared) = (Handle::current(), self.shared.clone());
        let (over, ended) = oneshot::channel();
        let work = move || {
            lower_priority();
            runtime.block_on(shared.run_all());
            // Whoever waits may end the process next, and then nothing may still close the store.
            drop(shared);
            let _ = over.send(());
        };
        let failed = |source: io::Error| Error::Io { context: "starting the scrub's thread", source };
        thread::Builder::new().name("scrub".to_owned()).spawn(work).map_err(failed)?;
        Ok(Scrubbing { shared: self.shared.clone(), ended })
    }
}

/// The thread of a scrubber.
pub struct Scrubbing {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

impl Scrubbing {
    /// Ends the thread after the read it is at. A pass under way is taken up again by the next process.
    pub async fn stop(self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.shared.woken.notify_one();
        if self.ended.await.is_err() {
            tracing::error!("the scrub panicked");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }

    fn options_held(&self) -> MutexGuard<'_, ScrubOptions> {
        self.options.lock().expect("no panic holds it")
    }

    fn options(&self) -> ScrubOptions {
        *self.options_held()
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    async fn run_all(&self) {
        let inspector = self.engine.inspector();
        match self.engine.passes().await {
            Ok(passes) => {
                let mut state = self.state();
                (state.interrupted, state.last) = (passes.current, passes.last);
            }
            Err(error) => self.state().error = Some(error.to_string()),
        }
        let mut wait = self.wait(jitter(10 * START_DELAY_MAX));
        while !self.is_stopping() {
            let due = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                () = self.woken.notified() => {
                    wait = self.wait(jitter(self.options().interval.unwrap_or_default()));
                    continue;
                }
                () = self.asked.notified() => true,
                () = due => false,
            };
            let is_whole = self.pass(&inspector, is_asked).await;
            wait = self.wait(if is_whole { Duration::ZERO } else { RETRY });
        }
    }

    /// How long to wait for the next pass, at least `least`. `None`: until somebody asks.
    fn wait(&self, least: Duration) -> Option<Duration> {
        let interval = self.options().interval?;
        let state = self.state();
        let due = match (state.interrupted, state.last.and_then(|last| last.ended)) {
            (None, Some(ended)) => {
                let since = self.engine.clock().clock_ms.saturating_sub(ended.clock_ms);
                interval.saturating_sub(Duration::from_millis(since))
            }
            _ => Duration::ZERO,
        };
        Some(due.max(least))
    }

    /// Runs a pass or goes on with one. Gives whether it came to its end, or was told to stop.
    async fn pass(&self, inspector: &Inspector, is_asked: bool) -> bool {
        let options = self.options();
        let begun = {
            let mut state = self.state();
            state.is_asked = false;
            let begun = state.interrupted.unwrap_or_else(|| Pass { started: self.engine.clock(), ..Pass::default() });
            state.running = Some(begun);
            begun
        };
        let mut progress = |pass: Pass| {
            self.state().running = Some(pass);
            let goes_on = !self.is_stopping() && self.options() == options;
            if goes_on { Flow::Continue(()) } else { Flow::Break(()) }
        };
        let mut wait = async |wait: Duration| {
            tokio::select! {
                () = self.woken.notified() => {}
                () = sleep(wait) => {}
            }
        };
        let outcome = run(inspector, &options, begun, &mut progress, &mut wait).await;
        let mut state = self.state();
        let reached = state.running.take();
        match outcome {
            Ok(pass) if pass.ended.is_some() => {
                let report = PassReport::from(pass);
                tracing::info!(
                    blobs = report.blobs,
                    bytes = report.bytes,
                    damaged = report.damaged,
                    known = report.known,
                    recovered = report.recovered,
                    skipped = report.skipped,
                    "a scrub of everything ended"
                );
                state.passes += 1;
                (state.interrupted, state.last, state.error) = (None, Some(pass), None);
                true
            }
            Ok(pass) => {
                state.interrupted = Some(pass);
                if is_asked && !self.is_stopping() {
                    state.is_asked = true;
                    self.asked.notify_one();
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a scrub ended early; it is going to be taken up again");
                state.interrupted = reached;
                state.error = Some(error.to_string());
                false
            }
        }
    }
}
