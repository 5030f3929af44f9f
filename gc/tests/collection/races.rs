//! Collections back to back, without any delay, against clients that push, mount, ask and skip,
//! delete and push again. Whoever was told that something is there must find it so.
//!
//! An epoch begins when every client has ended a turn since the last one did. So at most one begins
//! within a turn, and leases of one epoch protect a whole turn, however slow the machine is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use orlop_engine::{Batch, Edge, Engine, Error, Namespace, Removal};
use orlop_gc::{Options, Rules};

use crate::common::*;

const CLIENTS: u64 = 8;
/// Turns of each client.
const TURNS: u64 = 150;
/// Contents that all clients share: few, so that they meet.
const CONTENTS: u64 = 6;

struct Race {
    engine: Engine,
    /// Turns that each client has ended.
    turns: Vec<AtomicU64>,
    is_over: AtomicBool,
    runs: AtomicU64,
}

impl Race {
    /// Collections and epochs until the clients are done.
    async fn collect(&self) {
        let keep = Arc::new(Rules { delete_unnamed: true, delete_referring: true });
        let options = Options { delay: 0, document_delay: 0, keep, plan_removals_max: 16 };
        let mut seen = vec![0; self.turns.len()];
        while !self.is_over.load(Ordering::SeqCst) {
            collect(&self.engine, &options).await;
            self.runs.fetch_add(1, Ordering::Relaxed);
            let now: Vec<u64> = self.turns.iter().map(|turns| turns.load(Ordering::SeqCst)).collect();
            if now.iter().zip(&seen).all(|(now, seen)| now > seen || *now == TURNS) {
                seen = now;
                advance(&self.engine, 1).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Runs clients against collections and gives the store back, quiet.
async fn race<F, C>(client: C) -> Parts
where
    C: Fn(Engine, u64, u64) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let mut parts = Parts::new(5);
    parts.options.lease_epochs = 1;
    let engine = parts.open().await;
    let turns = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let race = Arc::new(Race { engine, turns, is_over: AtomicBool::new(false), runs: AtomicU64::new(0) });
    let collecting = tokio::spawn({
        let race = race.clone();
        async move { race.collect().await }
    });
    let client = Arc::new(client);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (race, client) = (race.clone(), client.clone());
            tokio::spawn(async move {
                for turn in 0..TURNS {
                    client(race.engine.clone(), number, turn).await;
                    race.turns[number as usize].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client failed");
    }
    race.is_over.store(true, Ordering::SeqCst);
    collecting.await.expect("collection did not fail");
    let statistics = race.engine.statistics();
    assert!(statistics.blobs_collected > 0, "collection took part: {statistics:?}");
    assert_eq!(statistics.blobs_damaged, 0, "no false alarm");
    // Then all garbage goes.
    advance(&race.engine, 3).await;
    let keep = Arc::new(Rules { delete_unnamed: true, delete_referring: true });
    collect(&race.engine, &Options { delay: 0, document_delay: 0, keep, ..Options::default() }).await;
    race.engine.close().await.expect("closed");
    let report = parts.check().await;
    assert_eq!((report.garbage, report.unreferenced), (0, 0), "{report}");
    parts
}

async fn pause(turn: u64) {
    for _ in 0..turn % 7 {
        tokio::task::yield_now().await;
    }
}

/// Names content of its own for a moment, so that it becomes garbage again.
async fn use_briefly(engine: &Engine, ns: &Namespace, client: u64, number: u64) {
    let digest = digest_of(&content(number));
    let name = format!("client-{client}");
    let text = format!("document of client {client} for {number}");
    let document = push_document(engine, ns, text.as_bytes(), vec![Edge::needs(digest)], Some(&name)).await;
    document.unwrap_or_else(|error| panic!("client {client} was told that {number} is there: {error}"));
    let pulled = pull(engine, ns, &digest).await.expect("needed by a named document");
    assert_eq!(pulled, content(number));
    let _ = engine.commit(Batch::new(ns.clone()).unbind(name)).await.expect("unbound");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_content_can_be_used() {
    race(|engine, client, turn| async move {
        let (ns, number) = (namespace("a"), (client + turn * 5) % CONTENTS);
        push(&engine, &ns, &content(number)).await.expect("pushed");
        pause(turn).await;
        use_briefly(&engine, &ns, client, number).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_can_skip_the_push() {
    race(|engine, client, turn| async move {
        let (ns, number) = (namespace("a"), (client + turn * 5) % CONTENTS);
        match engine.find(&ns, &digest_of(&content(number))).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => drop(push(&engine, &ns, &content(number)).await.expect("pushed")),
            Err(error) => panic!("{error}"),
        }
        pause(turn).await;
        use_briefly(&engine, &ns, client, number).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_content_can_be_used() {
    race(|engine, client, turn| async move {
        let (from, number) = (namespace("from"), (client + turn * 5) % CONTENTS);
        let to = namespace(&format!("to/{}", client % 3));
        let digest = digest_of(&content(number));
        match engine.commit(Batch::new(to.clone()).mount(digest, vec![from.clone()])).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => {
                push(&engine, &from, &content(number)).await.expect("pushed");
                push(&engine, &to, &content(number)).await.expect("pushed");
            }
            Err(error) => panic!("{error}"),
        }
        pause(turn).await;
        use_briefly(&engine, &to, client, number).await;
    })
    .await;
}

/// Each client has a namespace of its own and the same few contents: what one deletes is what
/// another stores again at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_content_can_be_pushed_again() {
    race(|engine, client, turn| async move {
        let (ns, number) = (namespace(&format!("of/{client}")), (client + turn * 5) % CONTENTS);
        let digest = push(&engine, &ns, &content(number)).await.expect("pushed");
        pause(turn).await;
        assert_eq!(pull(&engine, &ns, &digest).await.expect("leased"), content(number));
        let _ = engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await.expect("removed");
        let gone = pull(&engine, &ns, &digest).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    })
    .await;
}
