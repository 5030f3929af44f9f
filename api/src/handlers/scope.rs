//! What every operation on a repository works with.

use std::sync::Arc;

use orlop_engine::{Algorithm, Batch, Engine, Namespace, UploadHome, UploadId, UploadOwner, UploadsMax};

use super::error_map::{Failure, Outcome};
use crate::{
    access::Grant,
    limits::{Limits, size},
    pressure::Pressure,
    protocol::Repository,
    registry::Policy,
    server::Holders,
};

/// One repository, the engine that holds it and the rules that apply.
pub struct Scope<'a> {
    pub engine: &'a Engine,
    pub limits: &'a Limits,
    pub policy: Policy,
    pub pressure: &'a Arc<Pressure>,
    pub repository: &'a Repository,
    pub namespace: Namespace,
    /// What the sender of the request may do here.
    pub grant: &'a Grant,
    /// The same was asked before: the answer may say how it can be given again to these.
    pub holders: Option<Holders>,
}

impl Scope<'_> {
    /// Changes to this repository, with the rights of the request.
    pub fn batch(&self) -> Batch {
        let batch = Batch::new(self.namespace.clone());
        match self.grant.guard() {
            Some(guard) => batch.guarded(guard),
            None => batch,
        }
    }

    /// Where the uploads of whoever sent the request are. Without access control, for nobody in particular, and where
    /// they are shared, they have no owner.
    pub fn uploads(&self) -> UploadHome {
        let user = self.grant.subject();
        let name = user.name().filter(|_| !self.policy.shared_uploads);
        let owner = name.map(|name| UploadOwner::known_by(name.as_bytes()));
        UploadHome { namespace: self.namespace.clone(), owner }
    }

    /// Begins an upload, if there may be one more.
    pub async fn begin(&self, algorithm: Algorithm) -> Outcome<UploadId> {
        let max = UploadsMax {
            all: size(self.limits.uploads_max),
            of_namespace: size(self.limits.uploads_per_repository_max),
            of_owner: size(self.limits.uploads_per_user_max),
        };
        self.engine.begin_within(self.uploads(), algorithm, max).await.map_err(Failure::blob)
    }
}

/// The engine's view of a repository. The grammar of names is stricter than that of namespaces.
pub fn namespace(repository: &Repository) -> Namespace {
    Namespace::new(repository.as_str()).expect("a repository name has 1 to 255 bytes and no NUL")
}
