//! The tables that follow from others: holders, bindings, reverse edges, garbage.
//!
//! Where a part of the journal was lost, rows may speak of something that is not there. Such rows go,
//! so that the index promises nothing that it can't keep; what a document needs and is gone counts as
//! declared to be missing, so that the rest of it can still be had.

use super::{Phase, Progress, Report, unknown_row, writer::Writer};
use crate::{
    Digest, EdgeKind, Namespace,
    check::each,
    error::Result,
    format::{BlobRecord, CandidateRecord, DamageRecord, Health, MemberRecord, NameRecord, UsageRecord, keys},
    index::{Index, Pair, Table},
    store::index_error,
};

/// How often somebody is told how far it is, in rows.
const PROGRESS_ROWS: u64 = 65_536;

/// Rows that one look into the index brings.
const PAGE_ROWS: usize = 1024;

type On<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Holders and namespaces, from the members.
pub(super) fn members(index: &dyn Index, report: &mut Report, clock_ms: &mut u64, on: On<'_>) -> Result<()> {
    let mut relations = Relations::new(index, report, clock_ms, on);
    relations.members()?;
    relations.writer.flush()
}

/// Everything else, once it is known which content there is.
pub(super) fn others(index: &dyn Index, epoch: u64, report: &mut Report, clock_ms: &mut u64, on: On<'_>) -> Result<()> {
    let mut relations = Relations::new(index, report, clock_ms, on);
    for step in [
        Relations::holders,
        Relations::names,
        Relations::referring,
        Relations::edges,
        Relations::usage,
        Relations::damaged,
    ] {
        step(&mut relations, epoch)?;
        // The next one looks at what this one wrote.
        relations.writer.flush()?;
    }
    relations.garbage(epoch)?;
    relations.writer.flush()
}

struct Relations<'a> {
    index: &'a dyn Index,
    writer: Writer<'a>,
    report: &'a mut Report,
    clock_ms: &'a mut u64,
    on: On<'a>,
    rows: u64,
}

impl<'a> Relations<'a> {
    fn new(index: &'a dyn Index, report: &'a mut Report, clock_ms: &'a mut u64, on: On<'a>) -> Self {
        Relations { index, writer: Writer::new(index), report, clock_ms, on, rows: 0 }
    }

    fn has(&self, table: Table, key: &[u8]) -> Result<bool> {
        Ok(self.index.get(table, key).map_err(index_error)?.is_some())
    }

    fn is_member(&self, namespace: &Namespace, digest: &Digest) -> Result<bool> {
        self.has(Table::Members, &keys::member(namespace, digest))
    }

    /// Visits the rows of a table.
    fn each(&mut self, table: Table, mut visit: impl FnMut(&mut Self, Pair) -> Result<()>) -> Result<()> {
        let index = self.index;
        each(index, table, &[], |pair| {
            self.rows += 1;
            if self.rows.is_multiple_of(PROGRESS_ROWS) {
                (self.on)(Progress { phase: Phase::Relations, done: self.rows, total: 0 });
            }
            visit(self, pair)
        })
    }

    /// A row that no version wrote, or not this one, is left out.
    fn drop_row(&mut self, table: Table, key: Vec<u8>) -> Result<()> {
        self.report.find(unknown_row(table, &key));
        self.writer.delete(table, key)
    }

    fn members(&mut self) -> Result<()> {
        let mut known: Option<Namespace> = None;
        self.each(Table::Members, |this, (key, value)| {
            let (Some((namespace, digest)), Ok(record)) = (keys::split_member(&key), MemberRecord::decode(&value))
            else {
                return this.drop_row(Table::Members, key);
            };
            *this.clock_ms = (*this.clock_ms).max(record.since_clock_ms);
            this.writer.put(Table::Holders, keys::holder(&digest, &namespace), Vec::new())?;
            if known.as_ref() != Some(&namespace) {
                let row = keys::namespace(&namespace);
                if !this.has(Table::Namespaces, &row)? {
                    // When it came to be is for people; its first member's time is near enough.
                    let created = record.since_clock_ms.to_le_bytes().to_vec();
                    this.writer.put(Table::Namespaces, row, created)?;
                }
                known = Some(namespace);
            }
            Ok(())
        })
    }

