//! `orlop gc`: a collection of a store that nobody serves.

use std::sync::Arc;

use orlop_engine::Engine;
use orlop_gc::{Flow, Options, Plan, Report, governed_options, retention::Retention};

use crate::{
    args,
    config::Config,
    exit::Failure,
    log,
    offline::{self, Line, Stop, shown},
    private,
};

/// Removals that a dry run prints at most.
const DRY_RUN_REMOVALS_MAX: usize = 1_000_000;

/// Prints what was removed, or would be, to standard output; progress goes to a terminal, audit
/// events to the log or standard error. A signal ends it after the steps it is at.
/// Errors: bad configuration; the store cannot be opened or written.
pub async fn run(arguments: &args::Gc) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    log::start_beside(&config.log)?;
    let root = &config.root;
    let failed = |error: orlop_engine::Error| Failure::engine(root, &error);
    offline::require_root(root)?;
    // Nobody is disturbed.
    let mut options = Options { rests: false, ..config.collection.options(&config.retention) };
    if arguments.now {
        (options.delay, options.document_delay) = (0, 0);
    }
    private::keep();
    let engine = Engine::open(root, config.engine.clone()).await.map_err(failed)?;
    // Nobody is served, so nobody is in the middle of relying on an answer.
    engine.waive_earlier_answers();
    let retention = Arc::new(config.retention);
    let output = match arguments.dry_run || retention.dry_run {
        true => plan(&engine, options, &retention).await.map(|plan| shown(&plan, arguments.json)),
        false => collect(&engine, options, &retention).await.map(|report| shown(&report, arguments.json)),
    };
    let closed = engine.close().await;
    let output = output.map_err(failed)?;
    closed.map_err(failed)?;
    offline::print(&format!("{output}\n"));
    Ok(())
}

async fn plan(engine: &Engine, options: Options, retention: &Arc<Retention>) -> orlop_engine::Result<Plan> {
    let options = Options { plan_removals_max: DRY_RUN_REMOVALS_MAX, ..options };
    let options = governed_options(engine, &options, retention).await?;
    orlop_gc::plan(engine, &options).await
}

async fn collect(engine: &Engine, options: Options, retention: &Arc<Retention>) -> orlop_engine::Result<Report> {
    let options = governed_options(engine, &options, retention).await?;
    let (stop, mut line) = (Stop::listen(), Line::new());
    let mut progress = |so_far: &Report| {
        line.show(|| format!("{} looked at, removed {}", so_far.looked_at, so_far.removed));
        if stop.is_asked() { Flow::Break(()) } else { Flow::Continue(()) }
    };
    orlop_gc::collect(engine, &options, &mut progress).await
}
