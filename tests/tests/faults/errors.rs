//! One operation of the disk goes wrong, each one in its turn: with EIO, with ENOSPC, half of a write, a
//! bit of a read; a sync fails and loses its bytes, as on Linux; with EROFS it and all changes after it.
//!
//! A run begins with a store that was closed well, lets a client do the same work each time, and has one
//! fault at a position that is counted from the start of the process. An error is then a right answer;
//! what is acknowledged must be there: at once, and after the power was cut. A start that meets the fault
//! may fail, and must succeed without it: if it was a sync that failed, once the caches are gone.
//!
//! `ORLOP_FAULT_RUNS` sets how many positions are tried for each fault, spread over the work; a few are
//! part of `make test`, `make crash` has all of them. `ORLOP_FAULT_AT` makes all of them the same one: what
//! fails with one order of the threads of RocksDB may be right with the next.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use http::Method;
use orlop_tests::{
    Registry,
    faults::{Class, Fault, FaultDisk, Harm, Image, Kind, Left, Operation},
    http::{empty, request},
    rig::{number, seed},
    stream::{Random, bytes, sha256},
    verify::{Depth, Journal, Worker, World},
};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::common::{journal, mounted, registry};

const RUNS_DEFAULT: u64 = 12;

/// Operations of the client before the image is taken, and in each run.
const OPERATIONS_BEFORE: u64 = 60;
const OPERATIONS: u64 = 40;

/// Each but the first makes a table of its log; RocksDB compacts four.
const STARTS_BEFORE_A_COMPACTION: u64 = 4;

#[derive(Debug, Default)]
struct Report {
    runs: u64,
    /// Runs whose start failed, and those after which the store wanted a restart.
    failed_starts: u64,
    stopped: u64,
    /// Runs after which the index has to be made again.
    refused: u64,
    failed_operations: u64,
    acknowledged: u64,
    hits: BTreeMap<(Kind, Class), u64>,
}

impl Report {
    fn met(&mut self, hit: &Operation) {
        *self.hits.entry((hit.kind, hit.class)).or_default() += 1;
    }
}

struct Bench {
    // Ended before the disk is unmounted: fields are dropped in order.
    registry: Registry,
    disk: FaultDisk,
    _directory: TempDir,
    image: Image,
    before: Worker,
    journal: Arc<Journal>,
    rig: &'static str,
    report: Report,
}

impl Bench {
    /// A store that was begun and closed well so many times.
    async fn prepare(rig: &'static str, starts: u64) -> Option<Self> {
        let (disk, directory) = mounted(rig)?;
        let mut registry = registry(&disk).await;
        let journal = journal(&registry);
        let world = Arc::new(World::new(rig, seed(), 1));
        let mut before = Worker::new(&world, 0, &journal, registry.address());
        for start in 1..=starts {
            if start > 1 {
                registry.restart().await;
                before.reconnect(registry.address());
            }
            let enough = OPERATIONS_BEFORE * start / starts;
            let ran = before.run(|| world.operations.load(Ordering::SeqCst) >= enough).await;
            ran.unwrap_or_else(|violation| panic!("{violation}"));
            registry.stop();
        }
        let image = disk.image();
        let report = Report::default();
        Some(Bench { registry, disk, _directory: directory, image, before, journal, rig, report })
    }

    /// One run. Gives how many operations could have met the fault.
    async fn run(&mut self, fault: Fault) -> Result<u64, String> {
        self.report.runs += 1;
        let mut random = Random(seed() ^ fault.at);
        self.disk.restore(&self.image);
        let name = format!("{:?} at {}", fault.harm, fault.at);
        self.disk.set_fault(Some(fault));
        if !self.start(&name)? {
            return Ok(0);
        }
        let world = Arc::new(World::new(self.rig, seed(), 1));
        world.may_fail.store(true, Ordering::SeqCst);
        let mut worker = Worker::new(&world, 0, &self.journal, self.registry.address()).after(&self.before);
        let ran = worker.run(|| world.operations.load(Ordering::SeqCst) >= OPERATIONS).await;
        let hit = self.disk.hit();
        let told = |what: String| match &hit {
            Some(hit) => format!("{what}\n{name}, which met {hit}"),
            None => format!("{what}\n{name}, which met nothing"),
        };
        ran.map_err(|violation| told(violation.to_string()))?;
        let seen = self.disk.seen();
        if let Some(hit) = &hit {
            self.report.met(hit);
        }
        self.disk.set_fault(None);
        // Still the same process: what it answers is right, or an error.
        let verified = worker.verify_unless_it_fails(Depth::Everything).await;
        self.report.stopped += u64::from(!verified.map_err(|violation| told(violation.to_string()))?);
        let tally = worker.tally();
        self.report.failed_operations += tally.failed;
        self.report.acknowledged += tally.acknowledged;
        world.may_fail.store(false, Ordering::SeqCst);
        self.cut_power(&mut random).map_err(told)?;
        if !self.start("no fault").map_err(told)? {
            return Err(told("it refuses to start after a power cut".to_owned()));
        }
        worker.reconnect(self.registry.address());
        worker.verify(Depth::Everything).await.map_err(|violation| told(violation.to_string()))?;
        self.registry.stop();
        let checked = self.registry.check();
        if !checked.status.success() {
            return Err(told(format!("{}{}", checked.stdout, checked.stderr)));
        }
        Ok(seen)
    }

