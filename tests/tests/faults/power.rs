//! The power is cut before any change of the disk, under verifying clients and during recovery.
//!
//! The disk stops answering before a change that chance chose, the binary is killed, and is started
//! again on what is left: nothing that was not synced, a part of it, or all. Whatever was acknowledged by
//! then must be there.
//!
//! `ORLOP_FAULT_POINTS` sets how many cuts there are; a few are part of `make test`, `make crash` has
//! thousands.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use orlop_tests::{
    Registry,
    faults::{Class, FaultDisk, Kind, Left},
    process::PATIENCE,
    rig::{self, all, number, seed},
    stream::{Random, bytes},
    verify::{Depth, Journal, Tally, Violation, Worker, World},
};

use crate::common::{assert_rules, journal, mounted, registry};

const POINTS_DEFAULT: u64 = 40;
const WORKERS: u64 = 3;

/// Changes before the cut: as many cuts between 1 and 2 as between 256 and 512.
const CHANGES_MAX_LOG2: u64 = 9;

/// One start in so many meets a cut of its own.
const RECOVERY_CUTS_ONE_IN: u64 = 4;

/// Between the cut and the kill, for answers that should not come.
const DARK_MS_MAX: u64 = 4;

/// One cut in so many is followed by `orlop check`.
const CHECKS_ONE_IN: u64 = 4;

/// After a cut, of what did not change since the last one, one in so many is read.
const OLD_ONE_IN: u64 = 20;

/// Cuts between two deletions of everything, so that what has to be looked at does not grow.
const DRAIN_EVERY: u64 = 100;

#[derive(Default)]
struct Report {
    cuts: u64,
    cuts_in_recovery: u64,
    checks: u64,
    recoveries_ms: Vec<u64>,
    points: BTreeMap<(Kind, Class), u64>,
    tally: Tally,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { cuts, cuts_in_recovery, checks, tally, points, .. } = self;
        let mut recoveries = self.recoveries_ms.clone();
        recoveries.sort_unstable();
        let at = |percent: usize| recoveries[(recoveries.len() * percent / 100).min(recoveries.len() - 1)];
        writeln!(f, "cuts                       {cuts}, {cuts_in_recovery} of them during recovery")?;
        writeln!(f, "operations                 {}", tally.operations)?;
        writeln!(f, "acknowledged changes       {}", tally.acknowledged)?;
        writeln!(f, "unanswered changes         {} there, {} not", tally.settled_after, tally.settled_before)?;
        writeln!(f, "uploads resumed            {}", tally.resumed)?;
        writeln!(f, "reads compared             {}, {} MiB", tally.reads, tally.bytes_read >> 20)?;
        writeln!(f, "orlop check, clean         {checks}")?;
        writeln!(f, "recovery, ms               {} (half), {} (99 %), {} (longest)", at(50), at(99), at(100))?;
        let points = points.iter().map(|((kind, class), count)| format!("{kind:?} {class:?} {count}"));
        writeln!(f, "cut before                 {}", points.collect::<Vec<_>>().join(", "))?;
        write!(f, "losses 0, wrong bytes 0, broken rules 0")
    }
}

struct Rig {
    // Ended before the disk is unmounted: fields are dropped in order.
    registry: Registry,
    disk: FaultDisk,
    world: Arc<World>,
    workers: Vec<Worker>,
    random: Random,
    /// Syncs that the disk does not do.
    ignored: Option<(Kind, Class)>,
    /// How many changes a start makes.
    start_changes: u64,
    /// The last cut, to be shown if something is lost.
    trace: String,
    report: Report,
}

impl Rig {
    async fn new(rig: &'static str, disk: FaultDisk, ignored: Option<(Kind, Class)>) -> Self {
        let registry = registry(&disk).await;
        let world = Arc::new(World::new(rig, seed(), WORKERS));
        let journal: Arc<Journal> = journal(&registry);
        let address = registry.address();
        let workers = (0..WORKERS).map(|number| Worker::new(&world, number, &journal, address)).collect();
        let (random, start_changes) = (Random(world.seed), disk.changes());
        disk.ignore(ignored);
        let (trace, report) = (String::new(), Report::default());
        Rig { registry, disk, world, workers, random, ignored, start_changes, trace, report }
    }

