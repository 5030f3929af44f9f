//! One consistent look at what a collector has to know.

use std::sync::Arc;

use super::{
    candidate::{Candidate, Entry, Standing},
    keepers::{self, Tables, ends},
    leases::Leases,
};
use crate::{
    Digest, EdgeKind, Namespace,
    commit::{epoch_of, malformed},
    error::Result,
    format::keys,
    index::{Index, Snapshot, Table},
    store::index_error,
};

/// A snapshot of the index with questions about what keeps what. Leases in memory are asked as they
/// are now.
pub struct View<'a> {
    snapshot: Box<dyn Snapshot + 'a>,
    leases: Arc<Leases>,
    epoch: u64,
}

/// What a namespace says about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// When it became one, milliseconds by the store's clock; for showing, and for policies of people.
    pub since_clock_ms: u64,
    /// Empty for plain content.
    pub label: Vec<u8>,
}

impl<'a> View<'a> {
    pub(crate) fn new(index: &'a dyn Index, leases: Arc<Leases>) -> Result<Self> {
        let snapshot = index.snapshot();
        let epoch = epoch_of(Snapshot::get(&*snapshot, Table::Meta, keys::EPOCH).map_err(index_error)?)?;
        Ok(View { snapshot, leases, epoch })
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Entries of the garbage table after one of them, in the table's order.
    pub fn entries(&self, after: Option<&Candidate>, limit: usize) -> Result<Vec<Entry>> {
        let after = after.map(Candidate::key);
        let pairs = self.snapshot.scan(Table::Garbage, &[], after.as_deref(), limit).map_err(index_error)?;
        pairs.iter().map(Entry::of_pair).collect()
    }

    /// Whether and since when something stands on the garbage table.
    pub fn standing(&self, candidate: &Candidate) -> Result<Option<Standing>> {
        keepers::entry(&*self.snapshot, &candidate.key())
    }

    /// Whether somebody who pushed or mounted a member, or asked for it, can still rely on it.
    pub fn is_leased(&self, namespace: &Namespace, digest: &Digest, standing: &Standing) -> bool {
        standing.told.is_some_and(|told| self.leases.holds(told, self.epoch)) || self.leases.is_told(namespace, digest)
    }

    /// Whether a lease that the entry itself records still holds.
    pub fn is_lease_recorded(&self, standing: &Standing) -> bool {
        standing.told.is_some_and(|told| self.leases.holds(told, self.epoch))
    }

    /// Whether an upload relies on stored content.
    pub fn is_pinned(&self, digest: &Digest) -> bool {
        self.leases.is_pinned(digest)
    }

    pub fn member(&self, namespace: &Namespace, digest: &Digest) -> Result<Option<Member>> {
        let record = keepers::member(&*self.snapshot, namespace, digest)?;
        Ok(record.map(|record| Member { since_clock_ms: record.since_clock_ms, label: record.label }))
    }

    pub fn is_named(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        keepers::is_named(&*self.snapshot, namespace, digest)
    }

    /// Names that point at a member, in byte order.
    pub fn names_of(&self, namespace: &Namespace, digest: &Digest, limit: usize) -> Result<Vec<String>> {
        let found = self.snapshot.keys(Table::Bindings, &keys::member(namespace, digest), None, limit)?;
        let names = found.iter().map(|key| keys::split_binding(key).map(|(_, _, name)| name.to_owned()));
        names.map(|name| name.ok_or_else(|| malformed("binding"))).collect()
    }

    /// Documents of the namespace that need `target`.
    pub fn needed_by(&self, namespace: &Namespace, target: &Digest, limit: usize) -> Result<Vec<Digest>> {
        ends(&*self.snapshot, Table::Reverse, (namespace, target, EdgeKind::Needs), None, limit)
    }

    /// What a document needs.
    pub fn needs(&self, namespace: &Namespace, source: &Digest) -> Result<Vec<Digest>> {
        ends(&*self.snapshot, Table::Edges, (namespace, source, EdgeKind::Needs), None, usize::MAX)
    }

    /// What a document refers to; it need not be there.
    pub fn refers_to(&self, namespace: &Namespace, source: &Digest) -> Result<Vec<Digest>> {
        ends(&*self.snapshot, Table::Edges, (namespace, source, EdgeKind::Refers), None, usize::MAX)
    }

    /// Documents that refer to `target`, after one of them.
    pub fn referring(
        &self,
        namespace: &Namespace,
        target: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>> {
        ends(&*self.snapshot, Table::Reverse, (namespace, target, EdgeKind::Refers), after, limit)
    }

    /// Namespaces that have the content.
    pub fn holders(&self, digest: &Digest, limit: usize) -> Result<Vec<Namespace>> {
        let found = self.snapshot.keys(Table::Holders, &digest.to_key(), None, limit)?;
        let holders = found.iter().map(|key| keys::split_holder(key).map(|(_, namespace)| namespace));
        holders.map(|holder| holder.ok_or_else(|| malformed("holder"))).collect()
    }

    /// The size of stored content in bytes; `None` if there is none.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        Ok(keepers::blob(&*self.snapshot, digest)?.map(|record| record.size))
    }

    /// Members of a namespace in the order of their digests.
    pub fn members(&self, namespace: &Namespace, limit: usize) -> Result<Vec<Digest>> {
        let found = self.snapshot.keys(Table::Members, &keys::within(namespace), None, limit)?;
        let members = found.iter().map(|key| keys::split_member(key).map(|(_, digest)| digest));
        members.map(|member| member.ok_or_else(|| malformed("member"))).collect()
    }
}
