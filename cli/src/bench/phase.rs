//! A workload's phases: all workers set up, then all are measured, then all clean up. Where workers
//! make load for others to be measured under, those others are measured without it first.
//!
//! In: workers. Out: the workers and what they have seen. No phase begins before every worker has
//! ended the one before, and none hangs: a phase that moves nothing for a while is stopped.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    client::Problem,
    gauge::Gauge,
    tally::Tally,
    worker::Worker,
    workload::{Job, RateBasis, Step, Workload},
};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// How long a phase may go on without a request answered or a byte moved. Registries that check a
/// large blob after its last byte are silent for seconds.
const STALL_TIME_MAX: Duration = Duration::from_secs(60);

/// Failures in a row after which a worker gives up.
const FAILURES_IN_A_ROW_MAX: u32 = 16;

/// Of `/proc/self/stat`, on every Linux architecture that Rust supports.
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    SetUp,
    /// The load is not made yet: what is measured has the registry for itself, until the deadline
    /// or for so many requests of each worker.
    Idle {
        deadline: Option<Instant>,
        quota: Option<u64>,
    },
    Measure {
        deadline: Option<Instant>,
    },
    CleanUp,
}

/// What the workers have seen in a phase.
pub struct Seen {
    pub workers: Vec<Worker>,
    pub tally: Tally,
    pub time: Duration,
    /// Time on processors that this process took, in seconds.
    pub cpu_seconds: f64,
}

/// Shows how a phase goes on; a line on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    shown: bool,
    terminal: bool,
}

impl Progress {
    /// Shown on a terminal, or always if `forced`.
    pub fn new(forced: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { shown: forced || terminal, terminal }
    }

    fn line(self, text: &str) {
        if self.shown {
            let (start, end) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
            let mut stderr = io::stderr().lock();
            // Progress that cannot be shown is no reason to end.
            let _ = write!(stderr, "{start}{text}{end}").and_then(|()| stderr.flush());
        }
    }

    fn clear(self) {
        if self.terminal {
            self.line("");
        }
    }
}

/// Runs a phase of `workload` in all `workers`.
pub async fn run(
    phase: Phase,
    workload: &Workload,
    workers: Vec<Worker>,
    gauge: &Arc<Gauge>,
    progress: Progress,
) -> Seen {
    let mut tasks = JoinSet::new();
    let mut stops = Vec::new();
    let (cpu_before, start) = (cpu_seconds(), Instant::now());
    for worker in workers {
        let (stop, stopped) = oneshot::channel();
        stops.push(stop);
        tasks.spawn(work(phase, workload.job, worker, stopped));
    }
    let mut seen = Seen { workers: Vec::new(), tally: Tally::default(), time: Duration::ZERO, cpu_seconds: 0.0 };
    let mut watch = Watch::new(gauge);
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                None => break,
                Some(Ok(mut worker)) => {
                    seen.tally.merge(&std::mem::take(&mut worker.session.tally));
                    seen.workers.push(worker);
                }
                Some(Err(error)) => seen.tally.fail(&Problem(format!("a worker ended: {error}"))),
            },
            _ = ticks.tick() => {
                progress.line(&watch.line(phase, workload.name, start.elapsed()));
                if watch.is_stalled() {
                    // A worker that has ended does not listen any more.
                    stops.drain(..).for_each(|stop| _ = stop.send(()));
                }
            }
        }
    }
    seen.time = start.elapsed();
    seen.cpu_seconds = cpu_seconds() - cpu_before;
    seen.workers.sort_by_key(|worker| worker.index);
    progress.clear();
    seen
}

