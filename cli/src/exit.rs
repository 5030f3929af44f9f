//! The exit codes of `orlop`, and the failures that lead to them.

use std::{fmt, io, path::Path, process::ExitCode};

use crate::config;

/// Why the process ended. The numbers are part of the command line's interface: `--help` lists
/// them ([`HELP`]) and scripts test them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, except for what it names: a broken invariant, damaged blobs, what a rebuild, import or
    /// export left out, failed requests of a bench.
    Findings = 1,
    /// Bad configuration file or command line (clap uses the same code).
    Configuration = 2,
    /// The address is taken or may not be listened on.
    Address = 3,
    /// The root cannot be created, read or written.
    Root = 4,
    /// Another process has the root open.
    InUse = 5,
    /// The index is damaged or missing.
    Damaged = 6,
    /// The root holds something that is not a store of this version.
    Foreign = 7,
    /// Anything else: the operating system refused an operation while running.
    Failed = 8,
}

/// The table of codes for `--help`.
pub const HELP: &str = "\
Exit codes:
  0    done; `serve`: stopped by SIGTERM or SIGINT after open requests ended
  1    `check` found problems; `scrub` found damaged blobs; `rebuild`, `import` or `export` left something out;
       `bench` had failed requests
  2    bad configuration or command line; `rebuild` needs a flag to go on
  3    the address is taken or may not be listened on
  4    the root cannot be created, read or written
  5    the root is in use by another process
  6    the index is damaged or missing
  7    the root holds a foreign format
  8    the operating system refused an operation while running
  128+n  ended at once by a second signal n";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An end of the process that is not success, with one line for the operator.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// Sorts an engine error that came up while the store under `root` was opened or read.
    pub fn engine(root: &Path, error: &orlop_engine::Error) -> Self {
        use orlop_engine::Error;
        let shown = root.display();
        match error {
            // These name the path themselves.
            Error::Refused { .. } => Self::new(Exit::Configuration, error),
            Error::InUse { .. } => Self::new(Exit::InUse, error),
            Error::Foreign { .. } => Self::new(Exit::Foreign, error),
            Error::Store { path, reason } if path.is_relative() => {
                Self::new(Exit::Damaged, format!("{}: {reason}", root.join(path).display()))
            }
            Error::Store { .. } => Self::new(Exit::Damaged, error),
            Error::Io { source, .. } if is_refusal(source) => Self::new(
                Exit::Root,
                format!("cannot use the root {shown}: {error}; make it a directory this user can write"),
            ),
            Error::NoSpace => Self::new(Exit::Root, format!("cannot use the root {shown}: {error}; free some space")),
            _ => Self::new(Exit::Failed, format!("the store {shown} failed: {error}")),
        }
    }
}

/// Whether the operating system refused the path itself, rather than a device failing.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotFound
            | io::ErrorKind::InvalidFilename
    )
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::new(Exit::Configuration, error)
    }
}

/// Errors are one line, whatever a source put into its text.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.message.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(lines.next().unwrap_or("unknown error"))?;
        lines.try_for_each(|line| write!(f, " {line}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use orlop_engine::Error;

    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        let codes = [
            Exit::Findings,
            Exit::Configuration,
            Exit::Address,
            Exit::Root,
            Exit::InUse,
            Exit::Damaged,
            Exit::Foreign,
            Exit::Failed,
        ];
        for (index, exit) in codes.into_iter().enumerate() {
            assert_eq!(exit as usize, index + 1, "codes are distinct and without gaps");
            assert!(HELP.contains(&format!("\n  {}    ", exit as u8)), "{exit:?} is not in the help");
        }
    }

    #[test]
    fn engine_errors_get_their_codes() {
        let root = Path::new("/data");
        let path = PathBuf::from("/data/index");
        let refused = |kind: io::ErrorKind| Error::Io { context: "creating the root", source: kind.into() };
        let store = |path: &str| Error::Store { path: path.into(), reason: "odd".to_owned() };
        let foreign = |path: &str| Error::Foreign { path: path.into(), reason: "odd".to_owned() };
        let cases = [
            (Error::InUse { path }, Exit::InUse),
            (store("/data/index"), Exit::Damaged),
            (store("index"), Exit::Damaged),
            (foreign("/data/FORMAT"), Exit::Foreign),
            (foreign("/data"), Exit::Foreign),
            (refused(io::ErrorKind::PermissionDenied), Exit::Root),
            (refused(io::ErrorKind::NotADirectory), Exit::Root),
            (refused(io::ErrorKind::ReadOnlyFilesystem), Exit::Root),
            (Error::NoSpace, Exit::Root),
            (refused(io::ErrorKind::Other), Exit::Failed),
            (Error::Busy, Exit::Failed),
        ];
        for (error, exit) in cases {
            let failure = Failure::engine(root, &error);
            assert_eq!(failure.exit, exit, "{error}");
            assert!(failure.to_string().contains("/data"), "{failure} does not name the path");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::new(Exit::Failed, "first\n  second\r\n\nthird\n");
        assert_eq!(failure.to_string(), "first second third");
    }
}
