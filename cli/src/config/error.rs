//! What can be wrong with a configuration, each told in one line with the key and the remedy.

use std::{fmt, io, path::PathBuf};

use super::value::Problem;

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct Error {
    /// The configuration file, or nothing when a flag is to blame.
    pub file: Option<PathBuf>,
    pub kind: ErrorKind,
}

/// Keys are full paths from the top of the file, such as `http.tls.cert`, as they were written.
#[derive(Debug)]
pub enum ErrorKind {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// The file has more bytes than a configuration may have.
    TooLarge { bytes_max: u64 },
    /// The file has nothing but white space.
    Empty,
    /// The file is not of its format; the reason is one line.
    Syntax { format: &'static str, reason: String },
    /// No such key.
    Unknown { key: String, nearest: String },
    /// The key appears twice; upper and lower case are the same key.
    Duplicate { key: String },
    /// A key of zot for a feature that is not there.
    Unsupported { key: String, feature: &'static str },
    /// A key of zot for a feature that is not there, which the operator would have ignored; but it keeps somebody out.
    Protective { key: String, feature: &'static str },
    /// The value of a key cannot be used.
    Value { key: String, problem: Problem },
    /// Keys that are right each by itself but not together.
    Inconsistent(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys come from the file: quoting them escapes line ends and control characters, so that
        // an error stays one line.
        match self {
            ErrorKind::Unreadable(source) => write!(f, "cannot read the configuration: {source}"),
            ErrorKind::TooLarge { bytes_max } => {
                write!(f, "the configuration is larger than {bytes_max} bytes; is it the right file?")
            }
            ErrorKind::Empty => f.write_str("the configuration is empty; was it cut off?"),
            ErrorKind::Syntax { format, reason } => write!(f, "not valid {format}: {reason}"),
            ErrorKind::Unknown { key, nearest } => {
                write!(f, "unknown key {key:?}; the nearest known key is {nearest:?}")
            }
            ErrorKind::Duplicate { key } => {
                write!(f, "duplicate key {key:?} (upper and lower case are the same key); keep one of them")
            }
            ErrorKind::Unsupported { key, feature } => {
                write!(f, "{key:?} is not supported by this version ({feature}); remove the key")
            }
            ErrorKind::Protective { key, feature } => {
                write!(f, "{key:?} is not supported by this version ({feature}) and cannot be ignored: ")?;
                f.write_str("more would be allowed than the file says; remove the key")
            }
            ErrorKind::Value { key, problem } => match problem {
                Problem::Type { expected, found } => write!(f, "{key:?} must be {expected}, found {found}"),
                Problem::Unusable(reason) => write!(f, "{key:?}: {reason}"),
                Problem::Unsupported(reason) => write!(f, "{key:?} is not supported by this version: {reason}"),
            },
            ErrorKind::Inconsistent(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Unreadable(source) => Some(source),
            _ => None,
        }
    }
}
