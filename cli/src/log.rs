//! Structured logs: one JSON object a line, to standard output or to a file.
//!
//! In: a level and an output. What has become true: every `tracing` event of the process goes
//! there, its fields beside `timestamp`, `level`, `message` and `target`; what the audit log is for
//! goes to that, too.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, OnceLock},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{MakeWriter, layer},
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    audit, config,
    exit::{Exit, Failure},
};

/// Crates of this workspace have targets that begin with this.
const OWN_TARGETS: &str = "orlop";

/// What can set the level of this process, once it logs.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging for the whole process. Call once.
/// Errors: the output or the audit log cannot be opened for appending.
pub fn start(log: &config::Log) -> Result<(), Failure> {
    match &log.output {
        None => start_with(log, io::stdout),
        Some(path) => {
            let file = open(path).map_err(|error| unusable("log.output", path, &error))?;
            start_with(log, Mutex::new(file))
        }
    }
}

/// Starts logging for a command whose standard output is its answer.
/// Errors: as [`start`].
pub fn start_beside(log: &config::Log) -> Result<(), Failure> {
    match &log.output {
        None => start_with(log, io::stderr),
        Some(_) => start(log),
    }
}

/// Writes lines from this level on.
pub fn set_level(level: LevelFilter) {
    // It fails only when the log is gone, with the process.
    let _ = LEVEL.get().map(|handle| handle.reload(filter(level)));
}

/// Log lines name repositories and clients, so the file is made for its owner alone.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn start_with<W>(log: &config::Log, writer: W) -> Result<(), Failure>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, level) = reload::Layer::new(filter(log.level));
    let _ = LEVEL.set(level);
    let lines = tracing_subscriber::registry().with(json(writer).with_filter(filter));
    match &log.audit {
        None => lines.init(),
        Some(path) => lines.with(audit::start(path).map_err(|error| unusable("log.audit", path, &error))?).init(),
    }
    Ok(())
}

fn unusable(key: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Configuration, format!("{key:?}: cannot append to {}: {error}", path.display()))
}

/// Fields lie beside the message, so that a reader needs no path into the object.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    layer().json().flatten_event(true).with_span_list(false).with_writer(writer)
}

/// Libraries speak up from `warn`, or at any level once `trace` is asked for: their debug lines
/// drown ours. What was removed, by whom and why is never left out, whatever the level.
fn filter(level: LevelFilter) -> Targets {
    let others = match level {
        LevelFilter::TRACE => level,
        _ => level.min(LevelFilter::WARN),
    };
    Targets::new()
        .with_default(others)
        .with_target(OWN_TARGETS, level)
        .with_target(audit::REMOVALS, level.max(LevelFilter::INFO))
        .with_target(audit::REQUESTS, LevelFilter::OFF)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_quiet_below_warn() {
        let filter = filter(LevelFilter::DEBUG);
        assert!(filter.would_enable("orlop::serve", &Level::DEBUG));
        assert!(filter.would_enable("orlop_api::server", &Level::DEBUG));
        assert!(!filter.would_enable("hyper::proto", &Level::INFO));
        assert!(filter.would_enable("hyper::proto", &Level::WARN));

        let errors = self::filter(LevelFilter::ERROR);
        assert!(!errors.would_enable("hyper::proto", &Level::WARN));
        assert!(!errors.would_enable("orlop::serve", &Level::WARN));
        assert!(errors.would_enable("audit", &Level::INFO));
        assert!(!filter.would_enable("orlop_api::audit", &Level::INFO), "each request has its line already");
    }

    #[test]
    fn a_line_is_one_object_with_flat_fields() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("log.json");
        let file = open(&path).expect("a new file");
        let subscriber = tracing_subscriber::registry().with(json(Arc::new(file)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(address = "127.0.0.1:1", "listening");
            tracing::warn!("two\nlines");
        });

        let text = std::fs::read_to_string(&path).expect("the log");
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "listening");
        assert_eq!(lines[0]["address"], "127.0.0.1:1");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["message"], "two\nlines");
    }

    #[test]
    fn an_output_that_cannot_be_opened_names_its_key() {
        let nowhere = Some(std::path::PathBuf::from("/nowhere/at/all/log.json"));
        for (key, output, audit) in [("log.output", nowhere.clone(), None), ("log.audit", None, nowhere)] {
            let log = config::Log { level: LevelFilter::INFO, output, audit };
            let failure = start(&log).expect_err("the directory does not exist");
            assert_eq!(failure.exit, Exit::Configuration);
            assert!(failure.to_string().contains(key), "{failure}");
        }
    }
}
