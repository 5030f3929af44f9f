//! What a commit would say, asked before the bytes come.

use super::prefixes;
use crate::{
    Digest, Engine, Namespace,
    commit::decoded,
    error::{Error, Result},
    format::{AllowanceRecord, keys},
    index::Table,
    store::Store,
};

impl Engine {
    /// Whether new content of at least `bytes` would fit into a namespace as things stand: a sender
    /// can be told before it sends. With its `digest` known, content that the namespace has already
    /// takes nothing. Only the commit decides: what fits now may not fit then.
    ///
    /// Errors: `TooManyNamespaces`, `OverQuota`.
    pub async fn room_for(&self, namespace: &Namespace, bytes: u64, digest: Option<&Digest>) -> Result<()> {
        let store = self.store();
        let counted = store.allowed.counted();
        if counted.namespaces_max.is_some() {
            room_for_namespace(store, namespace).await?;
        }
        if counted.quotas.is_empty() {
            return Ok(());
        }
        for prefix in prefixes(namespace) {
            let Some(quota) = store.get(Table::Sizes, &keys::quota(prefix)).await? else { continue };
            let AllowanceRecord { used, max } = decoded(AllowanceRecord::decode(&quota))?;
            if bytes > 0 && used.saturating_add(bytes) > max {
                if let Some(digest) = digest
                    && store.get(Table::Members, &keys::member(namespace, digest)).await?.is_some()
                {
                    return Ok(());
                }
                return Err(Error::OverQuota { prefix: prefix.to_owned(), used, added: bytes, max });
            }
        }
        Ok(())
    }
}

async fn room_for_namespace(store: &Store, namespace: &Namespace) -> Result<()> {
    if store.get(Table::Namespaces, &keys::namespace(namespace)).await?.is_some() {
        return Ok(());
    }
    let count = store.get(Table::Meta, keys::NAMESPACES).await?;
    match count.map(|count| decoded(AllowanceRecord::decode(&count))).transpose()? {
        Some(count) if count.used >= count.max => Err(Error::TooManyNamespaces { max: count.max }),
        _ => Ok(()),
    }
}
