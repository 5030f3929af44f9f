//! SIGKILL at random moments, also during recovery, under verifying clients, with collection all the
//! time.
//!
//! The page cache survives a kill, so this finds what recovery does wrong, never a missing sync; that
//! is what the model crashes of the engine are for.
//!
//! `ORLOP_CRASH_SECONDS` sets how long, `ORLOP_RIG_SEED` repeats a run as far as the scheduler lets it;
//! a short run is part of `make test`, `make crash` a long one.

use std::{
    fmt, fs,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use orlop_tests::{
    Options, Registry, disk,
    rig::{self, all, kept, number, seed},
    stream::Random,
    verify::{Depth, Facts, Journal, Tally, Worker, World},
};

const SECONDS_DEFAULT: u64 = 10;
const WORKERS: u64 = 6;

/// Between the start and the kill: as many kills between 16 and 32 ms as between 1 and 2 s.
const LIFE_MS_MIN_LOG2: u64 = 4;
const LIFE_MS_MAX_LOG2: u64 = 11;

/// One restart in so many is killed before it is over; a start takes about a tenth of a second.
const RECOVERY_KILLS_ONE_IN: u64 = 4;
const RECOVERY_MS_MAX: u64 = 150;

/// One kill in so many is followed by `orlop check`.
const CHECKS_ONE_IN: u64 = 8;

/// After a kill, of what did not change since the last one, one in so many is read.
const OLD_ONE_IN: u64 = 50;

#[derive(Default)]
struct Report {
    kills: u64,
    kills_in_recovery: u64,
    checks: u64,
    recoveries_ms: Vec<u64>,
    tally: Tally,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { kills, kills_in_recovery, checks, tally, .. } = self;
        let mut recoveries = self.recoveries_ms.clone();
        recoveries.sort_unstable();
        let at = |percent: usize| recoveries[(recoveries.len() * percent / 100).min(recoveries.len() - 1)];
        writeln!(f, "kills                      {kills}, {kills_in_recovery} of them during recovery")?;
        writeln!(f, "operations                 {}", tally.operations)?;
        writeln!(f, "acknowledged changes       {}", tally.acknowledged)?;
        writeln!(f, "unanswered changes         {} there, {} not", tally.settled_after, tally.settled_before)?;
        writeln!(f, "uploads resumed            {}", tally.resumed)?;
        writeln!(f, "reads compared             {}, {} MiB", tally.reads, tally.bytes_read >> 20)?;
        writeln!(f, "orlop check, clean         {checks}")?;
        writeln!(f, "recovery, ms               {} (half), {} (99 %), {} (longest)", at(50), at(99), at(100))?;
        write!(f, "losses 0, wrong bytes 0, leaks 0")
    }
}

struct Rig {
    registry: Registry,
    world: Arc<World>,
    workers: Vec<Worker>,
    random: Random,
    report: Report,
}

impl Rig {
    /// Lets the workers work until the registry is killed in the middle, starts it again, and verifies.
    async fn round(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        let running = tokio::spawn(all(workers, |mut worker| async move {
            let result = worker.run(|| false).await;
            (worker, result)
        }));
        let log2 = LIFE_MS_MIN_LOG2 + self.random.below(LIFE_MS_MAX_LOG2 - LIFE_MS_MIN_LOG2);
        let life_ms = (1 << log2) + self.random.below(1 << log2);
        // Not to wait for anything: this is the random moment.
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        self.world.is_dying.store(true, Ordering::SeqCst);
        self.registry.kill();
        self.report.kills += 1;
        self.workers = kept(running.await.expect("no worker panics"));
        self.restart().await;
        self.verify(Depth::Recent { one_in: OLD_ONE_IN }).await;
        if self.report.kills.is_multiple_of(CHECKS_ONE_IN) {
            self.check().await;
        }
    }

