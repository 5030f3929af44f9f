//! One workload, crashed everywhere.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, LazyLock},
};

use orlop_engine::{
    Engine, Options, check,
    index::MemoryIndex,
    io::{SimDisk, Synced},
};

use crate::{
    facts::Facts,
    workload::{INLINE_BYTES_MAX, Random, Workload, collect},
};

/// Crash states tried at one point.
const STATES_MAX: u64 = 64;

/// Small, so that crashes meet checkpoints and files. Made once: the defaults ask the machine.
static OPTIONS: LazyLock<Options> = LazyLock::new(|| Options {
    inline_bytes_max: INLINE_BYTES_MAX,
    checkpoint_bytes: 6000,
    lease_epochs: 2,
    ..Options::default()
});

/// A sync that does nothing.
#[derive(Debug, Clone, Copy)]
pub enum Lie {
    Disk(Synced),
    Index,
}

/// Where the power fails.
#[derive(Debug, Clone, Copy)]
enum Crash {
    Never,
    DiskOperation(u64),
    IndexWrite(u64),
}

#[derive(Debug, Default)]
pub struct Report {
    pub workloads: u64,
    pub points: u64,
    pub states: u64,
    /// Of these, how many differed from the others of their crash point; the others need no recovery.
    pub distinct: u64,
    pub recoveries: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { workloads, points, states, distinct, recoveries } = self;
        write!(
            f,
            "{workloads} workloads, {points} crash points, {states} crash states, {distinct} of them distinct, "
        )?;
        write!(f, "{recoveries} recoveries")
    }
}

pub struct Rig {
    pub seed: u64,
    pub lie: Option<Lie>,
    /// Ends when the report has so many.
    pub states_max: u64,
}

/// A store in memory, with its parts.
struct Parts {
    disk: SimDisk,
    index: Arc<MemoryIndex>,
}

/// What a workload came to.
struct Crashed {
    parts: Parts,
    facts: Facts,
    /// Whether the crash came before its end.
    is_crashed: bool,
}

impl Parts {
    async fn open(&self) -> Result<Engine, String> {
        let opened = Engine::simulated(Arc::new(self.disk.clone()), self.index.clone(), OPTIONS.clone()).await;
        opened.map_err(|error| format!("opening: {error}"))
    }

    async fn check(&self) -> Result<check::Report, String> {
        let report = check::check_parts(self.index.clone(), Arc::new(self.disk.clone())).await;
        let report = report.map_err(|error| format!("checking: {error}"))?;
        if report.is_clean() { Ok(report) } else { Err(report.to_string()) }
    }
}

impl Rig {
    /// Crashes at every disk operation and every index write. Errors: one line that repeats the first
    /// failure.
    pub async fn run(&self, report: &mut Report) -> Result<(), String> {
        report.workloads += 1;
        let Crashed { parts: whole, facts, .. } = self.workload(Crash::Never).await?;
        let operations = whole.disk.operations();
        self.recover(&whole, &facts, 0).await.map_err(|what| self.line(Crash::Never, 0, &what))?;
        for at in 0..operations {
            self.crash(Crash::DiskOperation(at), report).await?;
            if report.states >= self.states_max {
                return Ok(());
            }
        }
        let mut at = 0;
        while report.states < self.states_max && self.crash(Crash::IndexWrite(at), report).await? {
            at += 1;
        }
        Ok(())
    }

    fn line(&self, crash: Crash, state: u64, what: &str) -> String {
        let what = what.replace('\n', "; ");
        format!("ORLOP_RIG_SEED={} rig=model crash={crash:?} state={state}: {what}", self.seed)
    }

    /// Runs the workload up to a crash.
    async fn workload(&self, crash: Crash) -> Result<Crashed, String> {
        let parts = Parts { disk: SimDisk::new(self.seed), index: Arc::default() };
        match self.lie {
            Some(Lie::Disk(synced)) => parts.disk.ignore_syncs(synced),
            Some(Lie::Index) => parts.index.ignore_syncs(),
            None => {}
        }
        match crash {
            Crash::Never => {}
            Crash::DiskOperation(at) => parts.disk.crash_after(at),
            Crash::IndexWrite(at) => parts.index.fail_writes_after(at),
        }
        let mut facts = Facts::default();
        let Ok(engine) = parts.open().await else { return Ok(Crashed { parts, facts, is_crashed: true }) };
        let has_crashed = || match crash {
            Crash::Never => false,
            Crash::DiskOperation(at) => parts.disk.operations() > at,
            Crash::IndexWrite(_) => engine.accepting().is_err(),
        };
        let mut workload = Workload { engine: &engine, facts: &mut facts, random: Random(self.seed) };
        workload.run(has_crashed).await.map_err(|what| self.line(crash, 0, &what))?;
        let is_crashed = has_crashed();
        // Without closing it: that is what a crash is.
        drop(engine);
        Ok(Crashed { parts, facts, is_crashed })
    }

    /// Tries the states that one crash may leave. Gives whether there was a crash at all.
    async fn crash(&self, crash: Crash, report: &mut Report) -> Result<bool, String> {
        let Crashed { parts, facts, is_crashed } = self.workload(crash).await?;
        report.points += 1;
        let uncertain = parts.disk.uncertain() + parts.index.uncertain();
        let states = if uncertain >= 6 { STATES_MAX } else { 1 << uncertain };
        let mut seen = HashSet::new();
        for state in 0..states {
            report.states += 1;
            let left = Parts { disk: parts.disk.crash(state), index: Arc::new(parts.index.crash(state)) };
            if !seen.insert((left.disk.fingerprint(), left.index.fingerprint())) {
                continue;
            }
            report.distinct += 1;
            for recovery in 1..=2 {
                let recovered = self.recover(&left, &facts, recovery).await;
                recovered.map_err(|what| self.line(crash, state, &format!("recovery {recovery}: {what}")))?;
                report.recoveries += 1;
            }
        }
        Ok(is_crashed)
    }

    /// Opens what is left, compares it with the facts, and checks it. The last time, uploads are brought
    /// to their ends and a collection follows, which must not take anything that was acknowledged.
    async fn recover(&self, left: &Parts, facts: &Facts, recovery: u64) -> Result<(), String> {
        let engine = left.open().await?;
        facts.verify(&engine).await?;
        if recovery == 2 {
            facts.finish_sessions(&engine).await?;
            collect(&engine).await.map_err(|error| format!("collecting: {error}"))?;
            facts.verify(&engine).await?;
        }
        engine.close().await.map_err(|error| format!("closing: {error}"))?;
        left.check().await.map(drop)
    }
}
