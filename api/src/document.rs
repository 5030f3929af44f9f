//! Manifests on their way into a repository, from a push or from another registry's files.
//!
//! In: a checked manifest, its bytes and the tags that are to name it. Out: one batch of the engine.
//! What became true: content, every tag, what it needs and what it refers to, in one step; or
//! nothing, and a [`Refusal`] says why.

use std::sync::Arc;

use bytes::Bytes;
use orlop_engine::{Batch, Digest, Edge, Engine, Error, Guard, Moment, Namespace};

use crate::protocol::{Manifest, Need, Tag};

/// A manifest with the bytes it was parsed from and their digest.
pub struct Document<'a> {
    pub manifest: &'a Manifest,
    pub bytes: Bytes,
    pub digest: Digest,
}

/// A tag to be bound, and since when it counts as bound if not now.
pub struct Named<'a> {
    pub tag: &'a Tag,
    pub since: Option<Moment>,
}

/// How a document goes in.
pub struct Terms<'a> {
    pub tags: &'a [Named<'a>],
    /// Since when the document counts as being there if not now.
    pub since: Option<Moment>,
    /// Which of the parts it needs may be missing from the repository. They are recorded as such.
    pub may_miss: &'a (dyn Fn(&Need) -> bool + Sync),
    /// The rights of whoever brings it; `None` for an operator, who has all.
    pub guard: Option<Arc<dyn Guard>>,
}

/// Why a document was not taken. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the manifest needs {digest}, which the repository does not have; push it first")]
    Missing { digest: Digest },
    #[error("the index lists {digest} as a manifest, but it was pushed as a blob; push it as a manifest")]
    NotManifest { digest: Digest },
    #[error(transparent)]
    Engine(#[from] Error),
}

impl Document<'_> {
    /// Makes the document a part of the repository `namespace`, durably.
    pub async fn commit(self, engine: &Engine, namespace: &Namespace, terms: &Terms<'_>) -> Result<(), Refusal> {
        let Document { manifest, bytes, digest } = self;
        let size = bytes.len() as u64;
        let needs = manifest.needs();
        let sealed = engine.seal_bytes(digest, bytes).await?;
        let mut edges = Vec::with_capacity(needs.len() + 1);
        let mut batch = Batch::new(namespace.clone());
        if let Some(guard) = &terms.guard {
            batch = batch.guarded(guard.clone());
        }
        for need in &needs {
            if need.is_optional || (terms.may_miss)(need) {
                check_if_there(engine, namespace, need).await?;
                edges.push(Edge::needs_sparse(need.digest));
            } else {
                batch = batch.require(need.digest, Some(need.size), need.is_manifest);
                edges.push(Edge::needs(need.digest));
            }
        }
        if let Some(subject) = &manifest.subject {
            edges.push(Edge::refers(subject.digest, manifest.referrer_descriptor(&digest, size)));
        }
        if let Some(since) = terms.since {
            batch = batch.as_of(since);
        }
        batch = batch.document(sealed, manifest.kind.media_type().into(), edges);
        for Named { tag, since } in terms.tags {
            if let Some(since) = since {
                batch = batch.as_of(*since);
            }
            batch = batch.bind(tag.as_str(), digest);
        }
        match engine.commit(batch).await {
            Ok(_receipt) => Ok(()),
            Err(Error::Missing { digest }) => Err(explained(engine, namespace, &needs, digest).await),
            Err(error) => Err(error.into()),
        }
    }
}

/// Content that may be absent must still have the size the manifest says if it is there.
async fn check_if_there(engine: &Engine, namespace: &Namespace, need: &Need) -> Result<(), Refusal> {
    match engine.find(namespace, &need.digest).await {
        Ok(found) if found.size != need.size => {
            let Need { digest, size, .. } = *need;
            Err(Error::WrongSize { digest, expected: found.size, found: size }.into())
        }
        Ok(_) | Err(Error::NotFound { .. } | Error::Damaged { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Says why a required digest does not do: it is absent, or it is not a manifest.
async fn explained(engine: &Engine, namespace: &Namespace, needs: &[Need], digest: Digest) -> Refusal {
    let listed = needs.iter().any(|need| need.digest == digest && need.is_manifest);
    match listed && engine.find(namespace, &digest).await.is_ok() {
        true => Refusal::NotManifest { digest },
        false => Refusal::Missing { digest },
    }
}
