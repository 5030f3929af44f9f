//! What a collection may take.

use std::sync::Arc;

use orlop_engine::{Digest, Namespace};

/// Removals in one plan: about 1 MiB of memory. A run makes as many plans as it needs.
const PLAN_REMOVALS_MAX: usize = 4096;

/// What a collection is told. Delays are in epochs, see [`Clock`](super::Clock).
#[derive(Clone)]
pub struct Options {
    /// How long plain content, empty namespaces and abandoned uploads stay after they lost what
    /// kept them. Leases protect beside it, and also without it.
    pub delay: u64,
    /// The same for documents.
    pub document_delay: u64,
    /// Which documents may go at all.
    pub keep: Arc<dyn Keep>,
    /// Removals after which a plan ends; the next one continues behind it. Default 4,096.
    pub plan_removals_max: usize,
    /// Work in short bursts and rest between them for as long, beside somebody who serves. Default
    /// false.
    pub rests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            delay: 9,
            document_delay: 9,
            keep: Arc::new(Rules::default()),
            plan_removals_max: PLAN_REMOVALS_MAX,
            rests: false,
        }
    }
}

/// Rules for documents that no name points at and no document needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Those that refer to nothing may go. Default true.
    pub delete_unnamed: bool,
    /// Those that refer to something that is gone may go. Default false: they may have come before
    /// their target.
    pub delete_referring: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules { delete_unnamed: true, delete_referring: false }
    }
}

/// A document that only rules can keep.
#[derive(Debug, Clone, Copy)]
pub struct Unnamed<'a> {
    pub namespace: &'a Namespace,
    pub digest: &'a Digest,
    /// What its owner wants to know about it.
    pub label: &'a [u8],
    /// When it was first pushed, milliseconds by the store's clock.
    pub since_clock_ms: u64,
    /// It refers to something, which is gone.
    pub refers: bool,
}

/// The hook for policies: which documents without a name stay. Asked while a plan is made, where
/// blocking is allowed; must answer from memory.
pub trait Keep: Send + Sync + 'static {
    /// The rules of a namespace.
    fn rules(&self, namespace: &Namespace) -> Rules;

    /// Whether a document stays although the rules would let it go. It is asked about again in
    /// every run, so the answer may depend on time.
    fn keeps(&self, document: &Unnamed<'_>) -> bool {
        let _ = document;
        false
    }
}

/// The same rules everywhere, without exceptions.
impl Keep for Rules {
    fn rules(&self, _namespace: &Namespace) -> Rules {
        *self
    }
}
