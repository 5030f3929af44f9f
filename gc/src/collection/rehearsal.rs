//! A run that only says what it would do.

use std::time::Instant;

use orlop_engine::{Engine, Result};

use super::{
    options::Options,
    plan::{Plan, Removal},
    report::Report,
    run::{Progress, plan_after, quiet_uploads},
};

/// Goes through the table as a run does, and says of each thing that it would remove. The report
/// says what was looked at and what waits; nothing was removed. What would only go after something
/// else of another plan is not foreseen.
///
/// Errors: those of the index.
pub async fn rehearse(engine: &Engine, options: &Options, progress: &mut dyn Progress) -> Result<Report> {
    let began = Instant::now();
    let mut report = Report { epoch: engine.epoch(), is_complete: true, ..Report::default() };
    let mut after = None;
    loop {
        let Plan { removals, looked_at, waiting, next, .. } = plan_after(engine, options, after).await?;
        removals.iter().for_each(say);
        report.looked_at += looked_at;
        report.waiting += waiting;
        if progress.at(&report).is_break() {
            report.is_complete = false;
            break;
        }
        after = next;
        if after.is_none() {
            quiet_uploads(engine, options).iter().for_each(say);
            break;
        }
    }
    report.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn say(removal: &Removal) {
    let Removal { kind, reason, namespace, digest, bytes } = removal;
    tracing::info!(
        kind = kind.as_str(),
        namespace = namespace.as_ref().map(tracing::field::display),
        digest = digest.as_ref().map(tracing::field::display),
        bytes,
        reason = reason.as_str(),
        "collection would remove"
    );
}