    /// Starts it; a second time without a fault if the first start met one. False if it is right to refuse.
    fn start(&mut self, fault: &str) -> Result<bool, String> {
        let Err(first) = self.registry.try_restart(|| false) else { return Ok(true) };
        let Some(hit) = self.disk.hit() else { return Err(format!("it does not start:\n{first}")) };
        self.report.failed_starts += 1;
        self.report.met(&hit);
        self.disk.set_fault(None);
        self.check_rules()?;
        // Gone with the power; nothing else tells what RocksDB's threads did.
        let before =
            format!("{}\nthe index's own words:\n{}", self.disk.recent().join("\n"), self.registry.index_log());
        if Kind::SYNCING.contains(&hit.kind) {
            // What the system shows from now on need not be on the device, and no program can tell. Operators
            // are told to start the machine again, or to drop its caches.
            self.disk.lose_power(Left::Durable, &mut Random(seed()));
        }
        let Err(second) = self.registry.try_restart(|| false) else { return Ok(true) };
        let broken =
            |what: &str| Err(format!("{what} after {fault}, which met {hit}:\n{first}{second}\nbefore:\n{before}"));
        // RocksDB has cut its log where it read a wrong byte. That is noticed, with the command that is for it.
        let is_cut = (hit.kind, hit.class) == (Kind::Read, Class::IndexLog);
        if !is_cut || !second.contains("orlop rebuild --replace") {
            return broken("it does not start");
        }
        self.report.refused += 1;
        let rebuilt = self.registry.rebuild();
        if !rebuilt.status.success() {
            return broken(&format!("it cannot be rebuilt ({}{})", rebuilt.stdout, rebuilt.stderr));
        }
        match self.registry.try_restart(|| false) {
            Ok(_) => Ok(true),
            Err(third) => broken(&format!("it does not start when it was rebuilt ({third})")),
        }
    }

    fn check_rules(&self) -> Result<(), String> {
        let rules = self.disk.broken_rules();
        if rules.is_empty() { Ok(()) } else { Err(format!("rules: {rules:?}")) }
    }

    fn cut_power(&mut self, random: &mut Random) -> Result<(), String> {
        self.check_rules()?;
        let disk = &mut self.disk;
        self.registry.kill_while(|| disk.detach());
        let left = [Left::Durable, Left::Some, Left::Everything][random.below(3) as usize];
        self.disk.lose_power(left, random);
        Ok(())
    }
}

/// The fault at positions spread over the work, as many as are wanted at most.
async fn sweep(rig: &'static str, kinds: &[Kind], harm: Harm, lasts: bool) {
    let Some(bench) = Bench::prepare(rig, 1).await else { return };
    sweep_on(bench, Fault { at: 0, kinds: kinds.to_vec(), class: None, harm, lasts }).await;
}

