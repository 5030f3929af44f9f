//! Question: what does a durable change cost, and what does group commit buy?
//!
//! Workload: each of 1, 8 or 64 callers commits new documents of 500 bytes with a new name, one
//! after the other without waiting for the other callers. An iteration is one commit of each.
//! Baseline: `append` appends 500 bytes to a file and syncs it: the least one durable change costs
//! without company.

use std::{
    cell::{LazyCell, RefCell},
    fs::File,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput};
use orlop_engine::{Batch, Options};

use crate::{
    content::Content,
    plain,
    store::{self, Store, document},
};

const DOCUMENT_BYTES: usize = 500;
const CALLERS: [u64; 3] = [1, 8, 64];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    let directory = store::directory();
    let content = Content::new(DOCUMENT_BYTES);
    let file = LazyCell::new(|| RefCell::new(File::create_new(directory.path().join("log")).expect("created")));
    group.throughput(Throughput::Elements(1));
    group.bench_function("append", |bencher| {
        let mut file = file.borrow_mut();
        bencher.iter(|| plain::append(&mut file, content.as_bytes()).expect("appended"));
    });
    for callers in CALLERS {
        let store = LazyCell::new(|| Store::open(&Options::default()).expect("the store opens"));
        group.throughput(Throughput::Elements(callers));
        group.bench_function(BenchmarkId::new("callers", callers), |bencher| {
            bencher.iter_custom(|iterations| commit_all(&store, callers, iterations));
        });
        // Not forced when the bench was filtered out.
        if let Some(store) = LazyCell::get(&store) {
            let counted = store.engine().statistics();
            let group_size = counted.commits as f64 / counted.commit_syncs as f64;
            println!("commit/callers/{callers}: {group_size:.1} changes per sync");
        }
    }
    group.finish();
}

/// Seals the documents first, then times the commits of all callers.
fn commit_all(store: &Store, callers: u64, iterations: u64) -> Duration {
    let engine = store.engine();
    store.run(async move {
        let mut content = Content::new(DOCUMENT_BYTES);
        let mut queues: Vec<Vec<Batch>> = Vec::new();
        for _ in 0..callers {
            let mut queue = Vec::new();
            for _ in 0..iterations {
                let name = content.renew().hex();
                queue.push(document(&engine, name, content.to_bytes()).await.expect("sealed"));
            }
            queues.push(queue);
        }
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for queue in queues {
            let engine = engine.clone();
            tasks.spawn(async move {
                for batch in queue {
                    let _receipt = engine.commit(batch).await.expect("committed");
                }
            });
        }
        tasks.join_all().await;
        start.elapsed()
    })
}
