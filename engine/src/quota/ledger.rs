//! Keeping the sums, on the commit thread.

use super::prefixes;
use crate::{
    Namespace,
    commit::{Transaction, decoded, decoded_u64},
    error::{Error, Result},
    format::{AllowanceRecord, keys},
    index::Table,
};

/// Content of `bytes` joins a namespace. Errors: `OverQuota`.
pub(crate) fn grow(transaction: &mut Transaction<'_>, namespace: &Namespace, bytes: u64) -> Result<()> {
    for prefix in prefixes(namespace) {
        change(transaction, prefix, |quota| {
            let used = quota.used.saturating_add(bytes);
            if bytes > 0 && used > quota.max {
                let AllowanceRecord { used, max } = *quota;
                return Err(Error::OverQuota { prefix: prefix.to_owned(), used, added: bytes, max });
            }
            quota.used = used;
            Ok(())
        })?;
    }
    let size = size(transaction, namespace)?.saturating_add(bytes);
    put_size(transaction, namespace, size);
    Ok(())
}

/// Content of `bytes` leaves a namespace.
pub(crate) fn shrink(transaction: &mut Transaction<'_>, namespace: &Namespace, bytes: u64) -> Result<()> {
    for prefix in prefixes(namespace) {
        change(transaction, prefix, |quota| {
            quota.used = quota.used.saturating_sub(bytes);
            Ok(())
        })?;
    }
    let size = size(transaction, namespace)?.saturating_sub(bytes);
    put_size(transaction, namespace, size);
    Ok(())
}

/// A namespace comes to be. Errors: `TooManyNamespaces`.
pub(crate) fn admit(transaction: &mut Transaction<'_>) -> Result<()> {
    let Some(bytes) = transaction.get(Table::Meta, keys::NAMESPACES)? else { return Ok(()) };
    let count = decoded(AllowanceRecord::decode(&bytes))?;
    if count.used >= count.max {
        return Err(Error::TooManyNamespaces { max: count.max });
    }
    let count = AllowanceRecord { used: count.used + 1, ..count };
    transaction.put(Table::Meta, keys::NAMESPACES.to_vec(), count.encode());
    Ok(())
}

/// A namespace without members goes. Give only one that was there.
pub(crate) fn dismiss(transaction: &mut Transaction<'_>) -> Result<()> {
    let Some(bytes) = transaction.get(Table::Meta, keys::NAMESPACES)? else { return Ok(()) };
    let count = decoded(AllowanceRecord::decode(&bytes))?;
    let count = AllowanceRecord { used: count.used.saturating_sub(1), ..count };
    transaction.put(Table::Meta, keys::NAMESPACES.to_vec(), count.encode());
    Ok(())
}

/// Changes a quota, if there is one for the prefix.
fn change(
    transaction: &mut Transaction<'_>,
    prefix: &str,
    change: impl FnOnce(&mut AllowanceRecord) -> Result<()>,
) -> Result<()> {
    let key = keys::quota(prefix);
    if let Some(bytes) = transaction.get(Table::Sizes, &key)? {
        let mut quota = decoded(AllowanceRecord::decode(&bytes))?;
        change(&mut quota)?;
        transaction.put(Table::Sizes, key, quota.encode());
    }
    Ok(())
}

/// A namespace without bytes has no row.
fn put_size(transaction: &mut Transaction<'_>, namespace: &Namespace, bytes: u64) {
    match bytes {
        0 => transaction.delete(Table::Sizes, keys::within(namespace)),
        _ => transaction.put(Table::Sizes, keys::within(namespace), bytes.to_le_bytes().to_vec()),
    }
}

fn size(transaction: &Transaction<'_>, namespace: &Namespace) -> Result<u64> {
    let bytes = transaction.get(Table::Sizes, &keys::within(namespace))?;
    bytes.map_or(Ok(0), |bytes| decoded_u64("size", &bytes))
}
