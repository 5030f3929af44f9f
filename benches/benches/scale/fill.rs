//! Fills a store through the engine: sealed, committed, durable, as pushes are.
//!
//! A process of its own: when it is done it says so and waits to be killed, so that the next one
//! finds what a crash leaves and starts with clean memory.

use std::{
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use orlop_engine::{Batch, Edge, Engine, Options, Result};
use tokio::task::JoinSet;

use crate::plan::{self, IMAGE_BLOBS, Plan, RUN_BLOBS};

/// Batches under way: while one is committed the others are sealed and gather for the next sync.
const WRITERS: usize = 8;

/// Lines of progress.
const REPORTS: u64 = 20;

/// Runs that were pushed, and since when.
struct Progress {
    plan: Plan,
    next_run: AtomicU64,
    done: AtomicU64,
    start: Instant,
}

/// Fills the store at `root`, then waits until standard input ends or the process is killed.
pub fn run(root: &Path, plan: Plan) -> crate::Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(fill(root, plan))?;
    println!("filled");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn fill(root: &Path, plan: Plan) -> crate::Outcome<()> {
    let engine = Engine::open(root, Options::default()).await?;
    let progress = Arc::new(Progress { plan, next_run: 0.into(), done: 0.into(), start: Instant::now() });
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(engine.clone(), progress.clone()));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    // Dropping it here would close the index, which a killed server has no time for.
    std::mem::forget(engine);
    Ok(())
}

async fn write(engine: Engine, progress: Arc<Progress>) -> Result<()> {
    loop {
        let run = progress.next_run.fetch_add(1, Ordering::Relaxed);
        if run >= progress.plan.runs() {
            return Ok(());
        }
        let batch = batch(&engine, progress.plan, run).await?;
        let _receipt = engine.commit(batch).await?;
        progress.report();
    }
}

/// One run's blobs, as one change.
async fn batch(engine: &Engine, plan: Plan, run: u64) -> Result<Batch> {
    let mut batch = Batch::new(plan::namespace(run));
    for number in run * RUN_BLOBS..(run + 1) * RUN_BLOBS {
        let content = Bytes::copy_from_slice(&plan::content(number));
        let sealed = engine.seal_bytes(plan::digest(number), content).await?;
        batch = if plan.is_document(number) {
            let image = number + 1 - IMAGE_BLOBS..number;
            let edges = image.map(|needed| Edge::needs(plan::digest(needed))).collect();
            batch.document(sealed, crate::load::MANIFEST.into(), edges)
        } else {
            batch.blob(sealed)
        };
    }
    Ok(batch)
}

impl Progress {
    fn report(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let runs = self.plan.runs();
        if runs >= REPORTS && (done * REPORTS / runs) != ((done - 1) * REPORTS / runs) {
            let seconds = self.start.elapsed().as_secs_f64();
            let blobs = done * RUN_BLOBS;
            eprintln!("  {blobs} blobs in {seconds:.0} s, {:.0} a second", blobs as f64 / seconds);
        }
    }
}
