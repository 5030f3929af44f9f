//! What a caller wants to become true in one step.

use std::sync::Arc;

use super::guard::Guard;
use crate::{Digest, Namespace, clock::Moment, ingest::Sealed};

/// What a document says about another digest of its namespace. The discriminants are part of the
/// on-disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EdgeKind {
    /// Keeps the target alive.
    Needs = 1,
    /// Is listed at the target, which need not exist.
    Refers = 2,
}

impl EdgeKind {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(EdgeKind::Needs),
            2 => Some(EdgeKind::Refers),
            _ => None,
        }
    }
}

/// An edge from a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub kind: EdgeKind,
    pub target: Digest,
    /// Opaque; given back by `Engine::referring`. Only an edge that refers has one.
    pub payload: Vec<u8>,
    /// A *needs* edge whose target may be missing from the namespace.
    pub sparse: bool,
}

impl Edge {
    /// The document needs `target`, which must be in the namespace.
    pub fn needs(target: Digest) -> Self {
        Edge { kind: EdgeKind::Needs, target, payload: Vec::new(), sparse: false }
    }

    /// The document names `target`, which may come later or never; it is kept alive if it is there.
    pub fn needs_sparse(target: Digest) -> Self {
        Edge { sparse: true, ..Edge::needs(target) }
    }

    /// The document is to be listed at `target` with `payload`.
    pub fn refers(target: Digest, payload: Vec<u8>) -> Self {
        Edge { kind: EdgeKind::Refers, target, payload, sparse: true }
    }
}

/// When content may be taken out of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Always,
    /// Only if no document of the namespace needs it.
    UnlessNeeded,
}

/// Proof that a batch is durable and visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Receipt(pub(crate) ());

/// Changes to one namespace that become true together or not at all, applied in the order given.
pub struct Batch {
    pub(crate) namespace: Namespace,
    pub(crate) steps: Vec<Step>,
    pub(crate) guard: Option<Arc<dyn Guard>>,
}

#[expect(clippy::large_enum_variant, reason = "a batch has a handful of steps, and most are content")]
pub(crate) enum Step {
    Content { sealed: Sealed, label: Vec<u8>, edges: Vec<Edge> },
    Mount { digest: Digest, from: Vec<Namespace> },
    Require { digest: Digest, size: Option<u64>, labelled: bool },
    Bind { name: String, digest: Digest },
    Unbind { name: String },
    UnbindIf { name: String, digest: Digest, bound: Moment },
    Remove { digest: Digest, policy: Removal },
    AsOf { moment: Moment },
}

impl Batch {
    pub fn new(namespace: Namespace) -> Self {
        Batch { namespace, steps: Vec::new(), guard: None }
    }

    /// Has every step ask `guard` first. Fails with `Forbidden` where it refuses.
    #[must_use]
    pub fn guarded(mut self, guard: Arc<dyn Guard>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Adds content to the namespace, without a label. Content that has one keeps it.
    #[must_use]
    pub fn blob(mut self, sealed: Sealed) -> Self {
        self.steps.push(Step::Content { sealed, label: Vec::new(), edges: Vec::new() });
        self
    }

    /// Adds a document: content with a label (not empty) and edges. Fails with `Missing` if a
    /// needed target is not in the namespace.
    #[must_use]
    pub fn document(mut self, sealed: Sealed, label: Vec<u8>, edges: Vec<Edge>) -> Self {
        debug_assert!(!label.is_empty(), "a document is told from a plain blob by its label");
        self.steps.push(Step::Content { sealed, label, edges });
        self
    }

    /// Makes content of another namespace a member of this one. `from` lists the namespaces the
    /// caller may read; empty means any. A namespace that the guard refuses counts as one that does not
    /// hold it. Fails with `NotFound` if none of them holds the content.
    #[must_use]
    pub fn mount(mut self, digest: Digest, from: Vec<Namespace>) -> Self {
        self.steps.push(Step::Mount { digest, from });
        self
    }

    /// Demands that the namespace has this content, of this size, as a document. Fails with
    /// `Missing`.
    #[must_use]
    pub fn require(mut self, digest: Digest, size: Option<u64>, labelled: bool) -> Self {
        self.steps.push(Step::Require { digest, size, labelled });
        self
    }

    /// Points a name at content of the namespace; a name that exists moves. Fails with `Missing`.
    #[must_use]
    pub fn bind(mut self, name: impl Into<String>, digest: Digest) -> Self {
        self.steps.push(Step::Bind { name: name.into(), digest });
        self
    }

    /// Removes a name; what it pointed at stays. Fails with `NotFound`.
    #[must_use]
    pub fn unbind(mut self, name: impl Into<String>) -> Self {
        self.steps.push(Step::Unbind { name: name.into() });
        self
    }

    /// Removes a name that is still bound as it was seen: to the same target, at the same moment.
    /// Fails with `Moved` if it was bound again or removed since.
    #[must_use]
    pub fn unbind_if(mut self, name: impl Into<String>, digest: Digest, bound: Moment) -> Self {
        self.steps.push(Step::UnbindIf { name: name.into(), digest, bound });
        self
    }

    /// What the steps after this one make new, members and names, counts as made at `moment`
    /// instead of now. By the store's clock that is never later than now; how much earlier is the
    /// caller's to answer for: what is old is the first that a policy drops. Leases of collection
    /// are counted from now whatever is said here.
    #[must_use]
    pub fn as_of(mut self, moment: Moment) -> Self {
        self.steps.push(Step::AsOf { moment });
        self
    }

    /// Takes content out of the namespace, with all its names and edges. Fails with `NotFound`,
    /// or `Needed` if the policy forbids.
    #[must_use]
    pub fn remove(mut self, digest: Digest, policy: Removal) -> Self {
        self.steps.push(Step::Remove { digest, policy });
        self
    }
}