    /// Lets the workers work until the power is cut, starts the registry again, and verifies.
    async fn round(&mut self) -> Result<(), String> {
        let log2 = self.random.below(CHANGES_MAX_LOG2);
        self.disk.cut_after((1 << log2) + self.random.below(1 << log2));
        let workers = std::mem::take(&mut self.workers);
        let mut running = tokio::spawn(all(workers, |mut worker| async move {
            let result = worker.run(|| false).await;
            (worker, result)
        }));
        let gate = self.disk.gate();
        tokio::select! {
            is_cut = tokio::task::spawn_blocking(move || gate.wait(PATIENCE)) => {
                assert!(is_cut.expect("waiting does not panic"), "no change of the disk in {PATIENCE:?}");
            }
            // Only a broken promise ends them.
            ended = &mut running => return self.end_of(ended.expect("no worker panics")),
        }
        // Not to wait for anything: an answer that comes now was given too early.
        tokio::time::sleep(Duration::from_millis(self.random.below(DARK_MS_MAX))).await;
        self.world.is_dying.store(true, Ordering::SeqCst);
        self.cut_power()?;
        let ended = running.await.expect("no worker panics");
        self.end_of(ended)?;
        self.restart()?;
        self.verify(Depth::Recent { one_in: OLD_ONE_IN }).await?;
        if self.report.cuts.is_multiple_of(CHECKS_ONE_IN) {
            self.check().await?;
        }
        if self.report.cuts.is_multiple_of(DRAIN_EVERY) {
            for worker in &mut self.workers {
                worker.delete_all().await.map_err(|stop| format!("deleting everything: {stop:?}"))?;
            }
        }
        Ok(())
    }

    /// Takes the workers back, or what one of them found.
    fn end_of(&mut self, ended: Result<Vec<Worker>, Violation>) -> Result<(), String> {
        self.workers = ended.map_err(|violation| violation.to_string())?;
        Ok(())
    }

    /// Something that is not a worker's to find.
    fn broken(&self, what: &str) -> String {
        format!("ORLOP_RIG_SEED={} rig={}: {what}", self.world.seed, self.world.rig)
    }

    /// Ends the process and keeps of the disk what chance leaves.
    fn cut_power(&mut self) -> Result<(), String> {
        let point = self.disk.cut().expect("the power was cut");
        *self.report.points.entry((point.kind, point.class)).or_default() += 1;
        self.report.cuts += 1;
        let rules = self.disk.broken_rules();
        if self.ignored.is_none() && !rules.is_empty() {
            return Err(self.broken(&format!("rules: {rules:?}")));
        }
        let disk = &mut self.disk;
        self.registry.kill_while(|| disk.detach());
        let left = match self.random.below(10) {
            0..4 => Left::Durable,
            4..9 => Left::Some,
            _ => Left::Everything,
        };
        self.trace = format!("{left:?} left before {point}; before that:\n  {}", self.disk.recent().join("\n  "));
        self.disk.lose_power(left, &mut self.random);
        self.disk.ignore(self.ignored);
        Ok(())
    }

    /// Starts it, with cuts in between.
    fn restart(&mut self) -> Result<(), String> {
        loop {
            let is_cut = self.random.below(RECOVERY_CUTS_ONE_IN) == 0;
            if is_cut {
                self.disk.cut_after(1 + self.random.below(self.start_changes));
            }
            self.choose_backend();
            let (gate, began) = (self.disk.gate(), Instant::now());
            let started = self.registry.try_restart(|| gate.is_cut());
            let is_up = started.map_err(|output| {
                self.broken(&format!(
                    "it does not start:
{output}"
                ))
            })?;
            self.disk.cancel_cut();
            // It may be cut just when it begins to listen.
            if is_up && !self.disk.gate().is_cut() {
                self.report.recoveries_ms.push(began.elapsed().as_millis() as u64);
                break;
            }
            self.report.cuts_in_recovery += 1;
            self.cut_power()?;
        }
        self.start_changes = self.disk.changes();
        self.world.is_dying.store(false, Ordering::SeqCst);
        let address = self.registry.address();
        self.workers.iter_mut().for_each(|worker| worker.reconnect(address));
        Ok(())
    }