    async fn restart(&mut self) {
        while self.random.below(RECOVERY_KILLS_ONE_IN) == 0 {
            let after = Duration::from_millis(self.random.below(RECOVERY_MS_MAX));
            self.registry.start_and_kill(after).await;
            self.report.kills += 1;
            self.report.kills_in_recovery += 1;
        }
        let began = Instant::now();
        self.registry.restart().await;
        self.report.recoveries_ms.push(began.elapsed().as_millis() as u64);
        self.world.is_dying.store(false, Ordering::SeqCst);
        let address = self.registry.address();
        self.workers.iter_mut().for_each(|worker| worker.reconnect(address));
    }

    async fn verify(&mut self, depth: Depth) {
        let workers = std::mem::take(&mut self.workers);
        let verified = all(workers, |mut worker| async move {
            let result = worker.verify(depth).await;
            (worker, result)
        });
        self.workers = kept(verified.await);
    }

    /// A stop, and the offline checker.
    async fn check(&mut self) {
        self.registry.stop();
        let checked = self.registry.check();
        assert!(checked.status.success(), "seed {}: {}{}", self.world.seed, checked.stdout, checked.stderr);
        self.report.checks += 1;
        self.restart().await;
    }

    /// Everything is deleted and collected: what is left then is a leak.
    async fn end(mut self) {
        self.verify(Depth::Everything).await;
        self.report.tally = rig::end(self.registry, &mut self.workers).await;
        self.report.checks += 1;
        eprintln!("rig sigkill, seed {}\n{}", self.world.seed, self.report);
    }
}

async fn soak(seed: u64, seconds: u64) {
    let registry = Registry::start(Options { config: Some(rig::config("1h")), ..Options::default() }).await;
    let path = registry.scratch("client").join("journal");
    let journal = Arc::new(Journal::open(&path).expect("the journal can be made"));
    let world = Arc::new(World::new("sigkill", seed, WORKERS));
    let address = registry.address();
    let workers = (0..WORKERS).map(|number| Worker::new(&world, number, &journal, address)).collect();
    let mut rig = Rig { registry, world, workers, random: Random(seed), report: Report::default() };
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        rig.round().await;
    }
    let known: usize = rig.workers.iter().map(|worker| worker.facts().present().count()).sum();
    let lines = Journal::read(&path).expect("the journal can be read");
    let of = |worker: u64| lines.iter().filter(move |line| line.worker == worker).map(|line| &line.event);
    let replayed: usize = (0..WORKERS).map(|worker| Facts::replay(of(worker)).present().count()).sum();
    assert_eq!(replayed, known, "the journal tells what the clients know");
    rig.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_at_random_moments() {
    soak(seed(), number("ORLOP_CRASH_SECONDS", SECONDS_DEFAULT)).await;
}

/// The negative control: a client that was lied to says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_noticed() {
    const OPERATIONS: u64 = 200;
    let mut registry = Registry::start(Options { config: Some(rig::config("1h")), ..Options::default() }).await;
    let journal = Journal::open(&registry.scratch("client").join("journal")).expect("the journal can be made");
    let world = Arc::new(World::new("lost", seed(), 1));
    let mut worker = Worker::new(&world, 0, &Arc::new(journal), registry.address());
    let is_over = || world.operations.load(Ordering::Relaxed) >= OPERATIONS;
    worker.run(is_over).await.unwrap_or_else(|violation| panic!("{violation}"));
    registry.stop();
    let files = disk::blob_files(&registry.root());
    let name = |file: &disk::File| file.path.file_name().expect("a digest").to_string_lossy().into_owned();
    let is_promised = |file: &&disk::File| worker.facts().present().any(|(_, digest)| digest.ends_with(&name(file)));
    let lost = files.iter().find(is_promised).expect("some of the content is in files");
    fs::remove_file(&lost.path).expect("it can be removed");
    registry.restart().await;
    worker.reconnect(registry.address());
    let violation = worker.verify(Depth::Everything).await.expect_err("a file is missing");
    assert!(violation.what.contains(&name(lost)), "{violation}: {} was removed", name(lost));
    registry.finish_damaged();
}
