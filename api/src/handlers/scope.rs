//! What every operation on a repository works with.

use orlop_engine::{Engine, Namespace};

use crate::{limits::Limits, protocol::Repository, registry::Policy};

/// One repository, the engine that holds it and the rules that apply.
pub struct Scope<'a> {
    pub engine: &'a Engine,
    pub limits: &'a Limits,
    pub policy: Policy,
    pub repository: &'a Repository,
    pub namespace: Namespace,
    /// The same was asked before: the answer may say how it can be given again.
    pub may_repeat: bool,
}

/// The engine's view of a repository. The grammar of names is stricter than that of namespaces.
pub fn namespace(repository: &Repository) -> Namespace {
    Namespace::new(repository.as_str()).expect("a repository name has 1 to 255 bytes and no NUL")
}
