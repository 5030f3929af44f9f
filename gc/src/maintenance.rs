//! A whole run: names go by policy, then collection takes what nothing keeps any more.
//!
//! In: policies and the delays of collection. Out: the report of the collection. What has become
//! true: documents without a name went only if the policy of their namespace lets them go, as it was
//! judged between both parts.

use std::sync::Arc;

use orlop_engine::{Engine, Namespace, Result};
use tokio::sync::Notify;

use crate::{
    collection::{Keep, Options, Progress, Report, Rules, Unnamed, collect, rehearse},
    retention::{Keeper, Retention, apply},
};

/// What a run is told of policies.
#[derive(Clone)]
pub(crate) struct Governed {
    pub retention: Arc<Retention>,
    /// Ends the judging of documents, which removes nothing.
    pub stopping: Arc<Notify>,
}

/// Removes the names that the policies drop, then collects. A dry run says what it would do to
/// names, and of what lies about, and changes nothing.
///
/// Errors: those of reading and committing. What was done until then is done.
pub(crate) async fn maintain(
    engine: &Engine,
    options: &Options,
    governed: &Governed,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let Governed { retention, stopping } = governed;
    let begun = Report::default();
    let applied = apply(engine, retention, |_| progress.at(&begun)).await?;
    if retention.drops_names() {
        tracing::info!(
            dry_run = applied.dry_run,
            namespaces = applied.namespaces,
            names = applied.names,
            names_dropped = applied.names_dropped,
            names_moved = applied.names_moved,
            "retention policies applied"
        );
    }
    if progress.at(&begun).is_break() {
        return Ok(begun);
    }
    let options = tokio::select! {
        governed = governed_options(engine, options, retention) => governed?,
        () = stopping.notified() => return Ok(begun),
    };
    match retention.dry_run {
        true => rehearse(engine, &options, progress).await,
        false => collect(engine, &options, progress).await,
    }
}

/// The options of the next run of collection by the policies for documents without a name, which are
/// judged now. Errors: those of reading.
pub async fn governed_options(engine: &Engine, options: &Options, retention: &Arc<Retention>) -> Result<Options> {
    let keep = Arc::new(Keeper::new(engine, retention.clone()).await?);
    Ok(Options { keep, ..options.clone() })
}

impl Keep for Keeper {
    fn rules(&self, namespace: &Namespace) -> Rules {
        let unnamed = Keeper::rules(self, namespace);
        Rules { delete_unnamed: unnamed.delete, delete_referring: unnamed.delete_referring }
    }

    fn keeps(&self, document: &Unnamed<'_>) -> bool {
        // Documents that refer to something were not judged: their rule says all.
        !document.refers && Keeper::keeps(self, document.namespace, document.digest)
    }
}
