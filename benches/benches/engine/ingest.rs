//! Question: how fast does a push go from memory to acknowledged, and what is it made of?
//!
//! Workload: one client pushes whole uploads of announced size and digest, each new to the store:
//! 4 KiB and 64 KiB (kept in the index), 68 KiB (the smallest to get a file), 1 MiB, 100 MiB; by
//! ring and by threads. `known` pushes what the store has already: hashed, not written.
//! Baselines: `sha256` hashes the same bytes; `file` writes them to a new file and syncs the file
//! and its directory.

use std::{
    cell::LazyCell,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, measurement::WallTime};
use orlop_engine::{Algorithm, Digest, Options, io::Backend};

use crate::{
    content::{Content, KIB, MIB, label},
    plain,
    store::{self, Store, push},
};

const SIZES: [usize; 5] = [4 * KIB, 64 * KIB, 68 * KIB, MIB, 100 * MIB];
const KNOWN_SIZES: [usize; 2] = [MIB, 100 * MIB];

/// From this size on an iteration takes so long that every sample has as few as possible.
const LONG_BYTES: usize = 16 * MIB;
const LONG_MEASUREMENT: Duration = Duration::from_secs(4);

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ingest");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        if size >= LONG_BYTES {
            group.sampling_mode(SamplingMode::Flat).measurement_time(LONG_MEASUREMENT);
        }
        sha256(&mut group, size);
        file(&mut group, size);
        for (name, backend) in [("ring", Backend::Ring), ("threads", Backend::Threads)] {
            engine(&mut group, name, backend, size);
        }
    }
    for size in KNOWN_SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        known(&mut group, size);
    }
    group.finish();
}

fn sha256(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let content = LazyCell::new(|| Content::new(size));
    group.bench_function(BenchmarkId::new("sha256", label(size)), |bencher| {
        let content = content.as_bytes();
        bencher.iter(|| Digest::of(Algorithm::Sha256, content));
    });
}

fn file(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let content = LazyCell::new(|| Content::new(size));
    let directory = store::directory();
    group.bench_function(BenchmarkId::new("file", label(size)), |bencher| {
        let content = content.as_bytes();
        bencher.iter_custom(|iterations| {
            let mut elapsed = Duration::ZERO;
            for _ in 0..iterations {
                let start = Instant::now();
                plain::write(directory.path(), "file", content).expect("written");
                elapsed += start.elapsed();
                plain::remove(directory.path(), "file").expect("removed");
            }
            elapsed
        });
    });
}

fn engine(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, backend: Backend, size: usize) {
    let options = Options { backend, ..Options::default() };
    let store = match Store::open(&options) {
        Ok(store) => store,
        Err(error) => {
            println!("ingest/{name} is left out: {error}");
            return;
        }
    };
    let mut content = Content::default();
    group.bench_function(BenchmarkId::new(name, label(size)), |bencher| {
        if content.as_bytes().is_empty() {
            content = Content::new(size);
        }
        bencher.iter_custom(|iterations| push_new(&store, &mut content, iterations));
    });
}

/// Pushes content that is made, and hashed for its digest, outside the time that is measured.
fn push_new(store: &Store, content: &mut Content, iterations: u64) -> Duration {
    let engine = store.engine();
    let mut own = std::mem::take(content);
    let (elapsed, own) = store.run(async move {
        let mut elapsed = Duration::ZERO;
        for _ in 0..iterations {
            let digest = own.renew();
            let start = Instant::now();
            push(&engine, own.as_bytes(), &digest).await.expect("pushed");
            elapsed += start.elapsed();
        }
        (elapsed, own)
    });
    *content = own;
    elapsed
}

fn known(group: &mut BenchmarkGroup<'_, WallTime>, size: usize) {
    let pushed = LazyCell::new(|| {
        let store = Store::open(&Options::default()).expect("the store opens");
        let mut content = Content::new(size);
        let digest = content.renew();
        let (engine, bytes) = (store.engine(), content.to_bytes());
        let first = bytes.clone();
        store.run(async move { push(&engine, &first, &digest).await }).expect("pushed");
        (store, bytes, digest)
    });
    group.bench_function(BenchmarkId::new("known", label(size)), |bencher| {
        let (store, bytes, digest) = &*pushed;
        bencher.iter_custom(|iterations| {
            let (bytes, digest) = (bytes.clone(), *digest);
            store.repeat(iterations, move |engine| {
                let bytes = bytes.clone();
                async move { push(&engine, &bytes, &digest).await.expect("pushed") }
            })
        });
    });
}