    /// Holders beside blobs, both in the order of digests: who holds what is not there, and what
    /// nobody holds.
    fn holders(&mut self, epoch: u64) -> Result<()> {
        let mut blobs = Digests::new(self.index);
        self.each(Table::Holders, |this, (key, _)| {
            let Some((digest, namespace)) = keys::split_holder(&key) else { return Ok(()) };
            while let Some(blob) = blobs.peek()?
                && blob < digest
            {
                this.unheld(&mut blobs, epoch)?;
            }
            if blobs.peek()? == Some(digest) {
                blobs.is_held = true;
                return Ok(());
            }
            this.report.members_lost += 1;
            this.report.find(format!("{namespace}: {digest} is gone: its content was lost"));
            this.writer.delete(Table::Members, keys::member(&namespace, &digest))?;
            this.writer.delete(Table::Holders, key)
        })?;
        while blobs.peek()?.is_some() {
            self.unheld(&mut blobs, epoch)?;
        }
        Ok(())
    }

    /// Goes to the next blob; the one before is garbage if nobody holds it.
    fn unheld(&mut self, blobs: &mut Digests<'_>, epoch: u64) -> Result<()> {
        if let (Some(digest), false) = (blobs.peek()?, blobs.is_held) {
            let since = CandidateRecord { since: epoch, told: None };
            self.writer.put(Table::Garbage, keys::unheld(&digest), since.encode())?;
        }
        blobs.next();
        Ok(())
    }

    fn names(&mut self, _: u64) -> Result<()> {
        self.each(Table::Names, |this, (key, value)| {
            let split = keys::split_namespace(&key);
            let named = split.and_then(|(namespace, name)| Some((namespace, std::str::from_utf8(name).ok()?)));
            let (Some((namespace, name)), Ok(record)) = (named, NameRecord::decode(&value)) else {
                return this.drop_row(Table::Names, key);
            };
            *this.clock_ms = (*this.clock_ms).max(record.bound.clock_ms);
            if this.is_member(&namespace, &record.digest)? {
                this.report.names += 1;
                let binding = keys::binding(&namespace, &record.digest, name);
                return this.writer.put(Table::Bindings, binding, Vec::new());
            }
            this.report.names_lost += 1;
            this.report.find(format!("{namespace}: {name} is gone: {} was lost", record.digest));
            this.writer.delete(Table::Names, key)
        })
    }

    /// What refers to something, from the side of that. Only these rows have payloads, so they lead.
    fn referring(&mut self, _: u64) -> Result<()> {
        self.each(Table::Reverse, |this, (key, _)| {
            let Some((namespace, target, kind, source)) = keys::split_edge(&key) else {
                return this.drop_row(Table::Reverse, key);
            };
            if kind != EdgeKind::Refers || !this.is_member(&namespace, &source)? {
                this.report.edges_lost += 1;
                return this.writer.delete(Table::Reverse, key);
            }
            let forward = keys::edge(&namespace, &source, kind, &target);
            match this.has(Table::Edges, &forward)? {
                true => Ok(()),
                false => this.writer.put(Table::Edges, forward, vec![1]),
            }
        })
    }

