//! `orlop scrub`: a pass through a store that nobody serves.

use std::process::ExitCode;

use orlop_engine::Engine;
use orlop_gc::{Flow, PassReport, ScrubOptions};
use serde_json::json;

use crate::{
    args,
    config::Config,
    damage,
    exit::{Exit, Failure},
    log,
    offline::{self, Line, Stop},
};

/// Prints the damaged blobs, those known before included, to standard output; progress goes to a terminal,
/// audit events to the log or standard error. A signal ends it after the read it is at; `--resume` goes on.
/// Out: [`Exit::Findings`] if a blob is damaged, or the pass did not come to its end.
/// Errors: bad configuration; the store cannot be opened, read or written.
pub async fn run(arguments: &args::Scrub) -> Result<ExitCode, Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    log::start_beside(&config.log)?;
    let root = &config.root;
    let failed = |error: orlop_engine::Error| Failure::engine(root, &error);
    offline::require_root(root)?;
    let engine = Engine::open(root, config.engine.clone()).await.map_err(failed)?;
    let scrubbed = scrub(&engine, arguments).await;
    let closed = engine.close().await;
    let (report, damaged, text) = scrubbed.map_err(failed)?;
    closed.map_err(failed)?;
    offline::print(&text);
    Ok(match damaged == 0 && report.ended_unix_ms.is_some() {
        true => ExitCode::SUCCESS,
        false => Exit::Findings.into(),
    })
}

/// Gives what came of the pass, how many blobs are damaged, and both as text.
async fn scrub(engine: &Engine, arguments: &args::Scrub) -> orlop_engine::Result<(PassReport, u64, String)> {
    let options = ScrubOptions { interval: None, rate_bytes_max: arguments.rate.filter(|rate| *rate > 0) };
    let report = pass(engine, &options, arguments.resume).await?;
    let listed = damage::list(engine).await?;
    let damaged = engine.damaged_count();
    let text = match arguments.json {
        true => {
            let document = damage::document(&listed);
            format!("{:#}\n", json!({"pass": report, "damaged": document, "damaged_total": damaged}))
        }
        false => {
            let end = if report.ended_unix_ms.is_some() { "" } else { "; stopped before the end, --resume goes on" };
            format!("{}{report}{end}\n", damage::table(&listed))
        }
    };
    Ok((report, damaged, text))
}

async fn pass(engine: &Engine, options: &ScrubOptions, resume: bool) -> orlop_engine::Result<PassReport> {
    let (stop, mut line, about) = (Stop::listen(), Line::new(), engine.blobs_estimate());
    let mut progress = |so_far: &PassReport| {
        let (blobs, mib, damaged) = (so_far.blobs, so_far.bytes >> 20, so_far.damaged);
        line.show(|| format!("{blobs} of about {about} blobs, {mib} MiB, {damaged} damaged"));
        if stop.is_asked() { Flow::Break(()) } else { Flow::Continue(()) }
    };
    orlop_gc::scrub(engine, options, resume, &mut progress).await
}
