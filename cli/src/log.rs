//! Structured logs: one JSON object a line, to standard output or to a file.
//!
//! In: a level and an output. What has become true: every `tracing` event of the process goes
//! there, its fields beside `timestamp`, `level`, `message` and `target`; what the audit log is for
//! goes to that, too, and requests go to the access log instead, if there is one.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
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
    log_file::LogFile,
};

/// Crates of this workspace have targets that begin with this.
const OWN_TARGETS: &str = "orlop";

/// What can set the level of this process, once it logs.
static LEVEL: OnceLock<(reload::Handle<Targets, Registry>, bool)> = OnceLock::new();

/// Starts logging for the whole process. Call once.
/// Errors: the output or the audit log cannot be opened for appending.
pub fn start(log: &config::Log) -> Result<(), Failure> {
    match &log.output {
        None => start_with(log, io::stdout),
        Some(path) => {
            let file = open("log.output", path)?;
            start_with(log, file)
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

/// Files of this process that are opened again when that is asked for.
static FILES: Mutex<Vec<Arc<LogFile>>> = Mutex::new(Vec::new());

/// Requests, one line each.
const REQUESTS: &str = "orlop_api::access";

/// Goes on in new files where somebody has moved the old ones away. The audit log notices that by itself.
pub fn reopen() {
    for file in &*FILES.lock().unwrap_or_else(PoisonError::into_inner) {
        if let Err(error) = file.reopen() {
            let path = file.path().display();
            tracing::error!(%path, %error, "a log cannot be opened again, and goes on in its old file");
        }
    }
}

/// Writes lines from this level on.
pub fn set_level(level: LevelFilter) {
    // It fails only when the log is gone, with the process.
    let _ = LEVEL.get().map(|(handle, has_requests)| handle.reload(lines_of(level, *has_requests)));
}

/// What goes to the log, if requests have one of their own or not.
fn lines_of(level: LevelFilter, has_requests: bool) -> Targets {
    match has_requests {
        true => filter(level).with_target(REQUESTS, LevelFilter::OFF),
        false => filter(level),
    }
}

fn open(key: &str, path: &Path) -> Result<Arc<LogFile>, Failure> {
    let file = LogFile::open(path).map_err(|error| unusable(key, path, &error))?;
    FILES.lock().unwrap_or_else(PoisonError::into_inner).push(file.clone());
    Ok(file)
}

fn start_with<W>(log: &config::Log, writer: W) -> Result<(), Failure>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let access = log.access.as_deref().map(|path| open("log.access", path)).transpose()?;
    let (lines, level) = reload::Layer::new(lines_of(log.level, access.is_some()));
    let _ = LEVEL.set((level, access.is_some()));
    let requests = access.map(|file| json(file).with_filter(Targets::new().with_target(REQUESTS, LevelFilter::INFO)));
    let lines = tracing_subscriber::registry().with(json(writer).with_filter(lines)).with(requests);
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
        let file = open("log.output", &path).expect("a new file");
        let subscriber = tracing_subscriber::registry().with(json(file));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(address = "127.0.0.1:1", "listening");
            tracing::warn!("two\nlines");
            std::fs::rename(&path, directory.path().join("moved")).expect("moved");
            reopen();
            tracing::info!("anew");
        });
        let moved = std::fs::read_to_string(&path).expect("a new file");
        assert!(moved.contains("anew") && moved.lines().count() == 1, "{moved}");
        std::fs::rename(directory.path().join("moved"), &path).expect("moved back");

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
        for (key, output, audit, access) in [
            ("log.output", nowhere.clone(), None, None),
            ("log.audit", None, nowhere.clone(), None),
            ("log.access", None, None, nowhere),
        ] {
            let log = config::Log { level: LevelFilter::INFO, output, audit, access };
            let failure = start(&log).expect_err("the directory does not exist");
            assert_eq!(failure.exit, Exit::Configuration);
            assert!(failure.to_string().contains(key), "{failure}");
        }
    }
}
