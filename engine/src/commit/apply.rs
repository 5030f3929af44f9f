//! Turning a batch into index writes, on the commit thread.
//!
//! Everything a step relies on is read in the same transaction that changes it, so no decision is
//! ever made on a stale view.

use std::collections::HashSet;

use super::{
    batch::{Edge, EdgeKind, Removal, Step},
    guard::Guard,
    transaction::{Transaction, decoded},
};
use crate::{
    Digest, Namespace,
    clock::Moment,
    damage,
    error::{Error, Result, What},
    format::{BlobRecord, CandidateRecord, Health, MemberRecord, NameRecord, Placement, keys},
    index::{Table, Value},
    ingest::Proven,
    namespace::{NAME_BYTES_MAX, is_name},
    quota,
};

/// Namespaces that a guard is asked about before content counts as held by none that it allows: what many hold
/// must not keep the commit thread.
const HOLDERS_ASKED_MAX: usize = 256;

/// Applies the steps of one batch. Sealed content was placed before: its files stay with the caller
/// until the change is durable. Gives the content that was damaged before.
pub(crate) fn apply(
    transaction: &mut Transaction<'_>,
    namespace: &Namespace,
    steps: Vec<Step>,
    guard: Option<&dyn Guard>,
    now: Moment,
) -> Result<Vec<Digest>> {
    let mut change = Change { guard, ..Change::new(transaction, namespace, now) };
    for step in steps {
        match step {
            Step::Content { sealed, label, edges } => change.content(&sealed.proven, label, &edges)?,
            Step::Mount { digest, from } => change.mount(&digest, &from)?,
            Step::Require { digest, size, labelled } => change.require(&digest, size, labelled)?,
            Step::Bind { name, digest } => change.bind(&name, &digest)?,
            Step::Unbind { name } => change.unbind(&name, None)?,
            Step::UnbindIf { name, digest, bound } => change.unbind(&name, Some(&NameRecord { bound, digest }))?,
            Step::Remove { digest, policy } => change.remove(&digest, policy)?,
            Step::AsOf { moment } => {
                change.now = Moment { clock_ms: moment.clock_ms.min(now.clock_ms), ..moment };
            }
        }
    }
    Ok(change.healed)
}

/// Changes of one namespace in the making.
pub(crate) struct Change<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    namespace: &'a Namespace,
    now: Moment,
    guard: Option<&'a dyn Guard>,
    /// Damaged content that was stored anew.
    healed: Vec<Digest>,
    /// Content this change was found to rely on: members of the namespace, unless it takes them out.
    members: HashSet<Digest>,
    /// The epoch of collection, once it was asked for: the same for all of a change.
    epoch: Option<u64>,
}

impl<'a, 'b> Change<'a, 'b> {
    pub fn new(transaction: &'a mut Transaction<'b>, namespace: &'a Namespace, now: Moment) -> Self {
        Change { transaction, namespace, now, guard: None, healed: Vec::new(), members: HashSet::new(), epoch: None }
    }

    fn content(&mut self, proven: &Proven, label: Vec<u8>, edges: &[Edge]) -> Result<()> {
        self.store(proven)?;
        let is_document = !label.is_empty();
        let is_new = self.join(&proven.digest, label)?;
        if is_document {
            // What was no member has no edges: they go when it does.
            if !is_new {
                let now = self.epoch()?;
                self.drop_edges(&proven.digest, now)?;
            }
            for edge in edges {
                self.add_edge(&proven.digest, edge)?;
            }
        }
        if let Some(upload) = proven.upload {
            self.transaction.delete(Table::Uploads, upload.to_key());
        }
        Ok(())
    }

    /// Puts the blob's record, unless the same content is there and sound.
    fn store(&mut self, proven: &Proven) -> Result<()> {
        let key = proven.digest.to_key();
        if let Some(record) = self.blob(&proven.digest)?
            && record.health == Health::Sound
        {
            return Ok(());
        }
        let Some(record) = &proven.record else {
            // The upload was only hashed because the content was stored already; it is gone since.
            return Err(Error::NotFound { what: What::Blob });
        };
        if damage::clear(self.transaction, &proven.digest)? {
            self.healed.push(proven.digest);
        }
        if record.placement == Placement::Inline {
            self.transaction.put(Table::Bytes, key.clone(), proven.inline.to_vec());
        }
        self.transaction.put(Table::Blobs, key, record.encode());
        Ok(())
    }

