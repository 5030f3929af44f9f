//! What keeps a member: the same questions, asked of a snapshot by who plans and of a transaction by
//! who carries out.

use super::candidate::{Standing, standing};
use crate::{
    Digest, EdgeKind, Namespace,
    commit::{Transaction, decoded, epoch_of, malformed},
    error::Result,
    format::{BlobRecord, MemberRecord, keys},
    index::{Index, Snapshot, Table, Value},
    store::index_error,
};

/// Something with tables.
pub(super) trait Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>>;

    /// The smallest keys with a prefix after a key.
    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Vec<u8>>>;

    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool> {
        Ok(!self.keys(table, prefix, None, 1)?.is_empty())
    }
}

impl Tables for Transaction<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>> {
        Transaction::get(self, table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Vec<u8>>> {
        debug_assert!(after.is_none(), "a transaction looks from the start");
        self.keys_up_to(table, prefix, limit)
    }
}

impl Tables for dyn Snapshot + '_ {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>> {
        Snapshot::get(self, table, key).map_err(index_error)
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Vec<u8>>> {
        let pairs = self.scan(table, prefix, after, limit).map_err(index_error)?;
        Ok(pairs.into_iter().map(|(key, _)| key).collect())
    }
}

pub(super) fn member(tables: &(impl Tables + ?Sized), ns: &Namespace, digest: &Digest) -> Result<Option<MemberRecord>> {
    let found = tables.get(Table::Members, &keys::member(ns, digest))?;
    found.map(|bytes| decoded(MemberRecord::decode(&bytes))).transpose()
}

pub(super) fn blob(tables: &(impl Tables + ?Sized), digest: &Digest) -> Result<Option<BlobRecord>> {
    let found = tables.get(Table::Blobs, &digest.to_key())?;
    found.map(|bytes| decoded(BlobRecord::decode(&bytes))).transpose()
}

pub(super) fn entry(tables: &(impl Tables + ?Sized), key: &[u8]) -> Result<Option<Standing>> {
    tables.get(Table::Garbage, key)?.map(|value| standing(&value)).transpose()
}

pub(super) fn is_named(tables: &(impl Tables + ?Sized), ns: &Namespace, digest: &Digest) -> Result<bool> {
    tables.any(Table::Bindings, &keys::member(ns, digest))
}

pub(super) fn is_needed(tables: &(impl Tables + ?Sized), ns: &Namespace, digest: &Digest) -> Result<bool> {
    tables.any(Table::Reverse, &keys::edges(ns, digest, EdgeKind::Needs))
}

pub(super) fn is_held(tables: &(impl Tables + ?Sized), digest: &Digest) -> Result<bool> {
    tables.any(Table::Holders, &digest.to_key())
}

/// Where the edges of one kind from a digest lead (`Edges`), or where they come from (`Reverse`).
pub(super) fn ends(
    tables: &(impl Tables + ?Sized),
    table: Table,
    (ns, digest, kind): (&Namespace, &Digest, EdgeKind),
    after: Option<&Digest>,
    limit: usize,
) -> Result<Vec<Digest>> {
    let after = after.map(|other| keys::edge(ns, digest, kind, other));
    let found = tables.keys(table, &keys::edges(ns, digest, kind), after.as_deref(), limit)?;
    let ends = found.iter().map(|key| keys::split_edge(key).map(|(.., end)| end).ok_or_else(|| malformed("edge")));
    ends.collect()
}

/// Whether a document refers to something, and whether anything of that is a member.
pub(super) fn refers(tables: &(impl Tables + ?Sized), ns: &Namespace, digest: &Digest) -> Result<(bool, bool)> {
    let targets = ends(tables, Table::Edges, (ns, digest, EdgeKind::Refers), None, usize::MAX)?;
    let mut is_member = false;
    for target in &targets {
        is_member |= member(tables, ns, target)?.is_some();
    }
    Ok((!targets.is_empty(), is_member))
}

/// The epoch that the index says it is.
pub(crate) fn stored_epoch(index: &dyn Index) -> Result<u64> {
    epoch_of(index.get(Table::Meta, keys::EPOCH).map_err(index_error)?)
}
