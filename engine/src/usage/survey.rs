//! What the index knows about the use of names and documents.

use crate::{
    Digest, EdgeKind, Namespace,
    clock::Moment,
    commit::decoded,
    error::{Error, Result, What},
    format::{Malformed, MemberRecord, NameRecord, UsageRecord, keys},
    index::{Index, Snapshot, Table},
    store::index_error,
};

/// How often and when a document was pulled. Pulls of the last minute may be missing, see
/// `Engine::record_pulls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub pulls: u64,
    /// The last pull; nothing if there was none.
    pub pulled: Option<Moment>,
}

/// A name, when it was bound, and the use of the document it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    pub name: String,
    pub digest: Digest,
    /// When the name was last bound to its target.
    pub bound: Moment,
    pub usage: Usage,
}

/// Since when a document is in its namespace, and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentUse {
    pub digest: Digest,
    /// By the store's clock, in milliseconds.
    pub since_clock_ms: u64,
    pub usage: Usage,
}

/// Names after `after` in byte order with their use, all from one view.
/// Errors: `NotFound` for an unknown namespace.
pub(crate) fn names_used(
    index: &dyn Index,
    namespace: &Namespace,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<NameUse>> {
    let snapshot = index.snapshot();
    if snapshot.get(Table::Namespaces, &keys::namespace(namespace)).map_err(index_error)?.is_none() {
        return Err(Error::NotFound { what: What::Namespace });
    }
    let prefix = keys::within(namespace);
    let after = after.map(|name| keys::name(namespace, name));
    let pairs = snapshot.scan(Table::Names, &prefix, after.as_deref(), limit).map_err(index_error)?;
    let used = pairs.into_iter().map(|(key, value)| {
        let record = decoded(NameRecord::decode(&value))?;
        Ok(NameUse {
            name: String::from_utf8_lossy(&key[prefix.len()..]).into_owned(),
            digest: record.digest,
            bound: record.bound,
            usage: usage(&*snapshot, namespace, &record.digest)?,
        })
    });
    used.collect()
}

/// Documents after `after` in the order of their digests that nothing keeps but a rule: no name is
/// bound to them, no document needs them, and they refer to none. `limit` is how many members are
/// looked at. Gives the last one looked at while there may be more.
pub(crate) fn unnamed_documents(
    index: &dyn Index,
    namespace: &Namespace,
    after: Option<&Digest>,
    limit: usize,
) -> Result<(Vec<DocumentUse>, Option<Digest>)> {
    let snapshot = index.snapshot();
    let has = |table, prefix: &[u8]| -> Result<bool> {
        Ok(!snapshot.scan(table, prefix, None, 1).map_err(index_error)?.is_empty())
    };
    let after = after.map(|digest| keys::member(namespace, digest));
    let pairs =
        snapshot.scan(Table::Members, &keys::within(namespace), after.as_deref(), limit).map_err(index_error)?;
    let is_last = pairs.len() < limit;
    let (mut unnamed, mut seen) = (Vec::new(), None);
    for (key, value) in pairs {
        let member = decoded(MemberRecord::decode(&value))?;
        let (_, digest) = keys::split_member(&key).ok_or(Malformed { record: "member key" })?;
        seen = Some(digest);
        if member.label.is_empty()
            || has(Table::Bindings, &key)?
            || has(Table::Reverse, &keys::edges(namespace, &digest, EdgeKind::Needs))?
            || has(Table::Edges, &keys::edges(namespace, &digest, EdgeKind::Refers))?
        {
            continue;
        }
        let usage = usage(&*snapshot, namespace, &digest)?;
        unnamed.push(DocumentUse { digest, since_clock_ms: member.since_clock_ms, usage });
    }
    Ok((unnamed, seen.filter(|_| !is_last)))
}

/// The use of one document. Errors: `NotFound`, also for content that is no document.
pub(crate) fn document_use(index: &dyn Index, namespace: &Namespace, digest: &Digest) -> Result<DocumentUse> {
    let snapshot = index.snapshot();
    let member = snapshot.get(Table::Members, &keys::member(namespace, digest)).map_err(index_error)?;
    let member = member.map(|bytes| decoded(MemberRecord::decode(&bytes))).transpose()?;
    match member {
        Some(member) if !member.label.is_empty() => Ok(DocumentUse {
            digest: *digest,
            since_clock_ms: member.since_clock_ms,
            usage: usage(&*snapshot, namespace, digest)?,
        }),
        _ => Err(Error::NotFound { what: What::Blob }),
    }
}

fn usage(snapshot: &dyn Snapshot, namespace: &Namespace, digest: &Digest) -> Result<Usage> {
    match snapshot.get(Table::Usage, &keys::member(namespace, digest)).map_err(index_error)? {
        Some(bytes) => {
            let record = decoded(UsageRecord::decode(&bytes))?;
            Ok(Usage { pulls: record.pulls, pulled: Some(record.pulled) })
        }
        None => Ok(Usage::default()),
    }
}

#[cfg(feature = "rocks")]
mod offline {
    use std::{fs::File, path::Path};

    use super::*;
    use crate::{check::lock_offline, clock, index::RocksIndex};

    /// A store that no process has open, for reading about the use of its names. Nothing is
    /// changed. Calls block on the disk.
    pub struct Survey {
        index: RocksIndex,
        /// Keeps others out as long as the survey lasts.
        _lock: File,
    }

    impl Survey {
        /// Errors: `InUse` while a process has the store open; `Foreign` if it is not one; `Store`
        /// if its index cannot be opened.
        pub fn open(root: &Path) -> Result<Survey> {
            let lock = lock_offline(root)?;
            let index = RocksIndex::open_read_only(&root.join("index")).map_err(index_error)?;
            Ok(Survey { index, _lock: lock })
        }

        pub(crate) fn index(&self) -> &dyn Index {
            &self.index
        }

        /// Where the store's clock stood when it was last written down, in milliseconds. 0 for a
        /// store that has no commit.
        pub fn clock_ms(&self) -> Result<u64> {
            Ok(clock::stored(&self.index)?.unwrap_or_default())
        }

        /// As `Engine::names_used`.
        pub fn names_used(&self, namespace: &Namespace, after: Option<&str>, limit: usize) -> Result<Vec<NameUse>> {
            names_used(&self.index, namespace, after, limit)
        }
    }
}

#[cfg(feature = "rocks")]
pub use offline::Survey;
