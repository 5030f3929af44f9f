//! What an operator wants to keep.

use std::time::Duration;

use super::{Glob, NamePattern};

/// The policies of a store. The first one with a pattern that matches a namespace is the policy of
/// that namespace; a namespace without one keeps its names.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// Say what would be dropped, and drop nothing.
    pub dry_run: bool,
    /// How long a document must have been without a name, or a referring document without its
    /// target, before it is dropped. Nothing: as long as collection protects new content.
    pub delay: Option<Duration>,
    /// In the order in which they are asked; at most [`Retention::POLICIES_MAX`].
    pub policies: Vec<Policy>,
}

/// What is kept in some namespaces.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The policy is for namespaces that one of these matches; at most
    /// [`Retention::PATTERNS_MAX`].
    pub namespaces: Vec<Glob>,
    /// Drop documents that refer to a document that is gone. Default false.
    pub delete_referring: bool,
    /// Drop documents without a name. Default true.
    pub delete_unnamed: bool,
    /// Entries of which one must keep a name; empty: all names are kept. At most
    /// [`Retention::ENTRIES_MAX`].
    pub keep_names: Vec<KeepNames>,
    /// Documents without a name that are kept although such documents are dropped.
    pub keep_unnamed: Option<Rules>,
}

/// Rules for the names that one of the patterns matches.
#[derive(Debug, Clone, Default)]
pub struct KeepNames {
    /// Empty: all names. At most [`Retention::PATTERNS_MAX`].
    pub patterns: Vec<NamePattern>,
    pub rules: Rules,
}

/// A name is kept if one of the rules holds, or if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// It is among this many that were pushed last. At least 1.
    pub pushed_count: Option<u64>,
    /// It is among this many that were pulled last; those that were never pulled come after all
    /// others, the last pushed first. At least 1.
    pub pulled_count: Option<u64>,
    /// It was pushed at most this long ago.
    pub pushed_within: Option<Duration>,
    /// It was pulled, or pushed, at most this long ago: what is new had no chance to be pulled.
    pub pulled_within: Option<Duration>,
}

impl Retention {
    pub const POLICIES_MAX: usize = 1_000;
    pub const ENTRIES_MAX: usize = 1_000;
    pub const PATTERNS_MAX: usize = 1_000;

    /// The policy of a namespace, with its place in the list.
    pub fn policy_of(&self, namespace: &str) -> Option<(usize, &Policy)> {
        let governs = |policy: &Policy| policy.namespaces.iter().any(|glob| glob.matches(namespace));
        self.policies.iter().enumerate().find(|(_, policy)| governs(policy))
    }

    /// Whether there are names that could be dropped.
    pub fn drops_names(&self) -> bool {
        self.policies.iter().any(|policy| !policy.keep_names.is_empty())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            namespaces: Vec::new(),
            delete_referring: false,
            delete_unnamed: true,
            keep_names: Vec::new(),
            keep_unnamed: None,
        }
    }
}

impl KeepNames {
    pub fn matches(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

impl Rules {
    /// Whether there is no rule, so that everything is kept.
    pub fn is_empty(&self) -> bool {
        *self == Rules::default()
    }
}
