//! Pulls that are not in the index yet.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    Digest, Namespace,
    clock::{Clock, Moment},
    commit::{Transaction, decoded},
    error::Result,
    format::{MemberRecord, UsageRecord, keys},
    index::{Durability, Table},
    schedule::{self, Mutex, MutexGuard, RandomState},
    statistics::add,
    store::Store,
};

/// Pulls of different documents meet at a lock only if they share it.
const SHARDS: usize = 16;

/// Documents whose pulls wait in one shard. All shards together take some 15 MiB when they are
/// full. Half of it asks for a flush; what comes when it is full is counted as lost.
const SHARD_DOCUMENTS_MAX: usize = 4096;

/// Rows written by one change, so that pushes never wait for a whole flush.
const CHANGE_ROWS_MAX: usize = 256;

type Document = (Namespace, Digest);

#[derive(Default)]
pub(crate) struct Pulls {
    shards: [Mutex<HashMap<Document, Pulled, RandomState>>; SHARDS],
    /// Wakes the task that flushes before its time.
    pub crowded: Arc<Notify>,
    /// Held by a flush, so that the next one begins after everything taken by it is written.
    flushing: tokio::sync::Mutex<()>,
}

/// Pulls of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pulled {
    count: u64,
    last: Moment,
}

impl Pulls {
    /// Counts a pull. Waits for nothing but another pull. False if it was lost, because too many
    /// documents wait.
    pub fn note(&self, namespace: &Namespace, digest: &Digest, now: Moment) -> bool {
        let mut waiting = lock(&self.shards[usize::from(digest.as_bytes()[0]) % SHARDS]);
        let len = waiting.len();
        let document = (namespace.clone(), *digest);
        if let Some(pulled) = waiting.get_mut(&document) {
            pulled.count += 1;
            pulled.last = now;
            return true;
        }
        if len >= SHARD_DOCUMENTS_MAX / 2 {
            self.crowded.notify_one();
        }
        if len >= SHARD_DOCUMENTS_MAX {
            return false;
        }
        waiting.insert(document, Pulled { count: 1, last: now });
        true
    }

    fn take(&self, shard: usize) -> Vec<(Document, Pulled)> {
        std::mem::take(&mut *lock(&self.shards[shard])).into_iter().collect()
    }
}

/// Writes down what was noted so far. It becomes durable with the next synced change.
/// Errors: `Stopped`; then nothing is written any more, and the pulls are lost.
pub(crate) async fn flush(store: &Store) -> Result<()> {
    let _alone = store.pulls.flushing.lock().await;
    for shard in 0..SHARDS {
        let mut taken = store.pulls.take(shard);
        while !taken.is_empty() {
            let rows = taken.split_off(taken.len().saturating_sub(CHANGE_ROWS_MAX));
            add(&store.counters.pulls_recorded, rows.iter().map(|(_, pulled)| pulled.count).sum());
            let clock = store.clock.clone();
            let write = move |transaction: &mut Transaction<'_>| {
                Clock::record(transaction, clock.now());
                rows.iter().try_for_each(|(document, pulled)| record(transaction, document, pulled))
            };
            store.committer.run(Durability::Buffered, write).await?;
        }
    }
    Ok(())
}

/// Writes the clock and pulls down every `period`, and earlier when many documents wait, until the store is
/// closed.
pub(crate) async fn tend(store: Weak<Store>, period: Duration) {
    loop {
        // Waiting does not keep the store open.
        let Some(crowded) = store.upgrade().map(|store| store.pulls.crowded.clone()) else { return };
        let early = schedule::is_done_within(period, crowded.notified()).await;
        let Some(store) = store.upgrade() else { return };
        tracing::debug!(early, "writing pulls down");
        // Closing the store ends this task, but not a flush that has begun.
        let flushing = store.clone();
        let flush = async move {
            record_clock(&flushing).await?;
            flush(&flushing).await
        };
        if let Err(error) = store.running.to_the_end(flush).await {
            tracing::warn!(%error, "pulls could not be written down");
        }
    }
}

/// Also a store in which nothing happens gets older.
async fn record_clock(store: &Store) -> Result<()> {
    let clock = store.clock.clone();
    let write = move |transaction: &mut Transaction<'_>| {
        Clock::record(transaction, clock.now());
        Ok(())
    };
    store.committer.run(Durability::Buffered, write).await
}

/// Adds pulls to a document's row. A document that is gone gets none.
fn record(transaction: &mut Transaction<'_>, (namespace, digest): &Document, pulled: &Pulled) -> Result<()> {
    let key = keys::member(namespace, digest);
    let Some(member) = transaction.get(Table::Members, &key)? else { return Ok(()) };
    if decoded(MemberRecord::decode(&member))?.label.is_empty() {
        return Ok(());
    }
    let before = match transaction.get(Table::Usage, &key)? {
        Some(bytes) => decoded(UsageRecord::decode(&bytes))?.pulls,
        None => 0,
    };
    let record = UsageRecord { pulls: before.saturating_add(pulled.count), pulled: pulled.last };
    transaction.put(Table::Usage, key, record.encode());
    Ok(())
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().expect("nothing panics while it is held")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn moment(clock_ms: u64) -> Moment {
        Moment { unix_ms: 0, clock_ms }
    }

    #[test]
    fn pulls_of_one_document_are_one_row() {
        let pulls = Pulls::default();
        let (one, other) = (Namespace::new("a").expect("valid"), Namespace::new("b").expect("valid"));
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for clock_ms in 1..=3 {
            assert!(pulls.note(&one, &digest, moment(clock_ms)));
        }
        assert!(pulls.note(&other, &digest, moment(9)));
        let mut taken: Vec<_> = (0..SHARDS).flat_map(|shard| pulls.take(shard)).collect();
        taken.sort_by_key(|((namespace, _), _)| namespace.clone());
        assert_eq!(
            taken,
            [
                ((one, digest), Pulled { count: 3, last: moment(3) }),
                ((other, digest), Pulled { count: 1, last: moment(9) })
            ]
        );
        assert!((0..SHARDS).all(|shard| pulls.take(shard).is_empty()));
    }

    #[test]
    fn memory_is_bounded_and_known_documents_are_still_counted() {
        let pulls = Pulls::default();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let namespace = |at: usize| Namespace::new(&at.to_string()).expect("valid");
        for at in 0..SHARD_DOCUMENTS_MAX {
            assert!(pulls.note(&namespace(at), &digest, moment(1)));
        }
        assert!(!pulls.note(&namespace(SHARD_DOCUMENTS_MAX), &digest, moment(2)));
        assert!(pulls.note(&namespace(0), &digest, moment(3)));
    }
}
