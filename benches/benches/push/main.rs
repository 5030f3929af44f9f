//! Question: is a push faster by ring or by threads, and what does it cost the processor?
//!
//! Workload: pushes into the engine, from memory to acknowledged, of new content whose size and
//! digest are announced; each size by one client and by eight. Both stores are open all the time
//! and take turns, in another order each round. Yardstick: SHA-256 of the same bytes on one core.
//!
//! What is printed is the median of the rounds, the lowest and the highest, in MB/s, and the
//! processor time of the process in milliseconds per MiB.
//!
//! ```text
//!   cargo bench -p orlop-benches --bench push            five rounds of all sizes, three minutes
//!   cargo bench -p orlop-benches --bench push -- 9 1 64  nine rounds of content of 1 to 64 MiB
//! ```

use bytes::Bytes;
use orlop_engine::{Algorithm, Digest, Options, io::Backend};

#[path = "../engine/content.rs"]
mod content;
#[path = "../disk/spent.rs"]
mod spent;
#[path = "../engine/store.rs"]
#[expect(dead_code, reason = "the engine's benches need more of it")]
mod store;

use content::{Content, KIB, MIB, label};
use spent::{Spent, spread};
use store::{Store, push};

/// The server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;
const SIZES: [usize; 8] = [4 * KIB, 64 * KIB, 68 * KIB, 256 * KIB, MIB, 10 * MIB, 100 * MIB, 1024 * MIB];
const CLIENTS: [usize; 2] = [1, 8];

/// Of new content in one turn, unless a single piece is larger.
const TURN_BYTES: usize = 128 * MIB;
const TURN_PUSHES_MAX: usize = 512;

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(ROUNDS);
    let sizes = numbers.next().map_or(0, |mebibytes| mebibytes * MIB)
        ..=numbers.next().map_or(usize::MAX, |mebibytes| mebibytes * MIB);
    println!("{:30} {:>26} {:>24}", "", "MB/s (from, to)", "CPU-ms per MiB");
    for size in SIZES.into_iter().filter(|size| sizes.contains(size)) {
        for clients in CLIENTS.into_iter().filter(|clients| size * clients <= 1024 * MIB) {
            compare(size, clients, rounds);
        }
    }
}

/// Prints a line for each way to push content of `size` bytes.
fn compare(size: usize, clients: usize, rounds: usize) {
    let backends = [("ring", Backend::Ring), ("threads", Backend::Threads)];
    let mut rows: Vec<_> = backends
        .into_iter()
        .filter_map(|(name, backend)| match Store::open(&Options { backend, ..Options::default() }) {
            Ok(store) => Some((name, store, Vec::new())),
            Err(error) => {
                println!("{name} is left out: {error}");
                None
            }
        })
        .collect();
    let mut hashed = Vec::new();
    let pushes = (TURN_BYTES / size).clamp(clients, TURN_PUSHES_MAX) / clients;
    for round in 0..rounds {
        let turns = rows.len();
        for turn in 0..turns {
            let (_, store, spent) = &mut rows[(round + turn) % turns];
            spent.push(turn_of(store, size, clients, pushes));
        }
        let content = Content::new(size);
        let repeats = (64 * MIB / size).max(1);
        let spent = Spent::on(|| hash(content.as_bytes(), repeats));
        hashed.push(spent.per(repeats));
    }
    let name = |kind: &str| format!("{} x {clients}: {kind}", label(size));
    for (kind, _, spent) in &rows {
        print(&name(kind), size, spent);
    }
    print(&name("SHA-256"), size, &hashed);
}

/// One turn of a store: each client pushes `pushes` pieces one after the other. What one piece took.
fn turn_of(store: &Store, size: usize, clients: usize, pushes: usize) -> Spent {
    let mut content = Content::new(size);
    let mut sets: Vec<Vec<(Bytes, Digest)>> = (0..clients).map(|_| Vec::new()).collect();
    for set in &mut sets {
        for _ in 0..pushes {
            let digest = content.renew();
            set.push((content.to_bytes(), digest));
        }
    }
    let engine = store.engine();
    let spent = Spent::on(|| {
        store.run(async move {
            let clients: Vec<_> = sets
                .into_iter()
                .map(|set| {
                    let engine = engine.clone();
                    tokio::spawn(async move {
                        for (bytes, digest) in set {
                            push(&engine, &bytes, &digest).await.expect("pushed");
                        }
                    })
                })
                .collect();
            for client in clients {
                client.await.expect("a bench does not panic");
            }
        });
    });
    spent.per(clients * pushes)
}

fn hash(content: &[u8], repeats: usize) {
    for _ in 0..repeats {
        std::hint::black_box(Digest::of(Algorithm::Sha256, content));
    }
}

fn print(name: &str, size: usize, spent: &[Spent]) {
    let speeds = spent.iter().map(|spent| size as f64 / spent.elapsed.as_secs_f64() / 1e6);
    let costs = spent.iter().map(|spent| spent.cpu.as_secs_f64() * 1e3 * MIB as f64 / size as f64);
    println!("{name:30} {:>26} {:>24}", spread(speeds.collect(), 0), spread(costs.collect(), 2));
}