    /// The ring or threads move the bytes from the next start on.
    fn choose_backend(&mut self) {
        let mut config = rig::config("1h");
        config["storage"]["io"] = ["auto", "threads"][self.random.below(2) as usize].into();
        self.registry.reconfigure(config);
    }

    async fn verify(&mut self, depth: Depth) -> Result<(), String> {
        let workers = std::mem::take(&mut self.workers);
        let verified = all(workers, |mut worker| async move {
            let result = worker.verify(depth).await;
            (worker, result)
        });
        self.end_of(verified.await)
    }

    /// A stop, and the offline checker.
    async fn check(&mut self) -> Result<(), String> {
        self.registry.stop();
        let checked = self.registry.check();
        if !checked.status.success() {
            return Err(self.broken(&format!("{}{}", checked.stdout, checked.stderr)));
        }
        self.report.checks += 1;
        self.registry.restart().await;
        let address = self.registry.address();
        self.workers.iter_mut().for_each(|worker| worker.reconnect(address));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_cuts() {
    let Some((disk, _directory)) = mounted("power") else { return };
    let mut rig = Rig::new("power", disk, None).await;
    let points = number("ORLOP_FAULT_POINTS", POINTS_DEFAULT);
    while rig.report.cuts < points {
        let round = rig.round().await;
        round.unwrap_or_else(|broken| panic!("{broken}\nafter {} cuts: {}", rig.report.cuts, rig.trace));
    }
    let verified = rig.verify(Depth::Everything).await;
    verified.unwrap_or_else(|broken| panic!("{broken}"));
    assert_rules(&rig.disk, &rig.world);
    let Rig { registry, mut workers, world, mut report, disk, .. } = rig;
    report.tally = rig::end(registry, &mut workers).await;
    report.checks += 1;
    assert_rules(&disk, &world);
    eprintln!("rig power, seed {}\n{report}", world.seed);
}

/// The first thing that a store keeps is its own directory.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_just_made_is_there() {
    let Some((mut disk, _directory)) = mounted("power") else { return };
    let mut registry = registry(&disk).await;
    let repository = registry.repository("first");
    let digest = repository.push(bytes(seed(), 100_000)).await;
    registry.kill_while(|| disk.detach());
    disk.lose_power(Left::Durable, &mut Random(seed()));
    registry.restart().await;
    let repository = registry.repository("first");
    repository.client.get(&repository.blob_path(&digest)).await.expect(200);
    registry.finish();
}

/// The negative controls: a disk that says that something is synced and does not do it.
async fn assert_noticed(rig: &'static str, kind: Kind, class: Class) {
    /// Cuts until it must have been noticed.
    const CUTS_MAX: u64 = 200;
    let Some((disk, _directory)) = mounted(rig) else { return };
    let mut rig = Rig::new(rig, disk, Some((kind, class))).await;
    let mut noticed = None;
    while noticed.is_none() && rig.report.cuts < CUTS_MAX {
        noticed = rig.round().await.err();
    }
    rig.registry.abandon();
    let noticed = noticed.unwrap_or_else(|| panic!("{kind:?} of {class:?} is never done, and nobody notices"));
    eprintln!("{kind:?} of {class:?} not done, noticed after {} cuts: {noticed:.160}", rig.report.cuts);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_not_synced_is_noticed() {
    assert_noticed("lying about content", Kind::Sync, Class::Upload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_synced_are_noticed() {
    assert_noticed("lying about names", Kind::SyncDirectory, Class::Blob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_not_synced_is_noticed() {
    assert_noticed("lying about the index", Kind::Sync, Class::IndexLog).await;
}
