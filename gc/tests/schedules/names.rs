//! Names that move, and answers about them that are given again.

use orlop_engine::{Batch, Digest, Edge, Engine, Error, Removal};

use crate::{
    common::*,
    histories::{Deed, History},
    stage::*,
};

const NAME: &str = "latest";

async fn read(engine: &Engine, history: &History) -> Turn {
    let began = history.now();
    let seen = match engine.resolve(&namespace("a"), NAME).await {
        Ok(digest) => Some(digest),
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(format!("reading: {error}")),
    };
    history.note(began, Deed::Read(seen));
    Ok(())
}

async fn write(engine: &Engine, history: &History, text: String) -> Turn {
    let began = history.now();
    let digest = push_document(engine, &namespace("a"), text.as_bytes(), Vec::new(), Some(NAME)).await;
    history.note(began, Deed::Write(Some(digest.map_err(|error| format!("{text}: {error}"))?)));
    Ok(())
}

/// Two clients move a name, one takes it away, two read it: there is one order that all of them saw.
pub async fn moves(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let history = History::default();
    let writer = |number: u64| {
        let (engine, history) = (engine.clone(), history.clone());
        async move {
            for turn in 0..2 {
                write(&engine, &history, format!("version {number}.{turn}")).await?;
            }
            Ok(())
        }
    };
    let reader = || {
        let (engine, history) = (engine.clone(), history.clone());
        async move {
            for _ in 0..4 {
                read(&engine, &history).await?;
            }
            Ok(())
        }
    };
    let unbinding = {
        let (engine, history) = (engine.clone(), history.clone());
        async move {
            let began = history.now();
            match engine.commit(Batch::new(namespace("a")).unbind(NAME)).await {
                Ok(_) => history.note(began, Deed::Write(None)),
                // It was not there, which is something seen as well.
                Err(Error::NotFound { .. }) => history.note(began, Deed::Read(None)),
                Err(error) => return Err(format!("unbinding: {error}")),
            }
            Ok(())
        }
    };
    together(vec![part(writer(0)), part(writer(1)), part(reader()), part(reader()), part(unbinding)]).await?;
    read(&engine, &history).await?;
    history.is_of_one_order()?;
    end(&parts, engine).await
}

/// Who gives an answer again as long as its grounds hold: what he says is what the engine would say.
async fn give_again(engine: Engine, history: History) -> Turn {
    let mut kept: Option<orlop_engine::Blob> = None;
    for _ in 0..5 {
        let began = history.now();
        if let Some(blob) = kept.take_if(|blob| engine.still_holds(blob.grounds(), 0)) {
            history.note(began, Deed::Read(Some(*blob.digest())));
            kept = Some(blob);
            continue;
        }
        let seen = match engine.resolve_open(&namespace("a"), NAME).await {
            Ok(blob) => Some(blob),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(format!("opening by name: {error}")),
        };
        history.note(began, Deed::Read(seen.as_ref().map(|blob| *blob.digest())));
        kept = seen;
    }
    Ok(())
}

/// A name moves under two who give answers again.
pub async fn answers_given_again(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let history = History::default();
    write(&engine, &history, "the first".to_owned()).await?;
    let writing = {
        let (engine, history) = (engine.clone(), history.clone());
        async move {
            for turn in 0..3 {
                write(&engine, &history, format!("version {turn}")).await?;
            }
            Ok(())
        }
    };
    let givers = (0..2).map(|_| part(give_again(engine.clone(), history.clone())));
    together(givers.chain([part(writing)]).collect()).await?;
    history.is_of_one_order()?;
    end(&parts, engine).await
}

/// An answer about garbage is given again, and the client relies on it, while the garbage is collected.
pub async fn leases_given_again(seed: u64) -> Turn {
    let parts = ground(seed);
    let engine = open(&parts).await?;
    let ns = namespace("a");
    let digest = push(&engine, &ns, &content(1)).await.map_err(|error| format!("at first: {error}"))?;
    let found = engine.find(&ns, &digest).await.map_err(|error| format!("at first: {error}"))?;
    advance(&engine, 2).await;
    let relying = {
        let engine = engine.clone();
        async move {
            if !engine.still_holds(&found.grounds, 0) {
                return Ok(());
            }
            rely_on(&engine, digest).await
        }
    };
    let deleting = {
        let (engine, ns) = (engine.clone(), namespace("b"));
        async move {
            // The same content comes and goes elsewhere, which is nobody's concern here.
            push(&engine, &ns, &content(1)).await.map_err(|error| format!("elsewhere: {error}"))?;
            let removed = engine.commit(Batch::new(ns).remove(digest, Removal::Always)).await;
            removed.map(drop).map_err(|error| format!("elsewhere: {error}"))
        }
    };
    together(vec![part(relying), part(deleting), part(collecting(engine.clone()))]).await?;
    end(&parts, engine).await
}

async fn rely_on(engine: &Engine, digest: Digest) -> Turn {
    let ns = namespace("a");
    let document = push_document(engine, &ns, b"relies on it", vec![Edge::needs(digest)], Some("kept")).await;
    document.map_err(|error| format!("the answer was given again, and then it was gone: {error}"))?;
    match pull(engine, &ns, &digest).await {
        Ok(pulled) if pulled == content(1) => Ok(()),
        other => Err(format!("a named document needs it, and it is {other:?}")),
    }
}