    fn edges(&mut self, _: u64) -> Result<()> {
        self.each(Table::Edges, |this, (key, value)| {
            let Some((namespace, source, kind, target)) = keys::split_edge(&key) else {
                return this.drop_row(Table::Edges, key);
            };
            let reverse = keys::edge(&namespace, &target, kind, &source);
            let is_listed = kind == EdgeKind::Needs || this.has(Table::Reverse, &reverse)?;
            if !is_listed || !this.is_member(&namespace, &source)? {
                this.report.edges_lost += 1;
                this.report.find(format!("{namespace}: what {source} says about {target} was lost"));
                this.writer.delete(Table::Reverse, reverse)?;
                return this.writer.delete(Table::Edges, key);
            }
            this.report.edges += 1;
            if kind == EdgeKind::Needs {
                this.writer.put(Table::Reverse, reverse, Vec::new())?;
                if value != [1] && !this.is_member(&namespace, &target)? {
                    this.report.needs_unmet += 1;
                    this.report.find(format!("{namespace}: {source} needs {target}, which was lost"));
                    return this.writer.put(Table::Edges, key, vec![1]);
                }
            }
            Ok(())
        })
    }

    fn usage(&mut self, _: u64) -> Result<()> {
        self.each(Table::Usage, |this, (key, value)| {
            let Ok(record) = UsageRecord::decode(&value) else { return this.drop_row(Table::Usage, key) };
            *this.clock_ms = (*this.clock_ms).max(record.pulled.clock_ms);
            match this.has(Table::Members, &key)? {
                true => Ok(()),
                false => this.writer.delete(Table::Usage, key),
            }
        })
    }

    /// Only what is damaged stays on the list.
    fn damaged(&mut self, _: u64) -> Result<()> {
        self.each(Table::Damaged, |this, (key, value)| {
            if DamageRecord::decode(&value).is_err() {
                return this.drop_row(Table::Damaged, key);
            }
            let record = this.index.get(Table::Blobs, &key).map_err(index_error)?;
            match record.map(|bytes| BlobRecord::decode(&bytes)).transpose()? {
                Some(BlobRecord { health: Health::Damaged, .. }) => Ok(()),
                _ => this.writer.delete(Table::Damaged, key),
            }
        })
    }

    /// Everything may have been told to somebody, and may have lost what kept it: collection looks at all
    /// of it once.
    fn garbage(&mut self, epoch: u64) -> Result<()> {
        let leased = CandidateRecord { since: epoch, told: Some(epoch) }.encode();
        self.each(Table::Members, |this, (key, _)| {
            this.report.members += 1;
            this.writer.put(Table::Garbage, key, leased.clone())
        })?;
        let emptied = CandidateRecord { since: epoch, told: None }.encode();
        self.each(Table::Namespaces, |this, (key, _)| {
            let Some(namespace) = std::str::from_utf8(&key).ok().and_then(|text| Namespace::new(text).ok()) else {
                return this.drop_row(Table::Namespaces, key);
            };
            this.report.namespaces += 1;
            this.writer.put(Table::Garbage, keys::emptied(&namespace), emptied.clone())
        })
    }
}

/// The digests of all blobs in their order, some at a time.
struct Digests<'a> {
    index: &'a dyn Index,
    page: std::vec::IntoIter<Digest>,
    after: Option<Vec<u8>>,
    is_last: bool,
    /// Whether anybody holds the one that comes next.
    is_held: bool,
}

impl<'a> Digests<'a> {
    fn new(index: &'a dyn Index) -> Self {
        Digests { index, page: Vec::new().into_iter(), after: None, is_last: false, is_held: false }
    }

    fn peek(&mut self) -> Result<Option<Digest>> {
        while self.page.as_slice().is_empty() && !self.is_last {
            let snapshot = self.index.snapshot();
            let rows = snapshot.scan(Table::Blobs, &[], self.after.as_deref(), PAGE_ROWS).map_err(index_error)?;
            self.is_last = rows.len() < PAGE_ROWS;
            self.after = rows.last().map(|(key, _)| key.clone());
            let digests = rows.iter().filter_map(|(key, _)| Digest::decode(key).map(|(digest, _)| digest));
            self.page = digests.collect::<Vec<_>>().into_iter();
        }
        Ok(self.page.as_slice().first().copied())
    }

    fn next(&mut self) {
        self.page.next();
        self.is_held = false;
    }
}