    /// Makes stored content a member of the namespace. Whoever pushed or mounted it is told so: that
    /// is its lease, also when it was a member before. Collection finds out what keeps it. Gives whether
    /// it is a new member.
    fn join(&mut self, digest: &Digest, label: Vec<u8>) -> Result<bool> {
        let key = keys::member(self.namespace, digest);
        let existing = self.transaction.get(Table::Members, &key)?;
        let epoch = self.epoch()?;
        let leased = CandidateRecord { since: epoch, told: Some(epoch) };
        self.transaction.put(Table::Garbage, keys::candidate(self.namespace, digest), leased.encode());
        if existing.is_some() && label.is_empty() {
            return Ok(false);
        }
        let since_clock_ms = match &existing {
            Some(bytes) => decoded(MemberRecord::decode(bytes))?.since_clock_ms,
            None => self.now.clock_ms,
        };
        self.transaction.put(Table::Members, key, MemberRecord { since_clock_ms, label }.encode());
        if existing.is_none() {
            self.transaction.put(Table::Holders, keys::holder(digest, self.namespace), Vec::new());
            self.transaction.delete(Table::Garbage, keys::unheld(digest));
            quota::grow(self.transaction, self.namespace, self.size(digest)?)?;
            let namespace = keys::namespace(self.namespace);
            if !self.transaction.contains(Table::Namespaces, &namespace)? {
                quota::admit(self.transaction)?;
                self.transaction.put(Table::Namespaces, namespace, self.now.unix_ms.to_le_bytes().to_vec());
            }
        }
        Ok(existing.is_none())
    }

    fn add_edge(&mut self, source: &Digest, edge: &Edge) -> Result<()> {
        let relies = edge.kind == EdgeKind::Needs && !edge.sparse;
        if relies && !self.members.contains(&edge.target) && !self.is_member(&edge.target)? {
            return Err(Error::Missing { digest: edge.target });
        }
        let forward = keys::edge(self.namespace, source, edge.kind, &edge.target);
        self.transaction.put(Table::Edges, forward, vec![u8::from(edge.sparse)]);
        let reverse = keys::edge(self.namespace, &edge.target, edge.kind, source);
        let payload = if edge.kind == EdgeKind::Refers { edge.payload.clone() } else { Vec::new() };
        self.transaction.put(Table::Reverse, reverse, payload);
        Ok(())
    }

    /// Removes a document's edges; what nothing else needs becomes a candidate for collection.
    fn drop_edges(&mut self, source: &Digest, since: u64) -> Result<()> {
        for key in self.transaction.keys(Table::Edges, &keys::member(self.namespace, source))? {
            let (_, _, kind, target) = keys::split_edge(&key).ok_or_else(|| malformed("edge"))?;
            self.transaction.delete(Table::Edges, key);
            self.transaction.delete(Table::Reverse, keys::edge(self.namespace, &target, kind, source));
            if kind == EdgeKind::Needs && self.is_member(&target)? {
                self.suspect(&target, since)?;
            }
        }
        Ok(())
    }

    fn mount(&mut self, digest: &Digest, from: &[Namespace]) -> Result<()> {
        let sound = self.blob(digest)?.is_some_and(|record| record.health == Health::Sound);
        if !sound || !self.is_held(digest, from)? {
            return Err(Error::NotFound { what: What::Blob });
        }
        self.join(digest, Vec::new()).map(drop)
    }

