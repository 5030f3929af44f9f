//! Question: what do verification and the way through the engine cost a pull of hot content?
//!
//! Workload: content of 4 KiB (in the index), 1 MiB and 100 MiB (files in the page cache) is
//! found, opened and read whole; and a range of 64 KiB of the largest, at the start of a checksum
//! chunk and across two. `open` is the part before the first byte: found and opened. All of it
//! was opened before, and its membership lies in the index's memory; `look_up` shows the cost of
//! the index's files.
//! Baselines: `plain` opens and reads a file of the same bytes; `plain+crc32` sums them as well,
//! which is what verified reading costs at least.

use std::{cell::LazyCell, hint::black_box, ops::Range, path::PathBuf};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use orlop_engine::{Digest, Options};

use crate::{
    content::{Content, KIB, MIB, label},
    plain,
    store::{Store, drain, namespace, push},
};

const SIZES: [usize; 3] = [4 * KIB, MIB, 100 * MIB];
const RANGE_BYTES: u64 = 64 << 10;

/// In the middle of the largest content, a multiple of the checksum chunks.
const RANGE_START: u64 = 50 << 20;

/// Content in a store, and the same bytes in a plain file beside it.
struct Stored {
    store: Store,
    digest: Digest,
    plain: PathBuf,
}

impl Stored {
    fn new(size: usize) -> Self {
        let store = Store::open(&Options::default()).expect("the store opens");
        let mut content = Content::new(size);
        let digest = content.renew();
        plain::write(store.path(), "plain", content.as_bytes()).expect("written");
        let (engine, bytes) = (store.engine(), content.to_bytes());
        store.run(async move { push(&engine, &bytes, &digest).await }).expect("pushed");
        let plain = store.path().join("plain");
        Stored { store, digest, plain }
    }
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for size in SIZES {
        let stored = LazyCell::new(|| Stored::new(size));
        let whole = 0..size as u64;
        open(&mut group, &stored, &label(size));
        compare(&mut group, &stored, &label(size), whole);
        if size == SIZES[2] {
            let aligned = RANGE_START..RANGE_START + RANGE_BYTES;
            compare(&mut group, &stored, "range of 64 KiB", aligned);
            let across = RANGE_START + RANGE_BYTES / 2..RANGE_START + RANGE_BYTES / 2 + RANGE_BYTES;
            compare(&mut group, &stored, "range across chunks", across);
        }
    }
    group.finish();
}

fn open(group: &mut BenchmarkGroup<'_, WallTime>, stored: &LazyCell<Stored, impl FnOnce() -> Stored>, label: &str) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("open", label), |bencher| {
        let digest = stored.digest;
        bencher.iter_custom(|iterations| {
            stored.store.repeat(iterations, move |engine| async move {
                black_box(engine.open_blob(&namespace(), &digest).await.expect("opened"));
            })
        });
    });
}

fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    stored: &LazyCell<Stored, impl FnOnce() -> Stored>,
    label: &str,
    range: Range<u64>,
) {
    group.throughput(Throughput::Bytes(range.end - range.start));
    group.bench_function(BenchmarkId::new("engine", label), |bencher| {
        let digest = stored.digest;
        bencher.iter_custom(|iterations| {
            let range = range.clone();
            stored.store.repeat(iterations, move |engine| {
                let range = range.clone();
                async move {
                    let blob = engine.open_blob(&namespace(), &digest).await.expect("opened");
                    black_box(drain(blob, range).await.expect("read"));
                }
            })
        });
    });
    group.bench_function(BenchmarkId::new("plain", label), |bencher| {
        let path = stored.plain.as_path();
        bencher.iter(|| plain::read(path, &range, consume).expect("read"));
    });
    group.bench_function(BenchmarkId::new("plain+crc32", label), |bencher| {
        let path = stored.plain.as_path();
        bencher.iter(|| plain::read(path, &range, sum).expect("read"));
    });
}

fn consume(part: &[u8]) {
    black_box(part);
}

fn sum(part: &[u8]) {
    black_box(crc32fast::hash(part));
}
