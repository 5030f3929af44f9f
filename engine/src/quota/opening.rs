//! The sums of a store that is being opened, and its quotas as they are now wished.

use std::collections::BTreeMap;

use super::{QUOTAS_MAX, prefixes, sizes};
use crate::{
    Namespace,
    check::each,
    commit::decoded,
    error::{Error, Result},
    format::{AllowanceRecord, BlobRecord, Malformed, keys},
    index::{Changes, Durability, Index, Table, Value},
    options::Options,
    store::index_error,
};

/// Rows written at once.
const PAGE: usize = 1024;

type Write = (Table, Vec<u8>, Option<Value>);

/// Makes the sums of a store that has none, which reads all its members, and replaces the quotas
/// by those of the options, which reads the sums. Nothing is written if nothing changes.
pub(crate) fn prepare(index: &dyn Index, options: &Options) -> Result<()> {
    if options.quotas.len() > QUOTAS_MAX {
        return Err(Error::TooLarge { what: "quotas", max: QUOTAS_MAX as u64 });
    }
    if index.get(Table::Meta, keys::SIZED).map_err(index_error)?.is_none() {
        let mut writes = sums(index)?;
        writes.push((Table::Meta, keys::SIZED.to_vec(), Some(Vec::new())));
        write(index, writes)?;
    }
    let mut writes = Vec::new();
    each(index, Table::Sizes, &keys::quota(""), |(key, _)| {
        writes.push((Table::Sizes, key, None));
        Ok(())
    })?;
    for (prefix, quota) in quotas(index, options)? {
        writes.push((Table::Sizes, keys::quota(&prefix), Some(quota.encode())));
    }
    let allowed = match options.namespaces_max {
        Some(max) => {
            let mut used = 0;
            each(index, Table::Namespaces, &[], |_| {
                used += 1;
                Ok(())
            })?;
            Some(AllowanceRecord { used, max }.encode())
        }
        None => None,
    };
    if index.get(Table::Meta, keys::NAMESPACES).map_err(index_error)? != allowed {
        writes.push((Table::Meta, keys::NAMESPACES.to_vec(), allowed));
    }
    write(index, writes)
}

/// A row for each namespace: the sum of the sizes of its members.
fn sums(index: &dyn Index) -> Result<Vec<Write>> {
    let mut sums: BTreeMap<Namespace, u64> = BTreeMap::new();
    each(index, Table::Members, &[], |(key, _)| {
        let (namespace, digest) = keys::split_member(&key).ok_or(Malformed { record: "member key" })?;
        if let Some(bytes) = index.get(Table::Blobs, &digest.to_key()).map_err(index_error)? {
            *sums.entry(namespace).or_default() += decoded(BlobRecord::decode(&bytes))?.size;
        }
        Ok(())
    })?;
    let row = |(namespace, bytes): (Namespace, u64)| {
        (Table::Sizes, keys::within(&namespace), Some(bytes.to_le_bytes().to_vec()))
    };
    Ok(sums.into_iter().filter(|(_, bytes)| *bytes > 0).map(row).collect())
}

/// The quotas of the options with what is used of them.
fn quotas(index: &dyn Index, options: &Options) -> Result<BTreeMap<String, AllowanceRecord>> {
    let fresh = |quota: &super::Quota| (quota.prefix.clone(), AllowanceRecord { used: 0, max: quota.bytes });
    let mut quotas: BTreeMap<String, AllowanceRecord> = options.quotas.iter().map(fresh).collect();
    if !quotas.is_empty() {
        for size in sizes(index)? {
            for prefix in prefixes(&size.namespace) {
                if let Some(quota) = quotas.get_mut(prefix) {
                    quota.used = quota.used.saturating_add(size.bytes);
                }
            }
        }
    }
    Ok(quotas)
}

/// A crash between two pages leaves old quotas or new ones; the next opening writes them again.
fn write(index: &dyn Index, writes: Vec<Write>) -> Result<()> {
    let pages = writes.chunks(PAGE).count();
    for (at, page) in writes.chunks(PAGE).enumerate() {
        let durability = if at + 1 == pages { Durability::Synced } else { Durability::Buffered };
        let changes = Changes { conditions: Vec::new(), writes: page.to_vec() };
        index.write(&changes, durability).map_err(index_error)?;
    }
    Ok(())
}
