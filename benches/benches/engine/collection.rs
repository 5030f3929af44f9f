//! Question: does a collection cost what the garbage costs, and not what the store costs?
//!
//! Workload: a store of a fixed number of blobs, each needed by a named document, and garbage of
//! 0.1, 1 and 10 per cent of that number. `plan` makes the plan; `run` plans and sweeps. An iteration
//! is one whole collection. `settle` is the run after the store was filled, which looks at every
//! blob once because all of them are new. `sweep` is 4 steps of a plan alone, the most that share a
//! transaction: how long a push that comes at the wrong moment waits for them. Its members are taken
//! out first; removing their content waits for a sync.
//!
//! ORLOP_BENCH_BLOBS sets the size of the store; the default is small enough for `make bench`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Options,
    collect::{Cause, STEPS_MAX, Sweep, Swept},
};
use orlop_gc::{Flow, Report};

use crate::store::{Store, namespace};

const BLOBS_DEFAULT: u64 = 20_000;
/// Garbage, in thousandths of the store.
const GARBAGE_PER_MILLE: [u64; 3] = [1, 10, 100];
/// Blobs in one commit, and needed by one document.
const BATCH: u64 = 500;
/// Epochs of a lease.
const LEASE: u64 = 1;

pub fn bench(criterion: &mut Criterion) {
    let blobs = std::env::var("ORLOP_BENCH_BLOBS").map_or(BLOBS_DEFAULT, |text| text.parse().expect("a number"));
    let store = Store::open(&Options { lease_epochs: LEASE, ..Options::default() }).expect("a store opens");
    let engine = store.engine();
    engine.waive_earlier_answers();
    store.run(fill(engine.clone(), blobs, true));
    let settled = store.run(timed(engine.clone()));
    println!("collection/settle: {blobs} new blobs in {settled:?}");
    let mut group = criterion.benchmark_group("collection");
    for per_mille in GARBAGE_PER_MILLE {
        let garbage = blobs * per_mille / 1000;
        group.throughput(Throughput::Elements(garbage));
        group.bench_function(BenchmarkId::new("run", garbage), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    store.run(fill(engine.clone(), garbage, false));
                    total += store.run(timed(engine.clone()));
                }
                total
            });
        });
        store.run(fill(engine.clone(), garbage, false));
        store.run(expire(engine.clone()));
        group.bench_function(BenchmarkId::new("plan", garbage), |bencher| {
            bencher.iter_custom(|iterations| {
                store.repeat(iterations, |engine| async move {
                    let plan = orlop_gc::plan(&engine, &options()).await.expect("planned");
                    std::hint::black_box(plan);
                })
            });
        });
        store.run(timed(engine.clone()));
    }
    for (name, is_content) in [("members", false), ("contents", true)] {
        group.throughput(Throughput::Elements(STEPS_MAX as u64));
        group.bench_function(BenchmarkId::new("sweep", name), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let [members, contents] = store.run(swept(engine.clone()));
                    total += if is_content { contents } else { members };
                }
                total
            });
        });
    }
    group.finish();
}

/// Pushes as many blobs as one transaction removes, and removes them: the memberships, then the
/// contents.
async fn swept(engine: Engine) -> [Duration; 2] {
    fill(engine.clone(), STEPS_MAX as u64, false).await;
    expire(engine.clone()).await;
    let digests = (0..STEPS_MAX as u64).map(|number| Digest::of(Algorithm::Sha256, &garbage(number)));
    let member = |digest| Sweep::Member { namespace: namespace(), digest, cause: Cause::Unneeded, delay: 0 };
    let contents = digests.clone().map(|digest| Sweep::Content { digest, delay: 0 }).collect();
    let mut times = [Duration::ZERO; 2];
    for (steps, time) in [digests.map(member).collect(), contents].into_iter().zip(&mut times) {
        let start = Instant::now();
        let swept = engine.sweep(steps).await.expect("swept");
        *time = start.elapsed();
        assert!(swept.iter().all(|swept| matches!(swept, Swept::Done { .. })), "all of it is garbage");
    }
    times
}

fn garbage(number: u64) -> Bytes {
    Bytes::from(format!("garbage blob {number} of the bench"))
}

fn options() -> orlop_gc::Options {
    orlop_gc::Options { delay: 0, document_delay: 0, plan_removals_max: usize::MAX, ..orlop_gc::Options::default() }
}

async fn expire(engine: Engine) {
    for _ in 0..=LEASE {
        engine.advance_epoch().await.expect("advances");
    }
}

/// A whole collection as a server runs it, with its many plans.
async fn timed(engine: Engine) -> Duration {
    expire(engine.clone()).await;
    let start = Instant::now();
    let options = orlop_gc::Options { delay: 0, document_delay: 0, ..orlop_gc::Options::default() };
    orlop_gc::collect(&engine, &options, &mut |_: &Report| Flow::Continue(())).await.expect("collects");
    start.elapsed()
}

/// Small new blobs, with a named document over each batch of them or without.
async fn fill(engine: Engine, blobs: u64, is_kept: bool) {
    for first in (0..blobs).step_by(BATCH as usize) {
        let mut batch = Batch::new(namespace());
        let mut edges = Vec::new();
        for number in first..(first + BATCH).min(blobs) {
            let kept = || Bytes::from(format!("kept blob {number} of the bench"));
            let content = if is_kept { kept() } else { garbage(number) };
            let digest = Digest::of(Algorithm::Sha256, &content);
            batch = batch.blob(engine.seal_bytes(digest, content).await.expect("sealed"));
            edges.push(Edge::needs(digest));
        }
        if is_kept {
            let content = Bytes::from(format!("document over {first}"));
            let digest = Digest::of(Algorithm::Sha256, &content);
            let sealed = engine.seal_bytes(digest, content).await.expect("sealed");
            batch = batch.document(sealed, b"bench".to_vec(), edges).bind(first.to_string(), digest);
        }
        let _receipt = engine.commit(batch).await.expect("committed");
    }
}
