//! What the rigs share: settings, all workers at once, and an end that finds leaks.

use std::env;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    Registry,
    collection::{settled, without_uploads},
    disk,
    verify::{Tally, Violation, Worker},
};

const SEED_DEFAULT: u64 = 1;

/// The number in an environment variable.
///
/// # Panics
/// If it is something else.
pub fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// `ORLOP_RIG_SEED`, which a failure names.
pub fn seed() -> u64 {
    number("ORLOP_RIG_SEED", SEED_DEFAULT)
}

/// Collection back to back; what was told to be there stays, what is deleted goes at once.
pub fn config(lease: &str) -> Value {
    json!({ "storage": { "gcDelay": "0s", "gcInterval": "1ms", "gcLease": lease } })
}

/// Runs every worker through `work`, all at once.
pub async fn all<W, F>(workers: Vec<Worker>, work: W) -> Result<Vec<Worker>, Violation>
where
    W: Fn(Worker) -> F,
    F: Future<Output = (Worker, Result<(), Violation>)> + Send + 'static,
{
    let mut tasks: JoinSet<_> = workers.into_iter().map(work).collect();
    let mut workers = Vec::new();
    let mut broken = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let (worker, result) = ended.expect("no worker panics");
        workers.push(worker);
        broken = broken.and(result);
    }
    broken.map(|()| workers)
}

/// Fails with the one line that repeats what happened.
///
/// # Panics
/// If a promise was broken.
pub fn kept(result: Result<Vec<Worker>, Violation>) -> Vec<Worker> {
    result.unwrap_or_else(|violation| panic!("{violation}"))
}

/// Deletes everything, waits until it is collected, and looks for what is left on the disk. Gives what
/// all workers did.
///
/// # Panics
/// If something is left, or can't be deleted.
pub async fn end(mut registry: Registry, workers: &mut [Worker]) -> Tally {
    let mut tally = Tally::default();
    for worker in workers {
        if let Err(stop) = worker.delete_all().await {
            panic!("deleting everything: {stop:?}");
        }
        tally.add(worker.tally());
    }
    registry.stop();
    registry.reconfigure(config("1s"));
    registry.restart().await;
    settled(&registry).await;
    without_uploads(&registry).await;
    registry.stop();
    let left = [disk::blob_files(&registry.root()), disk::upload_files(&registry.root())];
    assert_eq!(left, [vec![], vec![]], "files are left");
    let checked = registry.check();
    let is_empty = checked.stdout.contains("0 blobs (0 bytes), 0 members, 0 names, 0 edges, 0 open uploads");
    assert!(is_empty, "{}", checked.stdout);
    registry.finish();
    tally
}
