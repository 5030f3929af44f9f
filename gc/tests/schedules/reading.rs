//! Readers of content that comes and goes, is kept in memory, is damaged and healed.

use std::io::ErrorKind;

use orlop_engine::{Batch, Digest, Engine, Error, Removal, io::StorePath};

use crate::{common::*, stage::*};

/// Reads by turns; gives how often it was there. What is read is right, or not there.
async fn read(engine: Engine, digest: Digest, may_be_damaged: bool) -> Turn {
    for _ in 0..3 {
        match pull(&engine, &namespace("a"), &digest).await {
            Ok(pulled) if pulled == content(1) => {}
            Ok(_) => return Err("a reader got wrong bytes".to_owned()),
            Err(Error::NotFound { .. }) => {}
            Err(Error::Damaged { .. }) if may_be_damaged => {}
            // It was healed between the reader's look and the second one: an error that says to come again, since
            // what would be wrong is to say that it is not there.
            Err(Error::Io { source, .. }) if may_be_damaged && source.kind() == ErrorKind::InvalidData => {}
            Err(error) => return Err(format!("a reader: {error}")),
        }
    }
    Ok(())
}

/// Content that several read at the same time, so that it comes to be kept in memory, is deleted, collected
/// and pushed again.
pub async fn hot(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let ns = namespace("a");
    let digest = push(&engine, &ns, &content(1)).await.map_err(|error| format!("at first: {error}"))?;
    let renewing = {
        let engine = engine.clone();
        async move {
            let removed = engine.commit(Batch::new(ns.clone()).remove(digest, Removal::Always)).await;
            removed.map(drop).map_err(|error| format!("removing: {error}"))?;
            let gone = pull(&engine, &ns, &digest).await;
            if !matches!(gone, Err(Error::NotFound { .. })) {
                return Err(format!("it was removed, and is {gone:?}"));
            }
            push(&engine, &ns, &content(1)).await.map_err(|error| format!("pushing again: {error}"))?;
            match pull(&engine, &ns, &digest).await {
                Ok(pulled) if pulled == content(1) => Ok(()),
                other => Err(format!("it was pushed again, and is {other:?}")),
            }
        }
    };
    let readers = (0..2).map(|_| part(read(engine.clone(), digest, false)));
    together(readers.chain([part(renewing), part(collecting(engine.clone()))]).collect()).await?;
    end(&parts, engine).await
}

fn file_of(digest: &Digest) -> StorePath {
    let hex = digest.hex();
    StorePath::root().join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(&hex)
}

/// Readers find damage while somebody else pushes the content again: after that it is sound for everybody.
pub async fn damage(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let (a, b) = (namespace("a"), namespace("b"));
    let digest = push(&engine, &a, &content(1)).await.map_err(|error| format!("at first: {error}"))?;
    let named = push_document(&engine, &a, b"keeps it", vec![orlop_engine::Edge::needs(digest)], Some("kept")).await;
    named.map_err(|error| format!("at first: {error}"))?;
    parts.disk.corrupt(&file_of(&digest), 7, 0x20).map_err(|error| format!("damaging: {error}"))?;
    let healing = {
        let engine = engine.clone();
        async move {
            match push(&engine, &b, &content(1)).await {
                // The damage was noticed after its bytes had been taken for stored ones: they are needed again.
                Err(Error::NotFound { .. }) => push(&engine, &b, &content(1)).await,
                pushed => pushed,
            }
            .map(drop)
            .map_err(|error| format!("healing: {error}"))
        }
    };
    let readers = (0..2).map(|_| part(read(engine.clone(), digest, true)));
    together(readers.chain([part(healing)]).collect()).await?;
    // Who pushed before anybody noticed pushed what the store seemed to have.
    let noticed = engine.statistics().blobs_damaged > 0;
    match pull(&engine, &a, &digest).await {
        Ok(pulled) if pulled == content(1) => {}
        Err(Error::Damaged { .. } | Error::NotFound { .. }) if noticed || engine.statistics().blobs_damaged > 0 => {}
        other => return Err(format!("after all it is {other:?}")),
    }
    push(&engine, &a, &content(1)).await.map_err(|error| format!("healing at last: {error}"))?;
    match pull(&engine, &a, &digest).await {
        Ok(pulled) if pulled == content(1) => {}
        other => return Err(format!("it was pushed again, and is {other:?}")),
    }
    if engine.damaged_count() != 0 {
        return Err(format!("{} rows of damage are left", engine.damaged_count()));
    }
    engine.close().await.map_err(|error| format!("closing: {error}"))?;
    parts.check().await;
    Ok(())
}
