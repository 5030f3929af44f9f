//! `orlop bench`: loads a registry, any registry, and reports how it does.
//!
//! In: flags. For each chosen workload: workers are made, set up, measured and cleaned up after
//! ([`phase`]); what they have seen becomes a row of the [`report`]. Nothing here uses the engine or
//! the API crate: the client knows of a registry only what the distribution specification says.

use std::{
    fs,
    process::ExitCode,
    sync::{Arc, OnceLock, atomic::AtomicU64},
    thread,
    time::Instant,
};

use tokio_rustls::TlsConnector;

use crate::{
    exit::{Exit, Failure},
    open_files,
};

mod client;
mod content;
mod flags;
mod gauge;
mod histogram;
mod image;
mod own;
mod pace;
mod pattern;
mod phase;
mod random;
mod registry;
mod report;
mod tally;
mod target;
mod tls;
mod upload;
mod worker;
mod workload;
mod zot;

use client::{Client, Problem};
pub use flags::Flags;
use flags::Format;
use gauge::Gauge;
use pace::Slow;
use phase::{Phase, Progress};
use random::{Random, derive};
use registry::Session;
use report::{Outcome, Parameters, Phases, Report, Skipped};
use target::Target;
use worker::{Run, Shared, Worker};
use workload::{Amount, Ask, Plan, RateBasis, WORKLOADS, Workload};

/// Seeds have no more bits, so that every JSON reader keeps them whole.
const SEED_BITS: u32 = 48;

/// Runs the workloads that the flags choose. The exit code is 1 if any request failed.
/// Errors: flags that contradict each other, a registry that does not answer, a result that cannot
/// be written.
pub async fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let refused = |why: String| Failure::new(Exit::Configuration, why);
    let pattern = flags.pattern().map_err(refused)?;
    let chosen = WORKLOADS.iter().filter(|load| pattern.as_ref().is_none_or(|pattern| pattern.matches(load.name)));
    let chosen: Vec<&'static Workload> = chosen.collect();
    if flags.list_tests {
        chosen.iter().for_each(|workload| println!("{}", workload.name));
        return Ok(ExitCode::SUCCESS);
    }
    if chosen.is_empty() {
        return Err(refused("no workload has a name that --test-regex matches; --list-tests lists them".to_owned()));
    }
    open_files::raise_limit();
    let bench = Bench::new(flags).map_err(refused)?;
    bench.probe().await.map_err(|problem| Failure::new(Exit::Findings, problem))?;

    let mut report = bench.report();
    for workload in chosen {
        if workload.needs_upstream() && flags.upstream_server_url.is_none() {
            report.skipped.push(Skipped { name: workload.name, why: "needs --upstream-server-url" });
            continue;
        }
        let outcome = bench.run(workload).await;
        if flags.output_format != Format::Json {
            println!("{}", outcome.text());
        }
        report.failed |= outcome.has_failed();
        report.workloads.push(outcome);
    }
    write(&report, flags)?;
    Ok(if report.failed { Exit::Findings.into() } else { ExitCode::SUCCESS })
}

/// A run: what the flags say, resolved.
struct Bench<'a> {
    flags: &'a Flags,
    target: Arc<Target>,
    upstream: Option<Arc<Target>>,
    ask: Ask,
    /// If any of the registries speaks it.
    tls: Option<TlsConnector>,
    shared: Arc<Run>,
    gauge: Arc<Gauge>,
    progress: Progress,
}

impl<'a> Bench<'a> {
    fn new(flags: &'a Flags) -> Result<Self, String> {
        let target = flags.url.clone().ok_or("the URL of a registry is missing")?;
        let requests = flags.requests.unwrap_or(flags.concurrency);
        if requests < flags.concurrency {
            return Err(format!("--requests is {requests}; it must not be under --concurrency, {}", flags.concurrency));
        }
        let seed = match flags.seed {
            Some(seed) if seed >> SEED_BITS != 0 => return Err(format!("--seed must be below 2^{SEED_BITS}")),
            Some(seed) => seed,
            None => fresh_seed()?,
        };
        let upstream = flags.upstream_server_url.clone();
        let is_secure = target.https || upstream.as_ref().is_some_and(|upstream| upstream.https);
        Ok(Self {
            flags,
            target: Arc::new(target),
            upstream: upstream.map(Arc::new),
            ask: Ask {
                concurrency: flags.concurrency,
                amount: flags.duration.map_or(Amount::Requests(requests), Amount::Time),
                unique_bytes_max: flags.unique_bytes_max,
                slow_push_rate: flags.slow_push_rate,
            },
            tls: is_secure.then(|| tls::connector(flags.trust())).transpose()?,
            shared: Arc::new(Run::new(seed, flags.repo.as_deref())),
            gauge: Arc::default(),
            progress: Progress::new(flags.progress),
        })
    }

    /// Fails if the registry does not answer or does not take the credentials.
    async fn probe(&self) -> Result<(), Problem> {
        let mut session = self.session(&self.target);
        session.probe().await.map_err(|problem| Problem(format!("{} is not usable: {problem}", self.target)))
    }

    fn session(&self, target: &Arc<Target>) -> Session {
        let tls = self.tls.as_ref().filter(|_| target.https);
        let client = Client::new(target, self.flags.auth_creds.as_ref(), tls, &self.gauge);
        Session::new(client, &self.gauge)
    }

