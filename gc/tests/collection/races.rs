//! Collections back to back, without any delay, against clients that push, mount, ask and skip,
//! delete and push again. Whoever was told that something is there must find it so.
//!
//! An epoch begins when every client has ended a turn since the last one did. So at most one begins
//! within a turn, and leases of one epoch protect a whole turn, however slow the machine is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use orlop_engine::{Batch, Digest, Edge, Engine, Error, Namespace, Removal};
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
        let options = Options { delay: 0, document_delay: 0, keep, plan_removals_max: 16, rests: false };
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

/// What a client found lost.
type Turn = Result<(), String>;

/// A store whose leases last one epoch.
pub fn ground() -> Parts {
    let mut parts = Parts::new(5);
    parts.options.lease_epochs = 1;
    parts
}

/// Runs clients against collections. Errors: what the first client found lost.
async fn race<F, C>(engine: Engine, client: C) -> Turn
where
    C: Fn(Engine, u64, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Turn> + Send,
{
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
                let mut outcome = Ok(());
                for turn in 0..TURNS {
                    if outcome.is_ok() {
                        outcome = client(race.engine.clone(), number, turn).await;
                    }
                    race.turns[number as usize].fetch_add(1, Ordering::SeqCst);
                }
                outcome
            })
        })
        .collect();
    let mut outcome = Ok(());
    for client in clients {
        outcome = outcome.and(client.await.expect("no client panics"));
    }
    race.is_over.store(true, Ordering::SeqCst);
    collecting.await.expect("collection did not fail");
    let statistics = race.engine.statistics();
    assert!(statistics.blobs_collected > 0, "collection took part: {statistics:?}");
    outcome
}

/// A race that nobody loses anything in, and after which all garbage goes.
async fn fair_race<F, C>(client: C)
where
    C: Fn(Engine, u64, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Turn> + Send,
{
    let parts = ground();
    let engine = parts.open().await;
    race(engine.clone(), client).await.expect("nothing is lost");
    assert_eq!(engine.statistics().blobs_damaged, 0, "no false alarm");
    advance(&engine, 3).await;
    let keep = Arc::new(Rules { delete_unnamed: true, delete_referring: true });
    collect(&engine, &Options { delay: 0, document_delay: 0, keep, ..Options::default() }).await;
    engine.close().await.expect("closed");
    let report = parts.check().await;
    assert_eq!((report.garbage, report.unreferenced), (0, 0), "{report}");
}

async fn pause(turn: u64) {
    for _ in 0..turn % 7 {
        tokio::task::yield_now().await;
    }
}

/// Names content of its own for a moment, so that it becomes garbage again.
async fn use_briefly(engine: &Engine, ns: &Namespace, client: u64, number: u64) -> Turn {
    let digest = digest_of(&content(number));
    let name = format!("client-{client}");
    let text = format!("document of client {client} for {number}");
    let document = push_document(engine, ns, text.as_bytes(), vec![Edge::needs(digest)], Some(&name)).await;
    document.map_err(|error| format!("client {client} was told that {number} is there: {error}"))?;
    let pulled = pull(engine, ns, &digest).await;
    if pulled.as_ref().ok() != Some(&content(number)) {
        return Err(format!("client {client} needs {number} by a named document: {pulled:?}"));
    }
    let _ = engine.commit(Batch::new(ns.clone()).unbind(name)).await.expect("unbound");
    Ok(())
}

/// Clients meet at few contents, each at another one.
fn number(client: u64, turn: u64) -> u64 {
    (client + turn * 5) % CONTENTS
}

async fn push_and_use(engine: Engine, client: u64, turn: u64) -> Turn {
    let (ns, number) = (namespace("a"), number(client, turn));
    push(&engine, &ns, &content(number)).await.expect("pushed");
    pause(turn).await;
    use_briefly(&engine, &ns, client, number).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_content_can_be_used() {
    fair_race(push_and_use).await;
}

/// `ask` says whether content is there.
async fn ask_and_use<A>(engine: Engine, client: u64, turn: u64, ask: impl Fn(Engine, Namespace, Digest) -> A) -> Turn
where
    A: Future<Output = bool>,
{
    let (ns, number) = (namespace("a"), number(client, turn));
    if !ask(engine.clone(), ns.clone(), digest_of(&content(number))).await {
        push(&engine, &ns, &content(number)).await.expect("pushed");
    }
    pause(turn).await;
    use_briefly(&engine, &ns, client, number).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_can_skip_the_push() {
    let find = |engine: Engine, ns: Namespace, digest: Digest| async move {
        match engine.find(&ns, &digest).await {
            Ok(_) => true,
            Err(Error::NotFound { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    };
    fair_race(move |engine, client, turn| ask_and_use(engine, client, turn, find)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_content_can_be_used() {
    fair_race(|engine, client, turn| async move {
        let (from, number) = (namespace("from"), number(client, turn));
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
        use_briefly(&engine, &to, client, number).await
    })
    .await;
}

/// Pushes all contents to `from`, where a name keeps them: they can always be mounted.
async fn provide_for_mounts(engine: &Engine) {
    let from = namespace("from");
    let mut edges = Vec::new();
    for number in 0..CONTENTS {
        edges.push(Edge::needs(push(engine, &from, &content(number)).await.expect("pushed")));
    }
    push_document(engine, &from, b"all of them", edges, Some("kept")).await.expect("pushed");
}

async fn mount_and_use(engine: Engine, client: u64, turn: u64) -> Turn {
    let number = number(client, turn);
    let to = namespace(&format!("to/{}", client % 3));
    let mount = Batch::new(to.clone()).mount(digest_of(&content(number)), vec![namespace("from")]);
    let _ = engine.commit(mount).await.expect("mounted");
    pause(turn).await;
    use_briefly(&engine, &to, client, number).await
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_was_only_ever_mounted_can_be_used() {
    let engine = ground().open().await;
    provide_for_mounts(&engine).await;
    race(engine, mount_and_use).await.expect("nothing is lost");
}

/// Each client has a namespace of its own and the same few contents: what one deletes is what
/// another stores again at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_content_can_be_pushed_again() {
    fair_race(|engine, client, turn| async move {
        let (ns, number) = (namespace(&format!("of/{client}")), number(client, turn));
        let digest = push(&engine, &ns, &content(number)).await.expect("pushed");
        pause(turn).await;
        let pulled = pull(&engine, &ns, &digest).await;
        if pulled.as_ref().ok() != Some(&content(number)) {
            return Err(format!("client {client} just pushed {number}: {pulled:?}"));
        }
        let _ = engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await.expect("removed");
        let gone = pull(&engine, &ns, &digest).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
        Ok(())
    })
    .await;
}
