//! Clients that push and pull over HTTP, with and without a collection or a scrub beside them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use orlop_api::{Policy, Registry, limits::Limits};
use orlop_engine::{Algorithm, Digest};
use orlop_gc::{ScrubOptions, Scrubber};
use tokio::{sync::oneshot, task::JoinSet};

use crate::{
    Outcome,
    args::Arguments,
    client::Connection,
    latency::{Latencies, Summary},
    store::{IMAGE_BLOBS, MANIFEST, Store, blob, repository, tag},
};

/// Clients of each kind.
const PULLERS: u64 = 4;
const PUSHERS: u64 = 2;

/// A client sends its next request so long after the last one, unless the answer took longer: the
/// machine is busy, and not so busy that requests wait for each other.
const PACE: Duration = Duration::from_millis(3);

/// The least that a round lasts, so that its p99 is one.
const ROUND_MIN: Duration = Duration::from_secs(3);

/// Pushes of one run of the bench, so that none is pushed twice.
static PUSHED: AtomicU64 = AtomicU64::new(0);

/// How long a round with a scrub lasts, and in the tests.
const SCRUB_ROUND: Duration = Duration::from_secs(15);
const SCRUB_TEST_ROUND: Duration = Duration::from_millis(500);

/// The rate of `extensions.scrub` in bytes a second if nobody sets it.
const SCRUB_RATE: u64 = 32 << 20;

/// The registry over the store, while it serves.
struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Serving {
    fn start(store: &Store) -> Outcome<Self> {
        let registry = Registry::new(store.engine.clone(), Limits::default(), Policy::default());
        let server = registry.bind(([127, 0, 0, 1], 0).into(), None)?;
        let address = server.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Ok(Serving { address, stop, ended })
    }

    async fn end(self) -> Outcome<()> {
        drop(self.stop);
        Ok(self.ended.await??)
    }
}

/// Latencies of one kind of request, with and without work beside them.
#[derive(Default)]
struct Pair {
    with: Latencies,
    without: Latencies,
}

/// Latencies of pulls and of pushes.
#[derive(Default)]
struct Pairs([Pair; 2]);

impl Pairs {
    fn with(&mut self, latencies: [Latencies; 2]) {
        self.0.iter_mut().zip(latencies).for_each(|(pair, latencies)| pair.with.merge(latencies));
    }

    fn without(&mut self, latencies: [Latencies; 2]) {
        self.0.iter_mut().zip(latencies).for_each(|(pair, latencies)| pair.without.merge(latencies));
    }

    /// All rounds of each kind together.
    fn print(self) {
        println!(
            "| request | without: p50, ms | p99 | longest | with: p50, ms | p99 | longest | p99 ratio | requests, a second |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for (name, pair) in ["pull", "push"].into_iter().zip(self.0) {
            let (with, without) = (pair.with.summary(), pair.without.summary());
            let ms = |summary: &Summary| {
                let [p50, p99, max] = [summary.p50_us, summary.p99_us, summary.max_us].map(|us| us / 1e3);
                format!("{p50:.2} | {p99:.2} | {max:.1}")
            };
            let ratio = with.p99_us / without.p99_us;
            let (off, on) = (without.per_second, with.per_second);
            let requests = without.requests + with.requests;
            println!("| {name} | {} | {} | {ratio:.2} | {requests}, {off:.0} and {on:.0} |", ms(&without), ms(&with));
        }
    }
}

/// Prints a table of requests beside collections.
pub async fn collection(store: &Store, arguments: &Arguments) -> Outcome<()> {
    let serving = Serving::start(store)?;
    let garbage = arguments.blobs * arguments.per_mille / 1000;
    let mut pairs = Pairs::default();
    let mut runs = Vec::new();
    for _ in 0..arguments.rounds {
        // Runs one after the other, each with garbage of its own, until the round is long enough.
        let mut took = Duration::ZERO;
        while took < ROUND_MIN {
            store.make_garbage(garbage).await?;
            let load = Load::start(serving.address, arguments.blobs).await?;
            let start = Instant::now();
            store.collect(true).await?;
            runs.push(start.elapsed());
            took += start.elapsed();
            pairs.with(load.end().await?);
        }
        let load = Load::start(serving.address, arguments.blobs).await?;
        tokio::time::sleep(took).await;
        pairs.without(load.end().await?);
    }
    runs.sort_unstable();
    println!("{} runs over {garbage} blobs of garbage, the median of them {:?}", runs.len(), runs[runs.len() / 2]);
    pairs.print();
    serving.end().await
}

