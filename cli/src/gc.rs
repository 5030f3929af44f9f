//! `orlop gc`: a collection of a store that nobody serves.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use orlop_engine::Engine;
use orlop_gc::{Flow, Options, Plan, Report, governed_options, retention::Retention};

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
    log, private,
    signals::Signals,
};

/// Removals that a dry run prints at most.
const DRY_RUN_REMOVALS_MAX: usize = 1_000_000;

/// How often a terminal is told how far a run is.
const PROGRESS_PERIOD: Duration = Duration::from_millis(200);

/// Prints what was removed, or would be, to standard output; progress goes to a terminal, audit
/// events to the log or standard error. A signal ends it after the steps it is at.
/// Errors: bad configuration; the store cannot be opened or written.
pub async fn run(arguments: &args::Gc) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    log::start_beside(&config.log)?;
    let root = &config.root;
    let failed = |error: orlop_engine::Error| Failure::engine(root, &error);
    // Opening a store makes the directory; a mistyped path must not succeed like that.
    if let Err(error) = std::fs::read_dir(root) {
        return Err(Failure::new(Exit::Root, format!("cannot read the root {}: {error}", root.display())));
    }
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
    // A reader that went away (`| head`) does not change what was done.
    let _ = writeln!(io::stdout(), "{output}");
    Ok(())
}

fn shown<T: std::fmt::Display + serde::Serialize>(value: &T, json: bool) -> String {
    match json {
        true => serde_json::to_string_pretty(value).expect("plans and reports have string keys only"),
        false => value.to_string(),
    }
}

async fn plan(engine: &Engine, options: Options, retention: &Arc<Retention>) -> orlop_engine::Result<Plan> {
    let options = Options { plan_removals_max: DRY_RUN_REMOVALS_MAX, ..options };
    let options = governed_options(engine, &options, retention).await?;
    orlop_gc::plan(engine, &options).await
}

async fn collect(engine: &Engine, options: Options, retention: &Arc<Retention>) -> orlop_engine::Result<Report> {
    let options = governed_options(engine, &options, retention).await?;
    let stop = async {
        match Signals::listen() {
            Ok(signals) => signals.stop().await,
            // Then a signal ends the process, which is as safe as any crash.
            Err(_) => std::future::pending().await,
        }
    };
    let (asked, is_asked) = tokio::sync::watch::channel(false);
    let listening = tokio::spawn(async move {
        stop.await;
        let _ = asked.send(true);
    });
    let shows = io::stderr().is_terminal();
    let mut shown_at = Instant::now();
    let mut progress = move |so_far: &Report| {
        if shows && shown_at.elapsed() >= PROGRESS_PERIOD {
            shown_at = Instant::now();
            let _ = write!(io::stderr(), "\r{} looked at, removed {}", so_far.looked_at, so_far.removed);
        }
        if *is_asked.borrow() { Flow::Break(()) } else { Flow::Continue(()) }
    };
    let report = orlop_gc::collect(engine, &options, &mut progress).await;
    listening.abort();
    if shows {
        let _ = writeln!(io::stderr());
    }
    report
}
