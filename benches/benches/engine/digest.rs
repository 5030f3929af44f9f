//! Question: how much of a push is hashing?
//!
//! Workload: 4 KiB, 64 KiB and 1 MiB in memory, one core. An upload computes one digest and the
//! chunk checksums (CRC-32) of each byte, a read only the checksums.
//! Baseline: the other algorithms; SHA-256 is the yardstick of the ingest group.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use orlop_engine::{Algorithm, Digest};

use crate::content::{Content, KIB, MIB, label};

const SIZES: [usize; 3] = [4 * KIB, 64 * KIB, MIB];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for size in SIZES {
        let content = Content::new(size);
        group.throughput(Throughput::Bytes(size as u64));
        for algorithm in Algorithm::ALL {
            group.bench_function(BenchmarkId::new(algorithm.name(), label(size)), |bencher| {
                bencher.iter(|| Digest::of(algorithm, black_box(content.as_bytes())));
            });
        }
        group.bench_function(BenchmarkId::new("crc32", label(size)), |bencher| {
            bencher.iter(|| crc32fast::hash(black_box(content.as_bytes())));
        });
    }
    group.finish();
}
