//! Pushes, look-ups, mounts and deletes against collection. Whoever was told that something is there can
//! build on it.

use std::sync::Arc;

use orlop_engine::{Batch, Edge, Engine, Error, Namespace, Removal, index::Index};

use crate::{common::*, stage::*};

/// Names content by a document of one's own for a moment, after having been told that it is there.
async fn build_on(engine: &Engine, ns: &Namespace, client: u64, number: u64) -> Turn {
    let digest = digest_of(&content(number));
    let name = format!("client-{client}");
    let text = format!("document of client {client} for {number}");
    let document = push_document(engine, ns, text.as_bytes(), vec![Edge::needs(digest)], Some(&name)).await;
    document.map_err(|error| format!("client {client} was told that {number} is there: {error}"))?;
    let pulled = pull(engine, ns, &digest).await;
    if pulled.as_ref().ok() != Some(&content(number)) {
        return Err(format!("client {client} needs {number} by a named document: {pulled:?}"));
    }
    let unbound = engine.commit(Batch::new(ns.clone()).unbind(name)).await;
    unbound.map(drop).map_err(|error| format!("client {client} unbinds: {error}"))
}

/// Content 1 (a file) and 2 (inline) were pushed to a namespace long ago: nothing keeps them any more.
async fn leave_garbage(engine: &Engine, ns: &Namespace) -> Turn {
    for number in [1, 2] {
        push(engine, ns, &content(number)).await.map_err(|error| format!("at first: {error}"))?;
    }
    advance(engine, 2).await;
    Ok(())
}

async fn push_and_build(engine: Engine, client: u64, number: u64) -> Turn {
    let ns = namespace("a");
    push(&engine, &ns, &content(number)).await.map_err(|error| format!("client {client} pushes: {error}"))?;
    build_on(&engine, &ns, client, number).await
}

/// Two clients push what the store has as garbage, and rely on it.
pub async fn pushes(seed: u64) -> Turn {
    let parts = ground(seed);
    pushes_over(&parts, parts.index.clone()).await
}

pub async fn pushes_over(parts: &Parts, index: Arc<dyn Index>) -> Turn {
    let engine = open_over(parts, index).await?;
    leave_garbage(&engine, &namespace("a")).await?;
    let clients = [push_and_build(engine.clone(), 0, 1), push_and_build(engine.clone(), 1, 2)];
    let all = clients.into_iter().map(part).chain([part(collecting(engine.clone()))]).collect();
    together(all).await?;
    end(parts, engine).await
}

pub fn pushes_boxed(seed: u64) -> Part {
    Box::pin(pushes(seed))
}

/// How a client learns whether content is there.
#[derive(Clone, Copy)]
pub enum Look {
    /// As clients do.
    Asking,
    /// Without being told, and so without a lease.
    Peeking,
}

async fn look_and_build(engine: Engine, client: u64, look: Look) -> Turn {
    let (ns, number) = (namespace("a"), 1 + client % 2);
    let digest = digest_of(&content(number));
    let is_there = match look {
        Look::Asking => match engine.find(&ns, &digest).await {
            Ok(_) => true,
            Err(Error::NotFound { .. }) => false,
            Err(error) => return Err(format!("client {client} asks: {error}")),
        },
        Look::Peeking => {
            let ns = ns.clone();
            let peeked = engine.survey(move |view| Ok(view.member(&ns, &digest)?.is_some())).await;
            peeked.map_err(|error| format!("client {client} peeks: {error}"))?
        }
    };
    if !is_there {
        push(&engine, &ns, &content(number)).await.map_err(|error| format!("client {client} pushes: {error}"))?;
    }
    build_on(&engine, &ns, client, number).await
}

/// Clients ask for what the store has as garbage, skip the push if it is there, and rely on it.
pub async fn looks(seed: u64) -> Turn {
    looks_by(seed, Look::Asking).await
}

pub async fn looks_by(seed: u64, look: Look) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    leave_garbage(&engine, &namespace("a")).await?;
    let clients = (0..2).map(|client| part(look_and_build(engine.clone(), client, look)));
    together(clients.chain([part(collecting(engine.clone()))]).collect()).await?;
    end(&parts, engine).await
}

async fn mount_and_build(engine: Engine, client: u64) -> Turn {
    let (from, to) = (namespace("from"), namespace("to"));
    let digest = digest_of(&content(1));
    match engine.commit(Batch::new(to.clone()).mount(digest, vec![from])).await {
        Ok(_) => build_on(&engine, &to, client, 1).await,
        Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(format!("client {client} mounts: {error}")),
    }
}

async fn delete(engine: Engine, from: Namespace) -> Turn {
    let digest = digest_of(&content(1));
    match engine.commit(Batch::new(from.clone()).remove(digest, Removal::Always)).await {
        Ok(_) | Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(format!("deleting: {error}")),
    }
    match pull(&engine, &from, &digest).await {
        Err(Error::NotFound { .. }) => Ok(()),
        other => Err(format!("it was deleted and is still there: {other:?}")),
    }
}

/// A mount against a delete of its source and collection.
pub async fn mounts(seed: u64) -> Turn {
    let parts = ground(seed);
    mounts_over(&parts, parts.index.clone()).await
}

pub async fn mounts_over(parts: &Parts, index: Arc<dyn Index>) -> Turn {
    let engine = open_over(parts, index).await?;
    let from = namespace("from");
    leave_garbage(&engine, &from).await?;
    let all = vec![
        part(mount_and_build(engine.clone(), 0)),
        part(mount_and_build(engine.clone(), 1)),
        part(delete(engine.clone(), from)),
        part(collecting(engine.clone())),
    ];
    together(all).await?;
    end(parts, engine).await
}

/// Documents that need content come while it is deleted: a document that was taken has what it needs, and
/// who deletes what is needed is refused.
pub async fn documents(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let ns = namespace("a");
    let digest = push(&engine, &ns, &content(1)).await.map_err(|error| format!("at first: {error}"))?;
    let document = |client: u64| {
        let (engine, ns) = (engine.clone(), ns.clone());
        async move {
            let text = format!("document of client {client}");
            let name = format!("client-{client}");
            let edges = vec![Edge::needs(digest)];
            match push_document(&engine, &ns, text.as_bytes(), edges, Some(&name)).await {
                Ok(_) => match pull(&engine, &ns, &digest).await {
                    Ok(pulled) if pulled == content(1) => Ok(()),
                    other => Err(format!("the document of client {client} was taken, what it needs is {other:?}")),
                },
                Err(Error::Missing { .. }) => Ok(()),
                Err(error) => Err(format!("client {client}: {error}")),
            }
        }
    };
    let deleting = {
        let (engine, ns) = (engine.clone(), ns.clone());
        async move {
            match engine.commit(Batch::new(ns).remove(digest, Removal::UnlessNeeded)).await {
                Ok(_) | Err(Error::Needed { .. } | Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(format!("deleting: {error}")),
            }
        }
    };
    let all = vec![part(document(0)), part(document(1)), part(deleting), part(collecting(engine.clone()))];
    together(all).await?;
    end(&parts, engine).await
}
