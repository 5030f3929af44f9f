//! The end of a store, orderly or not, while clients are at work. What was acknowledged is there afterwards.

use std::sync::{Arc, Mutex};

use orlop_engine::{Engine, Error};

use crate::{common::*, stage::*};

/// Contents whose push was acknowledged.
type Acknowledged = Arc<Mutex<Vec<u64>>>;

/// Pushes content after content until the store says that it stopped.
async fn push_until_stopped(engine: Engine, numbers: [u64; 2], acknowledged: Acknowledged) -> Turn {
    for number in numbers {
        match push(&engine, &namespace("a"), &content(number)).await {
            Ok(_) => acknowledged.lock().expect("no panic holds it").push(number),
            Err(Error::Stopped { .. } | Error::InDoubt { .. }) => return Ok(()),
            // What the index said of its own failure.
            Err(Error::Io { .. }) if engine.accepting().is_err() => return Ok(()),
            Err(error) => return Err(format!("pushing {number}: {error}")),
        }
    }
    Ok(())
}

/// Opens what a power cut leaves and looks for everything that was acknowledged.
async fn verify(parts: &Parts, seed: u64, acknowledged: &Acknowledged) -> Turn {
    let left = Parts {
        disk: parts.disk.crash(seed),
        index: Arc::new(parts.index.crash(seed)),
        options: parts.options.clone(),
    };
    let engine = open(&left).await?;
    let numbers = acknowledged.lock().expect("no panic holds it").clone();
    for number in numbers {
        match pull(&engine, &namespace("a"), &digest_of(&content(number))).await {
            Ok(pulled) if pulled == content(number) => {}
            other => return Err(format!("{number} was acknowledged, and after a power cut it is {other:?}")),
        }
    }
    engine.close().await.map_err(|error| format!("closing: {error}"))?;
    left.check().await;
    Ok(())
}

/// The store is closed while clients push: whoever is not told that it stopped is done.
pub async fn closing(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let acknowledged = Acknowledged::default();
    let clients = [[1, 2], [3, 1]];
    let clients = clients.map(|numbers| part(push_until_stopped(engine.clone(), numbers, acknowledged.clone())));
    let close = {
        let engine = engine.clone();
        async move { engine.close().await.map_err(|error| format!("closing: {error}")) }
    };
    together(clients.into_iter().chain([part(close)]).collect()).await?;
    drop(engine);
    verify(&parts, seed, &acknowledged).await
}

/// The index fails at one of the groups: nobody in it is told that it succeeded, and nobody after it.
pub async fn failing_groups(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let acknowledged = Acknowledged::default();
    parts.index.fail_writes_after(seed % 5);
    let clients = [[1, 2], [4, 3], [6, 1]];
    let clients = clients.map(|numbers| part(push_until_stopped(engine.clone(), numbers, acknowledged.clone())));
    together(clients.into_iter().collect()).await?;
    let is_stopped = engine.accepting().is_err();
    let after = push(&engine, &namespace("a"), &content(8)).await;
    if is_stopped && after.is_ok() {
        return Err("a change was acknowledged after the index had failed".to_owned());
    }
    if after.is_ok() {
        acknowledged.lock().expect("no panic holds it").push(8);
    }
    // An index that failed cannot be closed in order.
    let closed = engine.close().await;
    if engine.accepting().is_ok() && closed.is_err() {
        return Err(format!("closing: {closed:?}"));
    }
    drop(engine);
    verify(&parts, seed, &acknowledged).await
}
