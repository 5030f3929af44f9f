//! A disk that others fill at random moments, to the last byte: pulls and deletes go on, pushes are
//! refused with 507 and never acknowledged falsely, and all is well again when there is room, without
//! a restart.
//!
//! `ORLOP_FULL_ROUNDS` sets how often; a few rounds are part of `make test`, `make crash` has many.
//! It needs root, for a small file system of its own; without, it says so and does nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use orlop_tests::{
    Options, Registry, SmallDisk,
    process::PATIENCE,
    rig::{self, all, kept, number, seed},
    stream::{Random, bytes, sha256},
    verify::{Depth, Journal, Worker, World},
};

const ROUNDS_DEFAULT: u64 = 6;
const WORKERS: u64 = 4;
const DISK_BYTES: u64 = 512 << 20;

/// Milliseconds of work before the disk is filled, and while it is full.
const CALM_MS_MAX: u64 = 200;
const FULL_MS_MAX: u64 = 400;

/// What the filler leaves: nothing, less than the ballast, less than the reserve.
const LEFT: [u64; 4] = [0, 0, 1 << 20, 40 << 20];

/// One full disk in so many meets a kill and a start as well.
const KILLS_ONE_IN: u64 = 4;

struct Rig {
    registry: Registry,
    world: Arc<World>,
    workers: Vec<Worker>,
    random: Random,
    kills: u64,
    /// How long it took from room to the next acknowledged push.
    recoveries_ms: Vec<u64>,
}

impl Rig {
    async fn round(&mut self) {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, workers) = (is_over.clone(), std::mem::take(&mut self.workers));
        let running = tokio::spawn(all(workers, move |mut worker| {
            let over = over.clone();
            async move {
                let result = worker.run(|| over.load(Ordering::SeqCst)).await;
                (worker, result)
            }
        }));
        // Not to wait for anything: these are the random moments.
        tokio::time::sleep(Duration::from_millis(self.random.below(CALM_MS_MAX))).await;
        let left = LEFT[self.random.below(LEFT.len() as u64) as usize];
        self.disk().fill(left);
        tokio::time::sleep(Duration::from_millis(self.random.below(FULL_MS_MAX))).await;
        self.disk().fill(left);
        self.assert_refused().await;
        if self.random.below(KILLS_ONE_IN) == 0 {
            self.world.is_dying.store(true, Ordering::SeqCst);
            self.registry.kill();
            self.kills += 1;
            self.workers = kept(running.await.expect("no worker panics"));
            self.registry.restart().await;
            self.world.is_dying.store(false, Ordering::SeqCst);
            let address = self.registry.address();
            self.workers.iter_mut().for_each(|worker| worker.reconnect(address));
            self.disk().fill(left);
            self.assert_refused().await;
            self.make_room().await;
        } else {
            self.make_room().await;
            is_over.store(true, Ordering::SeqCst);
            self.workers = kept(running.await.expect("no worker panics"));
        }
        self.verify().await;
    }

    fn disk(&self) -> &SmallDisk {
        self.registry.small_disk().expect("asked for")
    }

    /// A push of a file is refused.
    async fn assert_refused(&mut self) {
        let content = bytes(self.random.next(), 100_000);
        let repository = self.registry.repository("full");
        let path = repository.path(&format!("blobs/uploads/?digest={}", sha256(&content)));
        let refused = repository.client.post(&path, content).await;
        refused.expect_error(507, "UNAVAILABLE");
    }

    /// With room, pushes are taken again.
    async fn make_room(&mut self) {
        self.disk().empty();
        let began = Instant::now();
        let repository = self.registry.repository("full");
        loop {
            let content = bytes(self.random.next(), 100_000);
            let path = repository.path(&format!("blobs/uploads/?digest={}", sha256(&content)));
            let answer = repository.client.post(&path, content).await;
            if answer.status == 201 {
                let digest = answer.header("docker-content-digest").to_owned();
                repository.client.delete(&repository.blob_path(&digest)).await.expect(202);
                break;
            }
            assert!(began.elapsed() < PATIENCE, "there is room again, but: {answer:?}");
        }
        self.recoveries_ms.push(began.elapsed().as_millis() as u64);
    }

    async fn verify(&mut self) {
        let workers = std::mem::take(&mut self.workers);
        let verified = all(workers, |mut worker| async move {
            let result = worker.verify(Depth::Everything).await;
            (worker, result)
        });
        self.workers = kept(verified.await);
    }

    /// Deletes until there is room for the next round.
    async fn drain(&mut self) {
        for worker in &mut self.workers {
            if let Err(stop) = worker.delete_all().await {
                panic!("deleting everything: {stop:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_pushes_and_nothing_else() {
    /// Rounds between two deletions of everything.
    const DRAIN_EVERY: u64 = 10;
    if !SmallDisk::is_possible() {
        eprintln!("rig full: not run, a small file system can be mounted by root only");
        return;
    }
    let config = rig::config("1h");
    let options = Options { config: Some(config), disk_bytes: Some(DISK_BYTES), ..Options::default() };
    let registry = Registry::start(options).await;
    let kind = registry.small_disk().expect("asked for").kind;
    let journal =
        Arc::new(Journal::open(&registry.scratch("client").join("journal")).expect("the journal can be made"));
    let world = Arc::new(World { may_be_full: true, ..World::new("full", seed(), WORKERS) });
    let address = registry.address();
    let workers = (0..WORKERS).map(|number| Worker::new(&world, number, &journal, address)).collect();
    let random = Random(world.seed);
    let mut rig = Rig { registry, world, workers, random, kills: 0, recoveries_ms: Vec::new() };
    let rounds = number("ORLOP_FULL_ROUNDS", ROUNDS_DEFAULT);
    for round in 1..=rounds {
        rig.round().await;
        if round.is_multiple_of(DRAIN_EVERY) {
            rig.drain().await;
        }
    }
    let Rig { registry, world, mut workers, kills, recoveries_ms, .. } = rig;
    let tally = rig::end(registry, &mut workers).await;
    assert!(tally.full > 0, "the disk was never full: {tally:?}");
    let longest = recoveries_ms.iter().max().expect("one round at least");
    eprintln!("rig full ({kind:?}), seed {}: filled {rounds} times, {kills} kills on a full disk", world.seed);
    eprintln!("{tally:?}");
    eprintln!("service back after {longest} ms at most; losses 0, false 201 0, wrong bytes 0, leaks 0");
}