    fn report(&self) -> Report {
        let (requests, duration_seconds) = match self.ask.amount {
            Amount::Requests(requests) => (Some(requests), None),
            Amount::Time(time) => (None, Some(time.as_secs_f64())),
        };
        Report {
            client: concat!("orlop bench ", env!("CARGO_PKG_VERSION")),
            url: self.target.to_string(),
            parameters: Parameters {
                seed: self.shared.seed,
                concurrency: self.flags.concurrency,
                requests,
                duration_seconds,
                unique_bytes_max: self.flags.unique_bytes_max,
                slow_push_rate: self.flags.slow_push_rate,
                repo: self.flags.repo.clone(),
                filter: self.flags.test_regex.clone(),
                skip_cleanup: self.flags.skip_cleanup,
                client_threads: thread::available_parallelism().map_or(1, usize::from),
                connections_per_worker: 1,
            },
            workloads: Vec::new(),
            skipped: Vec::new(),
            failed: false,
        }
    }

    async fn run(&self, workload: &'static Workload) -> Outcome {
        let plan = workload.job.plan(&self.ask);
        let workers = self.workers(workload, &plan);
        if let Some(worker) = workers.first() {
            workload.job.prepare(worker);
        }
        let run = |phase, workers| phase::run(phase, workload, workers, &self.gauge, self.progress);
        let mut set_up = run(Phase::SetUp, workers).await;
        let mut workers = std::mem::take(&mut set_up.workers);
        let mut failed = !set_up.tally.failures.is_empty();
        let deadline = || plan.time.map(|time| Instant::now() + time);
        let mut idle = None;
        if !failed && workload.job.is_loaded() {
            let quota = plan.quota.filter(|_| plan.time.is_none());
            let seen = idle.insert(run(Phase::Idle { deadline: deadline(), quota }, workers).await);
            workers = std::mem::take(&mut seen.workers);
            failed = !seen.tally.failures.is_empty();
        }
        let mut measured = None;
        if !failed {
            let seen = measured.insert(run(Phase::Measure { deadline: deadline() }, workers).await);
            workers = std::mem::take(&mut seen.workers);
        }
        let cleanup = if self.flags.skip_cleanup { None } else { Some(run(Phase::CleanUp, workers).await) };
        let phases = Phases { set_up, idle, measured, cleanup };
        outcome(workload, &plan, &phases)
    }

    fn workers(&self, workload: &Workload, plan: &Plan) -> Vec<Worker> {
        let number = WORKLOADS.iter().position(|known| known.name == workload.name).unwrap_or_default();
        let seed = derive(self.shared.seed, number as u64);
        let pushers = (0..plan.workers).filter(|&index| workload.job.is_pusher(index)).count() as u64;
        let shared = Arc::new(Shared {
            seed,
            hot: OnceLock::new(),
            pushers,
            pushers_left: AtomicU64::new(pushers),
            slow: Slow::new(self.ask.slow_push_rate, self.ask.amount),
        });
        let worker = |index| Worker {
            session: self.session(&self.target),
            upstream: self.upstream.as_ref().map(|upstream| self.session(upstream)),
            run: Arc::clone(&self.shared),
            shared: Arc::clone(&shared),
            index,
            // Those that are measured under load go on as long as the others make it.
            quota: plan.quota.filter(|_| !workload.job.is_loaded() || workload.job.is_pusher(index)),
            random: Random::new(derive(seed, index)),
            blobs: Vec::new(),
            images: Vec::new(),
            pull_repos: Default::default(),
            pushed: Vec::new(),
            pushed_upstream: Vec::new(),
        };
        (0..plan.workers).map(worker).collect()
    }
}

fn outcome(workload: &Workload, plan: &Plan, phases: &Phases) -> Outcome {
    let basis = workload.job.basis();
    let planned = plan.quota.map(|quota| quota * plan.workers).filter(|_| !workload.job.is_loaded());
    let mut outcome = Outcome::new(workload.name, plan.workers, planned, basis, phases);
    let mut note = |text: &str| outcome.notes.push(text.to_owned());
    if basis == RateBasis::Whole {
        note("as zb: sparse layers, the same for the whole run; the rate is of the time with set-up and cleanup");
    }
    if plan.cut {
        note("fewer requests or workers than asked for, because of --unique-bytes-max");
    }
    if workload.job.is_loaded() {
        let pushers = (0..plan.workers).filter(|&index| workload.job.is_pusher(index)).count() as u64;
        let pullers = plan.workers - pushers;
        note(&format!("the requests are pulls by {pullers} workers, made beside the pushes of {pushers} others"));
        note("the part \"idle\" is the latency of the same pulls before, while nothing was pushed");
    }
    let measured = phases.measured.as_ref().map(|seen| seen.time);
    if plan.time.zip(measured).is_some_and(|(asked, took)| took < asked) {
        note("ended before its time: the prepared contents were used up");
    }
    outcome
}

fn write(report: &Report, flags: &Flags) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("cannot write the result: {error}"));
    match flags.output_format {
        Format::Json => println!("{}", serde_json::to_string_pretty(report).map_err(|error| failed(&error))?),
        Format::Text | Format::CiCd => {
            for Skipped { name, why } in &report.skipped {
                println!("skipped {name}: {why}");
            }
            println!("seed: {}", report.parameters.seed);
        }
    }
    if flags.output_format == Format::CiCd {
        let file = &flags.ci_cd_file;
        let written = fs::write(file, report.ci_cd().to_string());
        written.map_err(|error| failed(&format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

/// A seed that no run had before.
fn fresh_seed() -> Result<u64, String> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("no random seed: {error}; give one with --seed"))?;
    Ok(u64::from_le_bytes(bytes) >> (u64::BITS - SEED_BITS))
}
