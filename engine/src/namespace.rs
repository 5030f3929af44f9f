//! Namespaces: the walls between which content is visible.

use std::{fmt, sync::Arc};

/// The longest namespace or name in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// A namespace: 1 to 255 bytes without NUL (the separator in index keys). Any stricter grammar is
/// the caller's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

/// Why a text is no namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a namespace has 1 to {NAME_BYTES_MAX} bytes and no NUL")]
pub struct NamespaceError;

impl Namespace {
    pub fn new(text: &str) -> Result<Self, NamespaceError> {
        if is_name(text) { Ok(Namespace(text.into())) } else { Err(NamespaceError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text can stand in an index key.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains('\0')
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
