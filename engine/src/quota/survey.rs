//! What is used, for showing.

use crate::{
    Engine, Namespace,
    check::each,
    commit::{decoded, decoded_u64},
    error::Result,
    format::{AllowanceRecord, Malformed, keys},
    index::{Cached, Index, Table},
    store::blocking,
};

/// How much of a quota is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    /// See [`super::Quota`].
    pub prefix: String,
    /// Logical bytes.
    pub used_bytes: u64,
    pub max_bytes: u64,
}

/// The logical bytes of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceSize {
    pub namespace: Namespace,
    pub bytes: u64,
}

/// All namespaces that have bytes. Takes memory for each.
pub(crate) fn sizes(index: &dyn Index) -> Result<Vec<NamespaceSize>> {
    let mut sizes = Vec::new();
    each(index, Table::Sizes, &[], |(key, value)| {
        // Quotas begin with a NUL.
        if key.first() != Some(&0) {
            let (namespace, _) = keys::split_namespace(&key).ok_or(Malformed { record: "size key" })?;
            sizes.push(NamespaceSize { namespace, bytes: decoded_u64("size", &value)? });
        }
        Ok(())
    })?;
    Ok(sizes)
}

/// All quotas, in the order of their prefixes.
#[cfg(feature = "rocks")]
pub(crate) fn quotas(index: &dyn Index) -> Result<Vec<QuotaUse>> {
    let mut quotas = Vec::new();
    each(index, Table::Sizes, &keys::quota(""), |(key, value)| {
        let prefix = String::from_utf8_lossy(&key[1..]).into_owned();
        quotas.push(used(prefix, &value)?);
        Ok(())
    })?;
    Ok(quotas)
}

fn used(prefix: String, value: &[u8]) -> Result<QuotaUse> {
    let AllowanceRecord { used, max } = decoded(AllowanceRecord::decode(value))?;
    Ok(QuotaUse { prefix, used_bytes: used, max_bytes: max })
}

impl Engine {
    /// How much of each quota is used. Reads memory only: a quota that nothing changed for so long
    /// that it left memory is missing.
    pub fn quotas(&self) -> Vec<QuotaUse> {
        let store = self.store();
        let counted = store.allowed.counted();
        let known = counted.quotas.iter().filter_map(|quota| {
            match store.index.get_cached(Table::Sizes, &keys::quota(&quota.prefix)) {
                Ok(Cached::Known(Some(value))) => used(quota.prefix.clone(), &value).ok(),
                _ => None,
            }
        });
        known.collect()
    }

    /// The logical bytes of all namespaces that have any, in byte order.
    pub async fn sizes(&self) -> Result<Vec<NamespaceSize>> {
        let store = self.store().clone();
        blocking(move || sizes(&*store.index)).await
    }
}

#[cfg(feature = "rocks")]
impl crate::Survey {
    /// How much of each quota was used when the store was closed, by the quotas it was opened with.
    pub fn quotas(&self) -> Result<Vec<QuotaUse>> {
        quotas(self.index())
    }

    /// As [`Engine::sizes`].
    pub fn sizes(&self) -> Result<Vec<NamespaceSize>> {
        sizes(self.index())
    }
}