async fn sweep_on(mut bench: Bench, fault: Fault) {
    let rig = bench.rig;
    let fault = |at| Fault { at, ..fault.clone() };
    let broken = |what: String| format!("ORLOP_RIG_SEED={} rig={rig}: {what}", seed());
    let positions = bench.run(fault(u64::MAX)).await.unwrap_or_else(|what| panic!("{}", broken(what)));
    let at = number("ORLOP_FAULT_AT", 0);
    // Of one class of files there are few positions: all of them.
    let default = if fault(0).class.is_some() { positions } else { RUNS_DEFAULT };
    let runs = number("ORLOP_FAULT_RUNS", default).min(if at == 0 { positions } else { u64::MAX });
    for run in 0..runs {
        let at = if at == 0 { 1 + run * positions / runs } else { at };
        let ran = bench.run(fault(at)).await;
        ran.unwrap_or_else(|what| panic!("{}", broken(what)));
    }
    bench.registry.abandon();
    let Report { runs, failed_starts, stopped, refused, failed_operations, acknowledged, hits } = bench.report;
    let met: u64 = hits.values().sum();
    assert!(met > 0, "the fault met nothing");
    eprintln!("rig {rig}, seed {}: {positions} positions, {runs} runs, {met} met the fault", seed());
    eprintln!("indexes that must be made again {refused}");
    eprintln!(
        "failed starts {failed_starts}, stores that wanted a restart {stopped}, failed operations {failed_operations}"
    );
    eprintln!("acknowledged changes {acknowledged}; losses 0, wrong bytes 0, broken rules 0");
    let hits = hits.iter().map(|((kind, class), count)| format!("{kind:?} {class:?} {count}"));
    eprintln!("met: {}", hits.collect::<Vec<_>>().join(", "));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_or_output_error_costs_nothing_that_was_acknowledged() {
    sweep("EIO", &Kind::ALL, Harm::Error(Errno::IO), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_room_costs_nothing_that_was_acknowledged() {
    sweep("ENOSPC", &Kind::TAKING_ROOM, Harm::Error(Errno::NOSPC), false).await;
}

/// As after an error of the file system: from some moment on nothing can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_can_only_be_read_costs_nothing_that_was_acknowledged() {
    sweep("EROFS", &Kind::CHANGING, Harm::Error(Errno::ROFS), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_never_acknowledged() {
    sweep("failed sync", &Kind::SYNCING, Harm::Error(Errno::IO), false).await;
}

/// RocksDB's threads all sync one directory, and only one of them is told that it failed. A rule of the disk watches
/// that none tries again; the rest finds what it would have put on the list of files.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_the_index_is_not_synced_after_a_failed_sync() {
    // So many tables that the next start compacts them, while the first write syncs the directory for its log.
    let Some(bench) = Bench::prepare("index directory", STARTS_BEFORE_A_COMPACTION).await else { return };
    let (kinds, class, harm) = (vec![Kind::SyncDirectory], Some(Class::Index), Harm::Error(Errno::NOSPC));
    sweep_on(bench, Fault { at: 0, kinds, class, harm, lasts: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_comes_short_is_continued() {
    sweep("short write", &[Kind::Write], Harm::Short, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_on_the_way_is_never_sent() {
    sweep("bit flip", &[Kind::Read], Harm::Flip, false).await;
}

/// What is wrong in memory only is no damage of what is stored: it must not be condemned.
#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flipped_on_the_way_condemns_nothing() {
    let Some((disk, _directory)) = mounted("bit flip") else { return };
    let mut registry = registry(&disk).await;
    let repository = registry.repository("flipped");
    let digest = repository.push(bytes(seed(), 100_000)).await;
    let path = repository.blob_path(&digest);
    let fault = Fault { at: 1, kinds: vec![Kind::Read], class: Some(Class::Blob), harm: Harm::Flip, lasts: false };
    disk.set_fault(Some(fault));
    // Cut in the middle, or refused: not sent, and not said to be absent.
    if let Ok(answer) = repository.client.try_send(request(Method::GET, &path, empty())).await {
        answer.expect(500);
    }
    assert!(disk.hit().is_some(), "it was read from the disk");
    disk.set_fault(None);
    repository.client.head(&path).await.expect(200);
    registry.stop();
    registry.restart().await;
    let repository = registry.repository("flipped");
    let read = repository.client.get(&path).await.expect(200);
    assert_eq!(sha256(&read.body), digest);
    registry.finish();
}

/// The sync that makes the name of a new directory durable fails, and a later one would succeed without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_name_could_not_be_synced_is_made_anew() {
    let Some((mut disk, _directory)) = mounted("directory") else { return };
    let mut registry = registry(&disk).await;
    let repository = registry.repository("anew");
    let shard = |digest: &str| digest["sha256:".len()..][..2].to_owned();
    let first = repository.push(bytes(seed(), 100_000)).await;
    let mut others = (1..).map(|step| bytes(seed().wrapping_add(step), 100_000));
    let content = others.find(|content| shard(&sha256(content)) != shard(&first)).expect("another first byte");
    let digest = sha256(&content);
    let harm = Harm::Error(Errno::IO);
    let fault = Fault { at: 1, kinds: vec![Kind::SyncDirectory], class: Some(Class::Blob), harm, lasts: false };
    disk.set_fault(Some(fault));
    let path = repository.path(&format!("blobs/uploads/?digest={digest}"));
    repository.client.post(&path, content.clone()).await.expect(500);
    let hit = disk.hit().expect("a new directory is synced");
    assert!(hit.path.ends_with("blobs/sha256"), "{hit}");
    disk.set_fault(None);
    repository.client.post(&path, content).await.expect(201);
    registry.kill_while(|| disk.detach());
    disk.lose_power(Left::Durable, &mut Random(seed()));
    registry.restart().await;
    registry.repository("anew").blob(&digest).await.expect(200);
    registry.finish();
}
