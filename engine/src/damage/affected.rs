//! Whom damage hurts.

use std::collections::HashSet;

use crate::{Digest, Engine, Namespace, collect::View, error::Result};

/// Namespaces that are told at most.
const NAMESPACES_MAX: usize = 100;

/// Names of one namespace that are told at most.
const NAMES_MAX: usize = 100;

/// Documents of one namespace through which names are looked for at most.
const DOCUMENTS_MAX: usize = 1_000;

/// A namespace that has damaged content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    pub namespace: Namespace,
    /// Names of documents that are damaged, or need what is, at whatever depth; in no order.
    pub names: Vec<String>,
    /// There are more names, or may be.
    pub has_more: bool,
}

impl Engine {
    /// The namespaces that have `digest`, at most 100, each with the names that lead to it: to push what
    /// they stand for again heals it.
    pub async fn affected(&self, digest: &Digest) -> Result<Vec<Affected>> {
        let digest = *digest;
        self.survey(move |view| {
            let holders = view.holders(&digest, NAMESPACES_MAX)?;
            holders.into_iter().map(|namespace| in_namespace(view, namespace, digest)).collect()
        })
        .await
    }
}

/// Follows the documents that need the content up to names.
fn in_namespace(view: &View<'_>, namespace: Namespace, digest: Digest) -> Result<Affected> {
    let mut names = Vec::new();
    let mut has_more = false;
    let mut seen = HashSet::from([digest]);
    let mut left = vec![digest];
    while let Some(document) = left.pop() {
        let room = NAMES_MAX - names.len();
        let bound = view.names_of(&namespace, &document, room + 1)?;
        has_more |= bound.len() > room;
        names.extend(bound.into_iter().take(room));
        let room = DOCUMENTS_MAX - seen.len();
        let needed_by = view.needed_by(&namespace, &document, room + 1)?;
        has_more |= needed_by.len() > room;
        left.extend(needed_by.into_iter().take(room).filter(|by| seen.insert(*by)));
    }
    Ok(Affected { namespace, names, has_more })
}