    /// Whether one of these namespaces has the content, or any if there are none, as far as the guard allows.
    fn is_held(&self, digest: &Digest, from: &[Namespace]) -> Result<bool> {
        let allows = |namespace: &Namespace| self.guard.is_none_or(|guard| guard.may_mount_from(namespace));
        if !from.is_empty() {
            let mut held = false;
            for namespace in from.iter().filter(|namespace| allows(namespace)) {
                held |= self.transaction.contains(Table::Members, &keys::member(namespace, digest))?;
            }
            return Ok(held);
        }
        let asked_max = if self.guard.is_some() { HOLDERS_ASKED_MAX } else { 1 };
        for key in self.transaction.keys_up_to(Table::Holders, &digest.to_key(), asked_max)? {
            let (_, holder) = keys::split_holder(&key).ok_or_else(|| malformed("holder"))?;
            if allows(&holder) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn require(&mut self, digest: &Digest, size: Option<u64>, labelled: bool) -> Result<()> {
        let missing = Error::Missing { digest: *digest };
        let Some(member) = self.transaction.get(Table::Members, &keys::member(self.namespace, digest))? else {
            return Err(missing);
        };
        if labelled && decoded(MemberRecord::decode(&member))?.label.is_empty() {
            return Err(missing);
        }
        match self.blob(digest)? {
            Some(record) if record.health == Health::Sound && size.is_none_or(|size| size == record.size) => {
                self.members.insert(*digest);
                Ok(())
            }
            Some(record) if record.health == Health::Sound => {
                Err(Error::WrongSize { digest: *digest, expected: record.size, found: size.unwrap_or_default() })
            }
            _ => Err(missing),
        }
    }

    fn bind(&mut self, name: &str, digest: &Digest) -> Result<()> {
        if !is_name(name) {
            return Err(Error::TooLarge { what: "a name", max: NAME_BYTES_MAX as u64 });
        }
        if !self.is_member(digest)? {
            return Err(Error::Missing { digest: *digest });
        }
        let key = keys::name(self.namespace, name);
        let bound = self.transaction.get(Table::Names, &key)?;
        if self.guard.is_some_and(|guard| !guard.may_bind(name, bound.is_none())) {
            return Err(Error::Forbidden { name: name.to_owned() });
        }
        if let Some(bytes) = bound {
            let old = decoded(NameRecord::decode(&bytes))?.digest;
            if old != *digest {
                self.transaction.delete(Table::Bindings, keys::binding(self.namespace, &old, name));
                let now = self.epoch()?;
                self.suspect(&old, now)?;
            }
        }
        self.transaction.put(Table::Names, key, NameRecord { bound: self.now, digest: *digest }.encode());
        self.transaction.put(Table::Bindings, keys::binding(self.namespace, digest, name), Vec::new());
        Ok(())
    }

    /// Removes a name; with `seen`, only one that is still as it was seen.
    fn unbind(&mut self, name: &str, seen: Option<&NameRecord>) -> Result<()> {
        let key = keys::name(self.namespace, name);
        let record = match self.transaction.get(Table::Names, &key)? {
            Some(bytes) => Some(decoded(NameRecord::decode(&bytes))?),
            None => None,
        };
        if seen.is_some() && seen != record.as_ref() {
            return Err(Error::Moved { name: name.to_owned() });
        }
        let digest = record.ok_or(Error::NotFound { what: What::Name })?.digest;
        self.require_unbind(name)?;
        self.transaction.delete(Table::Names, key);
        self.transaction.delete(Table::Bindings, keys::binding(self.namespace, &digest, name));
        let now = self.epoch()?;
        self.suspect(&digest, now)
    }

    fn require_unbind(&self, name: &str) -> Result<()> {
        match self.guard.is_none_or(|guard| guard.may_unbind(name)) {
            true => Ok(()),
            false => Err(Error::Forbidden { name: name.to_owned() }),
        }
    }

    fn remove(&mut self, digest: &Digest, policy: Removal) -> Result<()> {
        if !self.is_member(digest)? {
            return Err(Error::NotFound { what: What::Blob });
        }
        if policy == Removal::UnlessNeeded {
            self.refuse_if_needed(digest)?;
        }
        let now = self.epoch()?;
        self.take_out(digest, now)
    }

    /// Takes a member out with its names and edges. What it leaves behind has been garbage since
    /// the epoch `since`: what it needed, its content if it was the last to hold it, and what
    /// referred to it.
    pub fn take_out(&mut self, digest: &Digest, since: u64) -> Result<()> {
        self.members.remove(digest);
        for key in self.transaction.keys(Table::Bindings, &keys::member(self.namespace, digest))? {
            let (_, _, name) = keys::split_binding(&key).ok_or_else(|| malformed("binding"))?;
            self.require_unbind(name)?;
            self.transaction.delete(Table::Names, keys::name(self.namespace, name));
            self.transaction.delete(Table::Bindings, key);
        }
        self.drop_edges(digest, since)?;
        quota::shrink(self.transaction, self.namespace, self.size(digest)?)?;
        self.transaction.delete(Table::Members, keys::member(self.namespace, digest));
        self.transaction.delete(Table::Holders, keys::holder(digest, self.namespace));
        self.transaction.delete(Table::Usage, keys::member(self.namespace, digest));
        let left = CandidateRecord { since, told: None }.encode();
        let candidate = keys::candidate(self.namespace, digest);
        let referring = keys::edges(self.namespace, digest, EdgeKind::Refers);
        match self.transaction.first(Table::Reverse, &referring)? {
            Some(_) => self.transaction.put(Table::Garbage, candidate, left.clone()),
            None => self.transaction.delete(Table::Garbage, candidate),
        }
        if self.transaction.first(Table::Holders, &digest.to_key())?.is_none() {
            self.transaction.put(Table::Garbage, keys::unheld(digest), left.clone());
        }
        self.transaction.put(Table::Garbage, keys::emptied(self.namespace), left);
        Ok(())
    }

    fn refuse_if_needed(&self, digest: &Digest) -> Result<()> {
        match self.transaction.first(Table::Reverse, &keys::edges(self.namespace, digest, EdgeKind::Needs))? {
            None => Ok(()),
            Some(key) => {
                let (_, _, _, by) = keys::split_edge(&key).ok_or_else(|| malformed("edge"))?;
                Err(Error::Needed { digest: *digest, by })
            }
        }
    }

    /// Puts a member that may have lost what kept it on the garbage table; collection decides. A
    /// lease stays, and so does a later loss.
    pub fn suspect(&mut self, digest: &Digest, since: u64) -> Result<()> {
        let key = keys::candidate(self.namespace, digest);
        let before = self.transaction.get(Table::Garbage, &key)?;
        let before = before.map(|bytes| decoded(CandidateRecord::decode(&bytes))).transpose()?;
        let record = CandidateRecord {
            since: before.map_or(since, |before| before.since.max(since)),
            told: before.and_then(|before| before.told),
        };
        self.transaction.put(Table::Garbage, key, record.encode());
        Ok(())
    }

    fn epoch(&mut self) -> Result<u64> {
        match self.epoch {
            Some(epoch) => Ok(epoch),
            None => Ok(*self.epoch.insert(epoch(self.transaction)?)),
        }
    }

    fn is_member(&self, digest: &Digest) -> Result<bool> {
        self.transaction.contains(Table::Members, &keys::member(self.namespace, digest))
    }

    /// Bytes of stored content.
    fn size(&self, digest: &Digest) -> Result<u64> {
        Ok(self.blob(digest)?.map_or(0, |record| record.size))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<BlobRecord>> {
        self.transaction
            .get(Table::Blobs, &digest.to_key())?
            .map(|bytes| decoded(BlobRecord::decode(&bytes)))
            .transpose()
    }
}

/// The current epoch of collection.
pub(crate) fn epoch(transaction: &Transaction<'_>) -> Result<u64> {
    epoch_of(transaction.get(Table::Meta, keys::EPOCH)?)
}

/// The epoch that a value of the index says.
pub(crate) fn epoch_of(value: Option<Value>) -> Result<u64> {
    match value {
        Some(bytes) => bytes.try_into().map(u64::from_le_bytes).map_err(|_| malformed("epoch")),
        None => Ok(0),
    }
}

pub(crate) fn malformed(record: &'static str) -> Error {
    Error::Store { path: "index".into(), reason: format!("a malformed {record}") }
}
