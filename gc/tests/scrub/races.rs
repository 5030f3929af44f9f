//! Scrubs back to back, beside clients that push, pull and delete the same content, and collections
//! without any delay: on a store with nothing wrong, nothing is ever found.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use orlop_engine::{Batch, Engine, Error, Removal};
use orlop_gc::{Options, Rules};
use tokio::runtime::Handle;

use crate::{common::*, places::*};

const CLIENTS: u64 = 6;
const TURNS: u64 = 150;
const CONTENTS: u64 = 6;

/// Pushes, pulls and deletes; what one client deletes is what another one stores again.
async fn client(engine: Engine, number: u64) {
    let ns = namespace(&format!("of/{number}"));
    for turn in 0..TURNS {
        let content = content((number + turn * 5) % CONTENTS);
        let digest = push(&engine, &ns, &content).await.expect("pushed");
        // Epochs pass as fast as they can, so collection may have been here before.
        match pull(&engine, &ns, &digest).await {
            Ok(pulled) => assert_eq!(pulled, content),
            Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
        }
        match engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn race(place: Place) {
    let engine = place.open().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let passes = Arc::new(AtomicU64::new(0));
    // Its reads block, so it has a thread of its own.
    let runtime = Handle::current();
    let scrubbing = tokio::task::spawn_blocking({
        let (engine, is_over, passes) = (engine.clone(), is_over.clone(), passes.clone());
        move || {
            while !is_over.load(Ordering::SeqCst) {
                let report = runtime.block_on(pass(&engine));
                assert_eq!((report.damaged, report.known, report.skipped), (0, 0, 0), "{report}");
                passes.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let collecting = tokio::spawn({
        let (engine, is_over) = (engine.clone(), is_over.clone());
        async move {
            let keep = Arc::new(Rules::default());
            let options = Options { delay: 0, document_delay: 0, keep, ..Options::default() };
            while !is_over.load(Ordering::SeqCst) {
                advance(&engine, 3).await;
                collect(&engine, &options).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(client(engine.clone(), number))).collect();
    for client in clients {
        client.await.expect("no client failed");
    }
    is_over.store(true, Ordering::SeqCst);
    scrubbing.await.expect("no false alarm");
    collecting.await.expect("collection did not fail");
    let statistics = engine.statistics();
    assert!(passes.load(Ordering::SeqCst) > 0 && statistics.blobs_scrubbed > 0, "{statistics:?}");
    assert!(statistics.blobs_collected > 0, "{statistics:?}");
    assert_eq!(statistics.blobs_damaged, 0, "no false alarm");
    assert!(listed(&engine).await.is_empty());
    place.check(engine).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_found_in_a_sound_store_under_traffic() {
    race(Place::simulated()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_found_in_a_sound_store_under_traffic_on_a_real_disk() {
    race(Place::real()).await;
}

/// Damage that is inflicted under traffic is found and healed by the pushes that go on, and every alarm
/// is about damage that was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn damage_under_traffic_is_healed_by_the_traffic() {
    const ROUNDS: u64 = 30;
    let place = Place::simulated();
    let engine = place.open().await;
    let ns = namespace("app");
    let content = bytes(9, LARGE);
    let digest = push(&engine, &ns, &content).await.expect("pushed");
    let is_over = Arc::new(AtomicBool::new(false));
    let pushing = tokio::spawn({
        let (engine, is_over, ns, content) = (engine.clone(), is_over.clone(), ns.clone(), content.clone());
        async move {
            while !is_over.load(Ordering::SeqCst) {
                // A push that counted on the stored content, which was found damaged meanwhile, fails.
                let _ = push(&engine, &ns, &content).await;
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..ROUNDS {
        place.flip(&file_of(&digest), 100_000).await;
        assert_eq!(pass(&engine).await.damaged, 1);
        while engine.damaged_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    pushing.await.expect("no push panicked");
    let statistics = engine.statistics();
    assert_eq!((statistics.blobs_damaged, statistics.blobs_healed), (ROUNDS, ROUNDS));
    assert_eq!(pull_whole(&engine, &ns, &digest).await.expect("healed"), content);
    place.check(engine).await;
}
