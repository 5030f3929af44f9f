//! Carrying verdicts out: names are removed in bounded batches, beside pushes and pulls.
//!
//! A name is removed only if it is still bound as it was when the verdict was made: a push in
//! between wins. What the name pointed at becomes a candidate for collection.

use std::sync::Arc;

use orlop_engine::{Batch, Engine, Error, NameUse, Namespace, Result};

use super::{Candidate, Retention, Times, Verdict, evaluate};
use crate::Flow;

/// Namespaces read at a time.
const NAMESPACES_PAGE: usize = 256;

/// Names read at a time. All names of one namespace are in memory together, because counts are over
/// all of them; some 200 bytes each.
const NAMES_PAGE: usize = 1024;

/// Names removed by one change of the index.
const BATCH_NAMES_MAX: usize = 256;

/// What a run has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Nothing was removed: `names_dropped` says what would have been.
    pub dry_run: bool,
    /// Namespaces that were looked at.
    pub namespaces: u64,
    /// Names of namespaces with a policy for names.
    pub names: u64,
    pub names_dropped: u64,
    /// Names that were to be dropped and were pushed or removed by somebody else meanwhile.
    pub names_moved: u64,
}

/// Removes the names that the policies drop. `progress` is told after every namespace and every
/// batch, and says whether to go on. Every removal is an event of the target `audit`; in a dry run,
/// an event of this module.
///
/// Errors: those of reading and committing. What was removed until then stays removed.
pub async fn apply(
    engine: &Engine,
    retention: &Arc<Retention>,
    mut progress: impl FnMut(&Report) -> Flow,
) -> Result<Report> {
    let mut report = Report { dry_run: retention.dry_run, ..Report::default() };
    if !retention.drops_names() {
        return Ok(report);
    }
    engine.record_pulls().await?;
    let mut after: Option<String> = None;
    loop {
        let page = engine.namespaces(after.as_deref(), NAMESPACES_PAGE).await?;
        for text in &page {
            report.namespaces += 1;
            let governed = retention.policy_of(text).is_some_and(|(_, policy)| !policy.keep_names.is_empty());
            if governed && let Ok(namespace) = Namespace::new(text) {
                let flow = apply_to(engine, retention, &namespace, &mut report, &mut progress).await?;
                if flow.is_break() {
                    return Ok(report);
                }
            }
            if progress(&report).is_break() {
                return Ok(report);
            }
        }
        if page.len() < NAMESPACES_PAGE {
            return Ok(report);
        }
        after = page.into_iter().next_back();
    }
}

async fn apply_to(
    engine: &Engine,
    retention: &Arc<Retention>,
    namespace: &Namespace,
    report: &mut Report,
    progress: &mut impl FnMut(&Report) -> Flow,
) -> Result<Flow> {
    // Before the names are read: one that is bound in between is not older than now.
    let now_ms = engine.clock().clock_ms;
    let names = match all_names(engine, namespace).await {
        Err(Error::NotFound { .. }) => return Ok(Flow::Continue(())),
        names => names?,
    };
    report.names += names.len() as u64;
    let dropped = judged(retention.clone(), namespace.clone(), names, now_ms).await?;
    let mut dropped = dropped.into_iter();
    loop {
        let batch: Vec<(NameUse, String)> = dropped.by_ref().take(BATCH_NAMES_MAX).collect();
        if batch.is_empty() {
            return Ok(Flow::Continue(()));
        }
        if retention.dry_run {
            report.names_dropped += batch.len() as u64;
            for (name, reason) in &batch {
                tracing::info!(%namespace, name = name.name, digest = %name.digest, reason, "retention would drop");
            }
        } else {
            remove(engine, namespace, batch, report).await?;
        }
        if progress(report).is_break() {
            return Ok(Flow::Break(()));
        }
    }
}

async fn all_names(engine: &Engine, namespace: &Namespace) -> Result<Vec<NameUse>> {
    let mut names: Vec<NameUse> = Vec::new();
    loop {
        let after = names.last().map(|last| last.name.as_str());
        let page = engine.names_used(namespace, after, NAMES_PAGE).await?;
        let is_last = page.len() < NAMES_PAGE;
        names.extend(page);
        if is_last {
            return Ok(names);
        }
    }
}

/// The names to drop, each with its reason. Patterns over many names take a while, which must not
/// stop a thread that serves requests.
async fn judged(
    retention: Arc<Retention>,
    namespace: Namespace,
    names: Vec<NameUse>,
    now_ms: u64,
) -> Result<Vec<(NameUse, String)>> {
    let judge = move || {
        let candidates: Vec<Candidate<'_>> = names.iter().map(Candidate::from).collect();
        let verdicts = evaluate(&retention, namespace.as_str(), &candidates, now_ms);
        let judged = names.into_iter().zip(verdicts);
        let dropped = judged.filter_map(|(name, verdict)| match verdict {
            Verdict::Keep(_) => None,
            Verdict::Drop(dropped) => Some((name, dropped.to_string())),
        });
        dropped.collect()
    };
    let panicked = |error| Error::io("evaluating retention policies", std::io::Error::other(error));
    tokio::task::spawn_blocking(judge).await.map_err(panicked)
}

/// Removes a batch of names, without those that moved since they were judged.
async fn remove(
    engine: &Engine,
    namespace: &Namespace,
    mut batch: Vec<(NameUse, String)>,
    report: &mut Report,
) -> Result<()> {
    // Each round that does not end takes a name off the batch.
    while !batch.is_empty() {
        let change = batch.iter().fold(Batch::new(namespace.clone()), |change, (name, _)| {
            change.unbind_if(name.name.as_str(), name.digest, name.bound)
        });
        match engine.commit(change).await {
            Ok(_receipt) => {
                report.names_dropped += batch.len() as u64;
                for (name, reason) in &batch {
                    tracing::info!(
                        target: "audit",
                        subject = "retention",
                        action = "retention",
                        result = "removed",
                        %namespace,
                        name = name.name,
                        digest = %name.digest,
                        reason,
                        "name removed"
                    );
                }
                return Ok(());
            }
            Err(Error::Moved { name }) => {
                report.names_moved += 1;
                batch.retain(|(seen, _)| seen.name != name);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl<'a> From<&'a NameUse> for Candidate<'a> {
    fn from(name: &'a NameUse) -> Self {
        let times =
            Times { pushed_ms: name.bound.clock_ms, pulled_ms: name.usage.pulled.map(|pulled| pulled.clock_ms) };
        Candidate { name: &name.name, times }
    }
}
