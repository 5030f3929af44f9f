//! What a run costs, by the share of garbage.

use std::time::Instant;

use crate::{Outcome, args::Arguments, memory, store::Store};

/// Garbage, in thousandths of the store.
const PER_MILLE: [u64; 3] = [1, 10, 100];

/// One run.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    members: u64,
    reads: u64,
    keys: u64,
    batches: u64,
    syncs: u64,
    memory_mib: f64,
}

/// Prints a table: medians of the rounds.
pub async fn measure(store: &Store, arguments: &Arguments) -> Outcome<()> {
    println!(
        "| garbage | removed | run, ms | per removal, us | index reads | keys written | batches (synced) | memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for per_mille in PER_MILLE {
        let mut samples = Vec::new();
        for _ in 0..arguments.rounds {
            store.make_garbage(arguments.blobs * per_mille / 1000).await?;
            samples.push(sample(store).await?);
        }
        let median = |of: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let seconds = median(|sample| sample.seconds);
        let removed = median(|sample| sample.members as f64);
        println!(
            "| {} % | {removed} | {:.0} | {:.1} | {} | {} | {} ({}) | {:.1} |",
            per_mille as f64 / 10.0,
            seconds * 1e3,
            seconds * 1e6 / removed.max(1.0),
            median(|sample| sample.reads as f64),
            median(|sample| sample.keys as f64),
            median(|sample| sample.batches as f64),
            median(|sample| sample.syncs as f64),
            median(|sample| sample.memory_mib),
        );
    }
    Ok(())
}

async fn sample(store: &Store) -> Outcome<Sample> {
    let resident = memory::begin()?;
    let calls = store.index.calls();
    let start = Instant::now();
    let report = store.collect(false).await?;
    let seconds = start.elapsed().as_secs_f64();
    let calls = store.index.calls().since(calls);
    if !report.is_complete || report.waiting != orlop_gc::Waiting::default() {
        return Err(format!("not all garbage went: {report}").into());
    }
    Ok(Sample {
        seconds,
        members: report.removed.members,
        reads: calls.reads,
        keys: calls.keys,
        batches: calls.batches,
        syncs: calls.syncs,
        memory_mib: memory::peak()?.saturating_sub(resident) as f64 / f64::from(1 << 20),
    })
}
