//! Other quotas while the store is open.
//!
//! In: the quotas as they are now wished. Out: the same rows that an opening would have written, in one change on the
//! commit thread, so that every change before it counts by the old ones and every change after it by the new ones.

use std::collections::BTreeMap;

use super::{QUOTAS_MAX, Quota, prefixes};
use crate::{
    commit::{Transaction, decoded, decoded_u64},
    error::{Error, Result},
    format::{AllowanceRecord, Malformed, keys},
    index::Table,
};

/// Replaces the quotas. What is used of one that stays is known; a new one is summed up, from the sizes of the
/// namespaces that begin like it, which keeps the commit thread for about a microsecond each. Errors: `TooLarge`.
pub(crate) fn replace(transaction: &mut Transaction<'_>, quotas: &[Quota]) -> Result<()> {
    if quotas.len() > QUOTAS_MAX {
        return Err(Error::TooLarge { what: "quotas", max: QUOTAS_MAX as u64 });
    }
    let mut known = BTreeMap::new();
    for key in transaction.keys(Table::Sizes, &keys::quota(""))? {
        if let Some(value) = transaction.get(Table::Sizes, &key)? {
            known.insert(key.clone(), decoded(AllowanceRecord::decode(&value))?.used);
        }
        transaction.delete(Table::Sizes, key);
    }
    for Quota { prefix, bytes } in quotas {
        let key = keys::quota(prefix);
        let used = match known.get(&key) {
            Some(used) => *used,
            None => used_below(transaction, prefix)?,
        };
        transaction.put(Table::Sizes, key, AllowanceRecord { used, max: *bytes }.encode());
    }
    Ok(())
}

/// Limits the namespaces, or not.
pub(crate) fn limit_namespaces(transaction: &mut Transaction<'_>, max: Option<u64>) -> Result<()> {
    let Some(max) = max else {
        transaction.delete(Table::Meta, keys::NAMESPACES.to_vec());
        return Ok(());
    };
    let used = match transaction.get(Table::Meta, keys::NAMESPACES)? {
        Some(count) => decoded(AllowanceRecord::decode(&count))?.used,
        None => transaction.keys(Table::Namespaces, &[])?.len() as u64,
    };
    transaction.put(Table::Meta, keys::NAMESPACES.to_vec(), AllowanceRecord { used, max }.encode());
    Ok(())
}

/// Logical bytes of a namespace and all below it.
fn used_below(transaction: &Transaction<'_>, prefix: &str) -> Result<u64> {
    let mut used = 0_u64;
    for key in transaction.keys(Table::Sizes, prefix.as_bytes())? {
        // Quotas begin with a NUL.
        if key.first() == Some(&0) {
            continue;
        }
        let (namespace, _) = decoded(keys::split_namespace(&key).ok_or(Malformed { record: "size key" }))?;
        if prefixes(&namespace).any(|own| own == prefix)
            && let Some(bytes) = transaction.get(Table::Sizes, &key)?
        {
            used = used.saturating_add(decoded_u64("size", &bytes)?);
        }
    }
    Ok(used)
}
