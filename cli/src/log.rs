//! Structured logs: one JSON object a line, to standard output or to a file.
//!
//! In: a level and an output. What has become true: every `tracing` event of the process goes
//! there, its fields beside `timestamp`, `level`, `message` and `target`; what the audit log is for
//! goes to that, too, and requests go to the access log instead, if there is one. All of it can be exchanged.

use std::{
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
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
    log_output::{Output, Target},
    log_switch::Switch,
};

/// Crates of this workspace have targets that begin with this.
const OWN_TARGETS: &str = "orlop";

/// Requests, one line each.
const REQUESTS: &str = "orlop_api::access";

/// The logs of this process, once it logs.
static LOGS: OnceLock<Logs> = OnceLock::new();

/// What can be exchanged while it is written to.
struct Logs {
    level: reload::Handle<Targets, Registry>,
    /// Where lines go without a file.
    default: fn() -> Target,
    lines: Output,
    requests: Output,
    has_requests: Switch,
    audit: audit::Log,
}

/// Logs that are open, and not written to yet.
pub struct Opened {
    level: LevelFilter,
    lines: Change<Target>,
    requests: Change<Target>,
    audit: Change<audit::Opened>,
}

/// What becomes of one log.
enum Change<T> {
    /// It stays as it is, the file that is open included.
    Nothing,
    Off,
    To(T),
}

/// Starts logging for the whole process. Call once.
/// Errors: one of the files cannot be opened for appending.
pub fn start(log: &config::Log) -> Result<(), Failure> {
    start_with(log, || Target::Stdout)
}

/// Starts logging for a command whose standard output is its answer.
/// Errors: as [`start`].
pub fn start_beside(log: &config::Log) -> Result<(), Failure> {
    start_with(log, || Target::Stderr)
}

/// Goes on in new files where somebody has moved the old ones away. The audit log notices that by itself.
pub fn reopen() {
    let files = LOGS.get().map(|logs| [logs.lines.file(), logs.requests.file()]);
    for file in files.into_iter().flatten().flatten() {
        if let Err(error) = file.reopen() {
            let path = file.path().display();
            tracing::error!(%path, %error, "a log cannot be opened again, and goes on in its old file");
        }
    }
}

/// Opens the files that are not open yet. Lines go where they went.
/// Errors: one of them cannot be opened for appending; then all is as it was.
pub fn open(log: &config::Log) -> Result<Opened, Failure> {
    open_beside(log, LOGS.get())
}

/// From now on lines go to these, and no line to neither the old nor the new.
pub fn exchange(opened: Opened) {
    if let Some(logs) = LOGS.get() {
        logs.exchange(opened);
    }
}

fn open_beside(log: &config::Log, logs: Option<&Logs>) -> Result<Opened, Failure> {
    let path_of = |output: &Output| output.file().map(|file| file.path().to_owned());
    Ok(Opened {
        level: log.level,
        lines: change(log.output.as_deref(), logs.and_then(|logs| path_of(&logs.lines)), |path| {
            open_file("log.output", path)
        })?,
        requests: change(log.access.as_deref(), logs.and_then(|logs| path_of(&logs.requests)), |path| {
            open_file("log.access", path)
        })?,
        audit: change(log.audit.as_deref(), logs.and_then(|logs| logs.audit.path()), |path| {
            audit::open(path).map_err(|error| unusable("log.audit", path, &error))
        })?,
    })
}

fn change<T>(
    wished: Option<&Path>,
    now: Option<PathBuf>,
    open: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<Change<T>, Failure> {
    match (wished, now) {
        (Some(wished), Some(now)) if wished == now => Ok(Change::Nothing),
        (Some(wished), _) => open(wished).map(Change::To),
        (None, Some(_)) => Ok(Change::Off),
        (None, None) => Ok(Change::Nothing),
    }
}

fn open_file(key: &str, path: &Path) -> Result<Target, Failure> {
    LogFile::open(path).map(Target::File).map_err(|error| unusable(key, path, &error))
}

fn start_with(log: &config::Log, default: fn() -> Target) -> Result<(), Failure> {
    let opened = open_beside(log, None)?;
    let (lines, requests, has_requests) =
        (Output::new(default()), Output::new(Target::Nowhere), Switch::of(&[REQUESTS]));
    let (filter, level) = reload::Layer::new(lines_of(log.level, false));
    let (audited, audit) = audit::layer();
    tracing_subscriber::registry()
        .with(json(lines.clone()).with_filter(filter))
        .with(json(requests.clone()).with_filter(has_requests.clone()))
        .with(audited)
        .init();
    LOGS.get_or_init(|| Logs { level, default, lines, requests, has_requests, audit }).exchange(opened);
    Ok(())
}

impl Logs {
    fn exchange(&self, opened: Opened) {
        let Opened { level, lines, requests, audit } = opened;
        match lines {
            Change::Nothing => {}
            Change::Off => self.lines.exchange((self.default)()),
            Change::To(target) => self.lines.exchange(target),
        }
        match audit {
            Change::Nothing => {}
            Change::Off => self.audit.close(),
            Change::To(opened) => self.audit.exchange(opened),
        }
        // On before they leave the ordinary log, and off after they are back in it.
        let turned_off = matches!(requests, Change::Off);
        if let Change::To(target) = requests {
            self.requests.exchange(target);
            self.has_requests.turn(true);
        }
        // It fails only when the log is gone, with the process.
        let _ = self.level.reload(lines_of(level, self.has_requests.is_on() && !turned_off));
        if turned_off {
            self.has_requests.turn(false);
            self.requests.exchange(Target::Nowhere);
        }
    }
}

/// What goes to the log, if requests have one of their own or not.
fn lines_of(level: LevelFilter, has_requests: bool) -> Targets {
    match has_requests {
        true => filter(level).with_target(REQUESTS, LevelFilter::OFF),
        false => filter(level),
    }
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
        let file = LogFile::open(&path).expect("a new file");
        let subscriber = tracing_subscriber::registry().with(json(Output::new(Target::File(file.clone()))));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(address = "127.0.0.1:1", "listening");
            tracing::warn!("two\nlines");
            std::fs::rename(&path, directory.path().join("moved")).expect("moved");
            file.reopen().expect("made anew");
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
