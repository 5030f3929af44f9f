//! Question: what does each way to the device cost, and does tokio-uring stand in the way?
//!
//! Workloads: one file of 1 GiB, three writes of 512 KiB under way at a time, as an upload has; and
//! files of 1 MiB, eight at a time, two writes of 512 KiB each. All are unnamed, allocated before,
//! written with `O_DIRECT`, and synced. Ways: the engine's `Ring` (tokio-uring on a thread of its
//! own) and `Threads`, `bare` (the same rings and calls by the crate `io-uring`, submitted by
//! whoever writes). Yardsticks: `plain`, one thread that writes 1 MiB after the other, and SHA-256
//! of the same bytes on one core.
//!
//! Rounds are interleaved, the ways in another order each time. What is printed is the median of
//! the rounds, the lowest and the highest, and the processor time of the process for each GiB.
//!
//! ```text
//!   cargo bench -p orlop-benches --bench disk            five rounds, about a minute
//!   cargo bench -p orlop-benches --bench disk -- 3       three rounds
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use orlop_engine::{
    Algorithm, Digest,
    io::{Ring, Threads},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

mod bare;
mod plain;
mod spent;
mod ways;

use bare::Bare;
use spent::{Spent, spread};
use ways::{Engine, Way};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const LARGE_FILE_BYTES: u64 = 1 << 30;
const SMALL_FILE_BYTES: u64 = 1 << 20;
const SMALL_FILES: u64 = 256;
const SMALL_FILES_AT_A_TIME: u64 = 8;

/// One line of the result: what each round took.
struct Row {
    name: String,
    bytes: u64,
    rounds: Vec<Spent>,
}

type Measured = Box<dyn Fn() -> Spent>;

fn main() {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(ROUNDS);
    let directory = directory();
    let runtime = Runtime::new().expect("a runtime");
    let mut rows: Vec<(Row, Measured)> = Vec::new();
    for (size, files, at_a_time) in [(LARGE_FILE_BYTES, 1, 1), (SMALL_FILE_BYTES, SMALL_FILES, SMALL_FILES_AT_A_TIME)] {
        let label = if files == 1 { "1 x 1 GiB" } else { "256 x 1 MiB, 8 at a time" };
        for (name, way) in ways(directory.path()) {
            let handle = runtime.handle().clone();
            let work: Measured = Box::new(move || {
                let way = Arc::clone(&way);
                Spent::on(|| handle.block_on(ways::write_files(way, size, files, at_a_time)))
            });
            rows.push((Row::new(format!("{label}: {name}"), size * files), work));
        }
        let path = directory.path().to_owned();
        let work: Measured = Box::new(move || Spent::on(|| plain::write_files(&path, size, files).expect("written")));
        rows.push((Row::new(format!("{label}: plain"), size * files), work));
    }
    let content = vec![7; 64 << 20];
    let bytes = content.len() as u64;
    let hash: Measured = Box::new(move || Spent::on(|| std::hint::black_box(Digest::of(Algorithm::Sha256, &content))));
    rows.push((Row::new("SHA-256, one core".to_owned(), bytes), hash));
    for round in 0..rounds {
        let count = rows.len();
        for turn in 0..count {
            let (row, work) = &mut rows[(turn + round * 2) % count];
            row.rounds.push(work());
        }
    }
    println!("{:44} {:>22} {:>22}", "", "GB/s (from, to)", "CPU-s per GiB");
    rows.iter().for_each(|(row, _)| row.print());
}

/// The ways that this machine allows.
fn ways(directory: &Path) -> Vec<(&'static str, Arc<dyn Way>)> {
    let mut ways: Vec<(&str, Arc<dyn Way>)> = Vec::new();
    match Ring::open(directory) {
        Ok(ring) => ways.push(("ring", Arc::new(Engine::new(Arc::new(ring))))),
        Err(error) => println!("ring is left out: {error}"),
    }
    match Bare::open(directory) {
        Ok(bare) => ways.push(("bare", Arc::new(bare))),
        Err(error) => println!("bare is left out: {error}"),
    }
    let threads = Threads::open(directory).expect("the directory opens");
    ways.push(("threads", Arc::new(Engine::new(Arc::new(threads)))));
    ways
}

impl Row {
    fn new(name: String, bytes: u64) -> Self {
        Row { name, bytes, rounds: Vec::new() }
    }

    fn print(&self) {
        let speed = |time: &Duration| self.bytes as f64 / time.as_secs_f64() / 1e9;
        let per_gib = |time: &Duration| time.as_secs_f64() * (1_u64 << 30) as f64 / self.bytes as f64;
        let speeds = spread(self.rounds.iter().map(|spent| speed(&spent.elapsed)).collect(), 2);
        let costs = spread(self.rounds.iter().map(|spent| per_gib(&spent.cpu)).collect(), 2);
        println!("{:44} {speeds:>22} {costs:>22}", self.name);
    }
}

/// A directory below cargo's target directory: `/tmp` is in memory on many machines.
fn directory() -> TempDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tempfile::Builder::new().prefix("disk-").tempdir_in(parent).expect("cargo's temporary directory")
}
