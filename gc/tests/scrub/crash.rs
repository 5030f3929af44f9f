//! Power that ends while damage is being marked, set aside, healed or taken back.

use std::sync::Arc;

use bytes::Bytes;
use orlop_engine::{Digest, Engine, Namespace};
use orlop_gc::{Flow, PassReport, ScrubOptions, scrub};

use crate::{common::*, places::*};

/// What is under way when the power ends.
#[derive(Debug, Clone, Copy)]
enum Work {
    Condemn,
    Heal,
    Recover,
}

async fn work(engine: &Engine, ns: &Namespace, content: &Bytes, work: Work) {
    let mut on = |_: &PassReport| Flow::Continue(());
    // Whatever fails, fails because the power ended.
    match work {
        Work::Heal => drop(push(engine, ns, content).await),
        Work::Condemn | Work::Recover => drop(scrub(engine, &ScrubOptions::default(), false, &mut on).await),
    }
}

/// A store in which the work is due.
async fn prepare(kind: Work, ns: &Namespace, content: &Bytes) -> (Parts, Engine, Digest) {
    let place = Place::simulated();
    let engine = place.open().await;
    let digest = push(&engine, ns, content).await.expect("pushed");
    place.flip(&file_of(&digest), 5).await;
    if !matches!(kind, Work::Condemn) {
        assert_eq!(pass(&engine).await.damaged, 1);
    }
    if matches!(kind, Work::Recover) {
        let aside = quarantined(&listed(&engine).await[&digest]).expect("kept");
        place.flip(&aside, 5).await;
    }
    let Place::Simulated(parts) = place else { unreachable!("simulated") };
    (*parts, engine, digest)
}

/// After the crash no wrong byte is handed out, nothing is lost that was right, and one push or pass makes
/// everything right.
async fn survive(kind: Work, parts: &Parts, ns: &Namespace, content: &Bytes, digest: &Digest) {
    let engine = parts.open().await;
    if let Ok(pulled) = pull_whole(&engine, ns, digest).await {
        assert_eq!(pulled, *content);
    }
    let report = pass(&engine).await;
    if matches!(kind, Work::Recover) {
        assert_eq!(report.known + report.damaged, 0, "the right bytes were lost: {report}");
    } else {
        push(&engine, ns, content).await.expect("heals");
    }
    assert_eq!(pull_whole(&engine, ns, digest).await.expect("sound"), *content);
    assert!(listed(&engine).await.is_empty());
    engine.close().await.expect("closed");
    parts.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_operation_loses_nothing() {
    let ns = namespace("app");
    let content = bytes(7, 70_000);
    for kind in [Work::Condemn, Work::Heal, Work::Recover] {
        let mut crashes = 0;
        for at in 0.. {
            let (parts, engine, digest) = prepare(kind, &ns, &content).await;
            let before = parts.disk.operations();
            parts.disk.crash_after(before + at);
            work(&engine, &ns, &content, kind).await;
            let is_whole = parts.disk.operations() <= before + at;
            for seed in 0..4 {
                let crashed =
                    Parts { disk: parts.disk.crash(seed), index: Arc::new(parts.index.crash(seed)), ..parts.clone() };
                survive(kind, &crashed, &ns, &content, &digest).await;
            }
            if is_whole {
                break;
            }
            crashes += 1;
        }
        assert!(crashes >= 4, "{kind:?}: {crashes} operations");
    }
}