/// Prints a table of requests beside a scrub at its default rate, and one of requests beside a scrub as fast as it can.
pub async fn scrub(store: &Store, arguments: &Arguments) -> Outcome<()> {
    let serving = Serving::start(store)?;
    let round = if arguments.is_test { SCRUB_TEST_ROUND } else { SCRUB_ROUND };
    for rate_bytes_max in [Some(SCRUB_RATE), None] {
        let mut pairs = Pairs::default();
        let before = store.engine.statistics();
        let mut took = Duration::ZERO;
        for _ in 0..arguments.rounds {
            let (load, start) = (Load::start(serving.address, arguments.blobs).await?, Instant::now());
            let scrubber = Scrubber::new(store.engine.clone(), ScrubOptions { interval: None, rate_bytes_max });
            let scrubbing = scrubber.spawn()?;
            // A pass that comes to its end in the round begins anew.
            while start.elapsed() < round {
                scrubber.start();
                tokio::time::sleep(PACE).await;
            }
            scrubbing.stop().await;
            took += start.elapsed();
            pairs.with(load.end().await?);
            let load = Load::start(serving.address, arguments.blobs).await?;
            tokio::time::sleep(round).await;
            pairs.without(load.end().await?);
        }
        let seconds = took.as_secs_f64();
        let after = store.engine.statistics();
        let blobs = (after.blobs_scrubbed - before.blobs_scrubbed) as f64 / seconds;
        let mebibytes = ((after.bytes_scrubbed - before.bytes_scrubbed) >> 20) as f64 / seconds;
        println!("a scrub of {blobs:.0} blobs and {mebibytes:.1} MiB a second, at most {rate_bytes_max:?} bytes");
        pairs.print();
    }
    serving.end().await
}

/// Clients at work.
struct Load {
    is_over: Arc<AtomicBool>,
    pullers: JoinSet<Outcome<Vec<Duration>>>,
    pushers: JoinSet<Outcome<Vec<Duration>>>,
    start: Instant,
}

impl Load {
    async fn start(address: SocketAddr, blobs: u64) -> Outcome<Self> {
        let mut load =
            Load { is_over: Arc::default(), pullers: JoinSet::new(), pushers: JoinSet::new(), start: Instant::now() };
        for client in 0..PULLERS {
            let connection = Connection::open(address).await?;
            load.pullers.spawn(pull(connection, load.is_over.clone(), blobs / IMAGE_BLOBS, client));
        }
        for _ in 0..PUSHERS {
            load.pushers.spawn(push(Connection::open(address).await?, load.is_over.clone()));
        }
        Ok(load)
    }

    async fn end(self) -> Outcome<[Latencies; 2]> {
        let took = self.start.elapsed();
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = [Latencies::default(), Latencies::default()];
        for (mut clients, latencies) in [self.pullers, self.pushers].into_iter().zip(&mut all) {
            latencies.took = took;
            while let Some(times) = clients.join_next().await {
                latencies.extend(times??);
            }
        }
        Ok(all)
    }
}

/// Pulls images: a manifest by its tag and one of its small blobs.
async fn pull(mut connection: Connection, is_over: Arc<AtomicBool>, images: u64, seed: u64) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    let mut random = seed.wrapping_add(1);
    while !is_over.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let image = (random >> 33) % images;
        let name = repository(image);
        let digest = blob(image, 1 + random % (IMAGE_BLOBS - 1));
        for target in [format!("manifests/{}", tag(image)), format!("blobs/{digest}")] {
            let request = format!("GET /v2/{name}/{target} HTTP/1.1\r\nhost: collect\r\n\r\n");
            times.push(timed(&mut connection, request.as_bytes(), 200).await?);
        }
    }
    Ok(times)
}

/// Pushes images: a new blob and a manifest that needs it, by a new tag.
async fn push(mut connection: Connection, is_over: Arc<AtomicBool>) -> Outcome<Vec<Duration>> {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let number = PUSHED.fetch_add(1, Ordering::Relaxed);
        let content = format!("pushed by {} as {number}", std::process::id());
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let name = repository(number);
        let length = content.len();
        let request = format!(
            "POST /v2/{name}/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: collect\r\ncontent-length: {length}\r\n\r\n{content}"
        );
        times.push(timed(&mut connection, request.as_bytes(), 201).await?);
        let descriptor = format!(r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{length}}}"#);
        let body =
            format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{descriptor},"layers":[{descriptor}]}}"#);
        let request = format!(
            "PUT /v2/{name}/manifests/traffic-{number} HTTP/1.1\r\nhost: collect\r\ncontent-type: {MANIFEST}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        times.push(timed(&mut connection, request.as_bytes(), 201).await?);
    }
    Ok(times)
}

/// One request, and what is left of its pace.
async fn timed(connection: &mut Connection, request: &[u8], expected: u16) -> Outcome<Duration> {
    let start = Instant::now();
    let status = connection.exchange(request).await?;
    let took = start.elapsed();
    if status != expected {
        return Err(format!("{expected} expected, {status} found: {}", String::from_utf8_lossy(request)).into());
    }
    tokio::time::sleep(PACE.saturating_sub(took)).await;
    Ok(took)
}
