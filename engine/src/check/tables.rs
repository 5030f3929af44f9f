//! The tables against each other: invariants 4, 5, 6, 8 and 9.

use std::collections::BTreeMap;

use super::{Report, each};
use crate::{
    Digest, EdgeKind, Namespace,
    collect::Entry,
    error::Result,
    format::{AllowanceRecord, BlobRecord, DamageRecord, Health, MemberRecord, NameRecord, UsageRecord, keys},
    index::{Index, Table},
    store::index_error,
};

pub(super) fn check(index: &dyn Index, report: &mut Report) -> Result<()> {
    let mut tables = Tables { index, report };
    tables.members()?;
    tables.holders()?;
    tables.names()?;
    tables.bindings()?;
    tables.edges()?;
    tables.reverse()?;
    tables.usage()?;
    tables.sizes()?;
    tables.contents()?;
    tables.kept()?;
    tables.namespaces()?;
    tables.damaged()?;
    tables.garbage()
}

struct Tables<'a> {
    index: &'a dyn Index,
    report: &'a mut Report,
}

impl Tables<'_> {
    fn has(&self, table: Table, key: &[u8]) -> Result<bool> {
        Ok(self.index.get(table, key).map_err(index_error)?.is_some())
    }

    fn any(&self, table: Table, prefix: &[u8]) -> Result<bool> {
        Ok(!self.index.snapshot().scan(table, prefix, None, 1).map_err(index_error)?.is_empty())
    }

    fn is_member(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        self.has(Table::Members, &keys::member(namespace, digest))
    }

    fn members(&mut self) -> Result<()> {
        each(self.index, Table::Members, &[], |(key, value)| {
            self.report.members += 1;
            let Some((namespace, digest)) = keys::split_member(&key) else {
                self.report.find(4, format!("a malformed member key {key:02x?}"));
                return Ok(());
            };
            if MemberRecord::decode(&value).is_err() {
                self.report.find(4, format!("{namespace}: the member record of {digest} is malformed"));
            }
            if !self.has(Table::Blobs, &digest.to_key())? {
                self.report.find(4, format!("{namespace}: its member {digest} is not stored"));
            }
            if !self.has(Table::Holders, &keys::holder(&digest, &namespace))? {
                self.report.find(4, format!("{digest}: {namespace} is missing among its holders"));
            }
            if !self.has(Table::Namespaces, &keys::namespace(&namespace))? {
                self.report.find(4, format!("{namespace} has members and is not among the namespaces"));
            }
            Ok(())
        })
    }

    fn holders(&mut self) -> Result<()> {
        each(self.index, Table::Holders, &[], |(key, _)| {
            match keys::split_holder(&key) {
                Some((digest, namespace)) if self.is_member(&namespace, &digest)? => {}
                Some((digest, namespace)) => {
                    self.report.find(4, format!("{digest}: its holder {namespace} does not have it as a member"));
                }
                None => self.report.find(4, format!("a malformed holder key {key:02x?}")),
            }
            Ok(())
        })
    }

    fn names(&mut self) -> Result<()> {
        each(self.index, Table::Names, &[], |(key, value)| {
            self.report.names += 1;
            let name = keys::split_namespace(&key).and_then(|(ns, name)| Some((ns, std::str::from_utf8(name).ok()?)));
            let (Some((namespace, name)), Ok(record)) = (name, NameRecord::decode(&value)) else {
                self.report.find(5, format!("a malformed name {key:02x?}"));
                return Ok(());
            };
            if !self.is_member(&namespace, &record.digest)? {
                self.report.find(5, format!("{namespace}: {name} points at {}, which is not a member", record.digest));
            }
            if !self.has(Table::Bindings, &keys::binding(&namespace, &record.digest, name))? {
                self.report.find(5, format!("{namespace}: {name} is missing among the bindings of {}", record.digest));
            }
            Ok(())
        })
    }

    fn bindings(&mut self) -> Result<()> {
        each(self.index, Table::Bindings, &[], |(key, _)| {
            let Some((namespace, digest, name)) = keys::split_binding(&key) else {
                self.report.find(5, format!("a malformed binding key {key:02x?}"));
                return Ok(());
            };
            let record = self.index.get(Table::Names, &keys::name(&namespace, name)).map_err(index_error)?;
            let bound = record.and_then(|bytes| NameRecord::decode(&bytes).ok());
            if bound.is_none_or(|record| record.digest != digest) {
                self.report.find(5, format!("{namespace}: {digest} has a binding {name} that points elsewhere"));
            }
            Ok(())
        })
    }

    fn edges(&mut self) -> Result<()> {
        each(self.index, Table::Edges, &[], |(key, value)| {
            self.report.edges += 1;
            let Some((namespace, source, kind, target)) = keys::split_edge(&key) else {
                self.report.find(6, format!("a malformed edge key {key:02x?}"));
                return Ok(());
            };
            if !self.has(Table::Reverse, &keys::edge(&namespace, &target, kind, &source))? {
                self.report.find(6, format!("{namespace}: the edge {source} -> {target} has no reverse"));
            }
            if !self.is_member(&namespace, &source)? {
                self.report.find(9, format!("{namespace}: an edge starts at {source}, which is not a member"));
            }
            let sparse = value == [1];
            if kind == EdgeKind::Needs && !sparse && !self.is_member(&namespace, &target)? {
                self.report.find(5, format!("{namespace}: {source} needs {target}, which is not a member"));
            }
            Ok(())
        })
    }

    fn reverse(&mut self) -> Result<()> {
        each(self.index, Table::Reverse, &[], |(key, _)| {
            match keys::split_edge(&key) {
                Some((namespace, target, kind, source)) => {
                    if !self.has(Table::Edges, &keys::edge(&namespace, &source, kind, &target))? {
                        self.report.find(6, format!("{namespace}: the reverse edge {target} <- {source} has no edge"));
                    }
                }
                None => self.report.find(6, format!("a malformed reverse edge key {key:02x?}")),
            }
            Ok(())
        })
    }

    /// The sums that are kept beside the members are those of the members.
    fn sizes(&mut self) -> Result<()> {
        if !self.has(Table::Meta, keys::SIZED)? {
            return Ok(());
        }
        let mut sums: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        each(self.index, Table::Members, &[], |(key, _)| {
            let Some((namespace, digest)) = keys::split_member(&key) else { return Ok(()) };
            let record = self.index.get(Table::Blobs, &digest.to_key()).map_err(index_error)?;
            if let Some(Ok(record)) = record.map(|bytes| BlobRecord::decode(&bytes)) {
                *sums.entry(keys::within(&namespace)).or_default() += record.size;
            }
            Ok(())
        })?;
        sums.retain(|_, bytes| *bytes > 0);
        let mut quotas = Vec::new();
        each(self.index, Table::Sizes, &[], |(key, value)| {
            if let Some((0, prefix)) = key.split_first() {
                quotas.push((String::from_utf8_lossy(prefix).into_owned(), value));
            } else if sums.get(&key).map(|bytes| bytes.to_le_bytes().to_vec()) != Some(value) {
                let shown = String::from_utf8_lossy(&key);
                self.report.find(4, format!("{shown}: the size on record is not that of its members"));
            }
            Ok(())
        })?;
        for key in sums.keys() {
            if !self.has(Table::Sizes, key)? {
                let shown = String::from_utf8_lossy(key);
                self.report.find(4, format!("{shown}: it has members and no size on record"));
            }
        }
        for (prefix, value) in quotas {
            let below = |key: &[u8]| {
                let rest = key.strip_prefix(prefix.as_bytes());
                prefix.is_empty() || rest.is_some_and(|rest| matches!(rest.first(), Some(0 | b'/')))
            };
            let used: u64 = sums.iter().filter(|(key, _)| below(key)).map(|(_, bytes)| bytes).sum();
            if AllowanceRecord::decode(&value).map(|quota| quota.used) != Ok(used) {
                self.report.find(4, format!("the quota of {prefix:?} does not count the {used} bytes that are used"));
            }
        }
        Ok(())
    }

    fn usage(&mut self) -> Result<()> {
        each(self.index, Table::Usage, &[], |(key, value)| {
            let (Some((namespace, digest)), Ok(_)) = (keys::split_member(&key), UsageRecord::decode(&value)) else {
                self.report.find(9, format!("a malformed usage entry {key:02x?}"));
                return Ok(());
            };
            if !self.is_member(&namespace, &digest)? {
                self.report.find(9, format!("{namespace}: pulls of {digest} are counted, which is not a member"));
            }
            Ok(())
        })
    }

    fn contents(&mut self) -> Result<()> {
        let snapshot = self.index.snapshot();
        each(self.index, Table::Blobs, &[], |(key, value)| {
            let (Some((digest, [])), Ok(record)) = (Digest::decode(&key), BlobRecord::decode(&value)) else {
                self.report.find(1, format!("a malformed blob entry {key:02x?}"));
                return Ok(());
            };
            let held = !snapshot.scan(Table::Holders, &key, None, 1).map_err(index_error)?.is_empty();
            let listed = self.has(Table::Garbage, &keys::unheld(&digest))?;
            match (held, listed) {
                (true, true) => self.report.find(8, format!("{digest} is held and on the garbage table")),
                (false, false) => {
                    self.report.find(8, format!("{digest} has no holder and is not on the garbage table"))
                }
                (false, true) => self.report.garbage += 1,
                (true, false) => {}
            }
            self.report.damaged += u64::from(record.health == Health::Damaged);
            Ok(())
        })
    }

    /// A member that nothing keeps is known as a candidate, or it would stay for ever.
    fn kept(&mut self) -> Result<()> {
        each(self.index, Table::Members, &[], |(key, value)| {
            // Malformed entries were reported before.
            let (Some((ns, digest)), Ok(record)) = (keys::split_member(&key), MemberRecord::decode(&value)) else {
                return Ok(());
            };
            let is_known = self.has(Table::Garbage, &key)?
                || self.any(Table::Bindings, &key)?
                || self.any(Table::Reverse, &keys::edges(&ns, &digest, EdgeKind::Needs))?
                || (!record.label.is_empty() && self.is_kept_by_target(&ns, &digest)?);
            if !is_known {
                self.report.find(8, format!("{ns}: nothing keeps {digest}, and it is not on the garbage table"));
            }
            Ok(())
        })
    }

    /// Whether a document refers to something that is there, or whose going is not yet dealt with.
    fn is_kept_by_target(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        let mut is_kept = false;
        each(self.index, Table::Edges, &keys::edges(namespace, digest, EdgeKind::Refers), |(key, _)| {
            if let Some((.., target)) = keys::split_edge(&key) {
                let candidate = keys::candidate(namespace, &target);
                is_kept |= self.is_member(namespace, &target)? || self.has(Table::Garbage, &candidate)?;
            }
            Ok(())
        })?;
        Ok(is_kept)
    }

    fn namespaces(&mut self) -> Result<()> {
        let mut count = 0;
        each(self.index, Table::Namespaces, &[], |(key, _)| {
            count += 1;
            let namespace = std::str::from_utf8(&key).ok().and_then(|text| Namespace::new(text).ok());
            let Some(namespace) = namespace else {
                self.report.find(8, format!("a malformed namespace {key:02x?}"));
                return Ok(());
            };
            let has_members = self.any(Table::Members, &keys::within(&namespace))?;
            if !has_members && !self.has(Table::Garbage, &keys::emptied(&namespace))? {
                self.report.find(8, format!("{namespace} is empty and not on the garbage table"));
            }
            Ok(())
        })?;
        let counted = self.index.get(Table::Meta, keys::NAMESPACES).map_err(index_error)?;
        if counted.is_some_and(|bytes| AllowanceRecord::decode(&bytes).map(|allowed| allowed.used) != Ok(count)) {
            self.report.find(4, format!("the {count} namespaces that there are were not counted"));
        }
        Ok(())
    }

    /// Only what is damaged is on the list. A version without the list may have left damaged content
    /// that is not on it, until a scrub comes by.
    fn damaged(&mut self) -> Result<()> {
        each(self.index, Table::Damaged, &[], |(key, value)| {
            let (Some((digest, [])), Ok(_)) = (Digest::decode(&key), DamageRecord::decode(&value)) else {
                self.report.find(1, format!("a malformed damage entry {key:02x?}"));
                return Ok(());
            };
            let record = self.index.get(Table::Blobs, &key).map_err(index_error)?;
            let record = record.and_then(|bytes| BlobRecord::decode(&bytes).ok());
            if record.is_none_or(|record| record.health != Health::Damaged) {
                self.report.find(1, format!("{digest} is on the list of damaged content and is not damaged"));
            }
            Ok(())
        })
    }

    fn garbage(&mut self) -> Result<()> {
        each(self.index, Table::Garbage, &[], |pair| {
            self.report.candidates += 1;
            if Entry::of_pair(&pair).is_err() {
                self.report.find(8, format!("a malformed garbage entry {:02x?}", pair.0));
            }
            Ok(())
        })
    }
}
