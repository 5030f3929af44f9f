//! Paths below the store's root.

use std::{fmt, path::Path};

/// A relative path of plain components: no `..`, no empty part, no leading slash. The empty path
/// is the root itself. Built by the engine from digests and ids only, never from what a client sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(String);

impl StorePath {
    pub fn root() -> Self {
        StorePath(String::new())
    }

    /// Joins one component.
    ///
    /// # Panics
    /// If `component` is empty, has a slash or NUL, or starts with a dot: the engine made a mistake.
    #[must_use]
    pub fn join(&self, component: &str) -> Self {
        assert!(
            !component.is_empty() && !component.starts_with('.') && !component.contains(['/', '\0']),
            "not a plain path component: {component:?}"
        );
        if self.0.is_empty() { StorePath(component.to_owned()) } else { StorePath(format!("{}/{component}", self.0)) }
    }

    /// The directory this path lies in; the root's parent is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        StorePath(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned()))
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For system calls relative to an open root directory: `.` for the root.
    pub fn as_path(&self) -> &Path {
        Path::new(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
