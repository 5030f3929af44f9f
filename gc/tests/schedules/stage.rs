//! Where a scenario takes place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orlop_engine::{
    Engine, Options,
    environment::Environment,
    index::Index,
    schedule::{self, yield_now},
};
use orlop_gc::Rules;

use crate::common::*;

/// What somebody who takes part found wrong.
pub type Turn = Result<(), String>;

/// Time that goes on by a millisecond whenever it is asked for, and numbers that only look random.
struct Repeatable(AtomicU64);

impl Repeatable {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Environment for Repeatable {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.next()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.next())
    }

    fn random(&self) -> u128 {
        u128::from(self.next()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// A store in memory whose leases last one epoch, and whose answers come in the order of the seed.
pub fn ground(seed: u64) -> Parts {
    let mut parts = Parts::new(seed);
    let environment = Arc::new(Repeatable(AtomicU64::new(1)));
    // Nobody waits for these times; `uploads::quiet` is about those who do.
    let never = Duration::from_secs(3600);
    parts.options = Options {
        lease_epochs: 1,
        hash_threads: 0,
        upload_settle: never,
        usage_flush: never,
        environment,
        ..parts.options
    };
    parts
}

/// Rules of a collection that spares nothing.
pub fn rules() -> orlop_gc::Options {
    let keep = Arc::new(Rules { delete_unnamed: true, delete_referring: true });
    orlop_gc::Options { delay: 0, document_delay: 0, keep, rests: false, ..orlop_gc::Options::default() }
}

/// Runs all who take part at the same time. Gives what the first of them found wrong.
pub async fn together(all: Vec<impl Future<Output = Turn> + Send + 'static>) -> Turn {
    let tasks: Vec<_> = all.into_iter().map(schedule::spawn).collect();
    let mut outcome = Ok(());
    for task in tasks {
        outcome = outcome.and(task.await.map_err(|error| error.to_string())?);
    }
    outcome
}

/// Who takes part, of whatever kind.
pub type Part = std::pin::Pin<Box<dyn Future<Output = Turn> + Send>>;

pub fn part(of: impl Future<Output = Turn> + Send + 'static) -> Part {
    Box::pin(of)
}

/// An engine over the index of these parts, or over another one that stands before it.
pub async fn open_over(parts: &Parts, index: Arc<dyn Index>) -> Result<Engine, String> {
    let engine = parts.open_over(index).await.map_err(|error| format!("opening: {error}"))?;
    engine.waive_earlier_answers();
    Ok(engine)
}

pub async fn open(parts: &Parts) -> Result<Engine, String> {
    open_over(parts, parts.index.clone()).await
}

/// Two collections with an epoch between them: as many as a lease of one epoch protects from.
pub async fn collecting(engine: Engine) -> Turn {
    for round in 0..2 {
        if round > 0 {
            advance(&engine, 1).await;
        }
        collect(&engine, &rules()).await;
        yield_now().await;
    }
    Ok(())
}

/// After everything, the store is sound: also after all garbage went, of which nothing is left.
pub async fn end(parts: &Parts, engine: Engine) -> Turn {
    let false_alarms = engine.statistics().blobs_damaged;
    advance(&engine, 3).await;
    collect(&engine, &rules()).await;
    engine.close().await.map_err(|error| format!("closing: {error}"))?;
    let report = parts.check().await;
    if (report.garbage, report.unreferenced, false_alarms) != (0, 0, 0) {
        return Err(format!("{false_alarms} false alarms, and left over: {report}"));
    }
    Ok(())
}