async fn work(phase: Phase, job: Job, mut worker: Worker, stopped: oneshot::Receiver<()>) -> Worker {
    let done = async {
        match phase {
            Phase::SetUp => {
                if let Err(problem) = set_up(job, &mut worker).await {
                    worker.session.tally.fail(&problem);
                }
            }
            Phase::Idle { deadline, quota } => {
                if !job.is_pusher(worker.index) {
                    measure(job, &mut worker, quota, deadline).await;
                }
            }
            Phase::Measure { deadline } => {
                let quota = worker.quota;
                measure(job, &mut worker, quota, deadline).await;
            }
            Phase::CleanUp => worker.clean_up(matches!(job, Job::Zot(_))).await,
        }
    };
    let is_stopped = tokio::select! {
        biased;
        () = done => false,
        // The sender lives as long as the phase, so this is no error.
        _ = stopped => true,
    };
    if is_stopped {
        worker.session.disconnect();
        let seconds = STALL_TIME_MAX.as_secs();
        worker.session.tally.fail(&Problem(format!("stopped: nothing was answered for {seconds} s")));
    }
    if matches!(phase, Phase::Measure { .. }) && job.is_pusher(worker.index) {
        worker.shared.pushers_left.fetch_sub(1, Ordering::Release);
    }
    worker
}

async fn set_up(job: Job, worker: &mut Worker) -> Result<(), Problem> {
    job.set_up(worker).await?;
    match job.basis() {
        RateBasis::Whole => Ok(()),
        // Every worker is connected before the clock starts, also those that had nothing to push.
        RateBasis::Measured => worker.session.probe().await,
    }
}

async fn measure(job: Job, worker: &mut Worker, quota: Option<u64>, deadline: Option<Instant>) {
    let mut failures_in_a_row = 0;
    let mut index = 0;
    let mut start = Instant::now();
    while quota.is_none_or(|quota| index < quota) && deadline.is_none_or(|deadline| start < deadline) {
        let step = job.step(worker, index).await;
        let end = Instant::now();
        let time = end - start;
        let tally = &mut worker.session.tally;
        failures_in_a_row = if step.is_err() { failures_in_a_row + 1 } else { 0 };
        match step {
            Ok(Step::Counted) => tally.latency.record(time),
            Ok(Step::Took(time)) => tally.latency.record(time),
            Ok(Step::Aside(part)) => tally.part(part, time),
            Ok(Step::Spent) => return,
            Err(problem) => tally.fail(&problem),
        }
        if failures_in_a_row == FAILURES_IN_A_ROW_MAX {
            return;
        }
        index += 1;
        start = end;
    }
}

/// Sees from the gauge how fast a phase goes, and whether it goes at all.
struct Watch {
    gauge: Arc<Gauge>,
    last: (u64, u64),
    first: (u64, u64),
    moved: Instant,
    looked: Instant,
}

impl Watch {
    fn new(gauge: &Arc<Gauge>) -> Self {
        let (now, read) = (Instant::now(), gauge.read());
        Self { gauge: Arc::clone(gauge), last: read, first: read, moved: now, looked: now }
    }

    fn line(&mut self, phase: Phase, name: &str, elapsed: Duration) -> String {
        let now = Instant::now();
        let (requests, bytes) = self.gauge.read();
        let seconds = (now - self.looked).as_secs_f64().max(f64::EPSILON);
        let per_second = (requests - self.last.0) as f64 / seconds;
        let megabytes = (bytes - self.last.1) as f64 / seconds / 1e6;
        if (requests, bytes) != self.last {
            self.moved = now;
        }
        (self.last, self.looked) = ((requests, bytes), now);
        let phase = match phase {
            Phase::SetUp => "set-up",
            Phase::Idle { .. } => "measuring idle",
            Phase::Measure { .. } => "measuring",
            Phase::CleanUp => "cleanup",
        };
        let total = requests - self.first.0;
        let seconds = elapsed.as_secs();
        format!("{name}: {phase} {seconds} s, {total} HTTP requests, {per_second:.0}/s, {megabytes:.0} MB/s")
    }

    fn is_stalled(&self) -> bool {
        self.moved.elapsed() > STALL_TIME_MAX
    }
}

/// User and system time of this process so far, in steps of 10 ms; 0 where Linux does not say.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): fields 14 and 15; the second, in parentheses, may hold anything.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / CLOCK_TICKS_PER_SECOND
}
