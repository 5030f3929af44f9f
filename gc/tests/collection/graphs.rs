//! Random graphs of namespaces, names, nested needs, referring documents, mounts, uploads, deletions
//! and epochs: after each collection the engine has exactly the members of the slow model.
//!
//! `ORLOP_GRAPHS=100000` runs so many graphs.

use std::{collections::BTreeSet, sync::Arc};

use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Error, Namespace, Removal, Result,
    index::{Index, Table},
    io::{Disk, StorePath},
};
use orlop_gc::{Options, Rules};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tempfile::TempDir;

use crate::{
    clocks::Jumping,
    common::{self, LEASE, Parts, collect, content, digest_of, namespace},
    journal,
    model::{Id, Model},
};

const NAMESPACES: u8 = 3;
const BLOBS: u8 = 5;
const DOCUMENTS: u8 = 6;
const NAMES: u8 = 3;

/// Content numbers from here on are documents; a document only needs smaller numbers.
const FIRST_DOCUMENT: u8 = BLOBS;

#[derive(Debug, Clone)]
enum Operation {
    Push(Id),
    Document { id: Id, needs: BTreeSet<u8>, refers: BTreeSet<u8>, name: Option<u8> },
    Bind { id: Id, name: u8 },
    Unbind { ns: u8, name: u8 },
    Delete { id: Id, policy: Removal },
    Mount { from: u8, to: Id },
    Head(Id),
    Pull(Id),
    Upload(u8),
    Advance(u64),
    Collect,
    Reopen,
}

fn blob() -> impl Strategy<Value = Id> {
    (0..NAMESPACES, 0..BLOBS)
}

fn any_id() -> impl Strategy<Value = Id> {
    (0..NAMESPACES, 0..BLOBS + DOCUMENTS)
}

fn document() -> impl Strategy<Value = Operation> {
    let ends = || prop::collection::btree_set(0..BLOBS + DOCUMENTS, 0..4);
    let id = (0..NAMESPACES, FIRST_DOCUMENT..BLOBS + DOCUMENTS);
    (id, ends(), ends(), prop::option::of(0..NAMES), prop::bool::weighted(0.4)).prop_map(
        |(id, needs, refers, name, does_refer)| Operation::Document {
            id,
            needs: needs.into_iter().filter(|target| *target < id.1).collect(),
            // One target, as documents have; it may come later, or never. Greater numbers only: a
            // document that refers to something it needs itself keeps itself.
            refers: refers.into_iter().filter(|target| does_refer && *target > id.1).take(1).collect(),
            name,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let policy = prop_oneof![Just(Removal::UnlessNeeded)];
    prop_oneof![
        6 => blob().prop_map(Operation::Push),
        8 => document(),
        2 => (any_id(), 0..NAMES).prop_map(|(id, name)| Operation::Bind { id, name }),
        3 => (0..NAMESPACES, 0..NAMES).prop_map(|(ns, name)| Operation::Unbind { ns, name }),
        3 => (any_id(), policy).prop_map(|(id, policy)| Operation::Delete { id, policy }),
        2 => (0..NAMESPACES, blob()).prop_map(|(from, to)| Operation::Mount { from, to }),
        2 => any_id().prop_map(Operation::Head),
        1 => any_id().prop_map(Operation::Pull),
        1 => (0..NAMESPACES).prop_map(Operation::Upload),
        4 => (1u64..4).prop_map(Operation::Advance),
        5 => Just(Operation::Collect),
        1 => Just(Operation::Reopen),
    ]
}

#[derive(Debug, Clone)]
struct Graph {
    operations: Vec<Operation>,
    delay: u64,
    document_delay: u64,
    rules: Rules,
    /// Small ones cut the table into many plans.
    plan_removals_max: usize,
    do_clocks_jump: bool,
    /// Whether an index made from the journal is compared at each reopening and at the end.
    has_journal: bool,
}

fn graph() -> impl Strategy<Value = Graph> {
    let operations = prop::collection::vec(operation(), 1..60);
    let rules = (any::<bool>(), any::<bool>())
        .prop_map(|(delete_unnamed, delete_referring)| Rules { delete_unnamed, delete_referring });
    (operations, 0u64..4, 0u64..4, rules, prop_oneof![Just(2), Just(4096)], any::<(bool, bool)>()).prop_map(
        |(operations, delay, document_delay, rules, plan_removals_max, (do_clocks_jump, has_journal))| Graph {
            operations,
            delay,
            document_delay,
            rules,
            plan_removals_max,
            do_clocks_jump,
            has_journal,
        },
    )
}

fn ns(number: u8) -> Namespace {
    namespace(["a", "a/b", "c"][usize::from(number)])
}

fn digest(number: u8) -> Digest {
    digest_of(&content(number.into()))
}

/// The engine and the model side by side.
struct Pair {
    parts: Parts,
    journal: Option<TempDir>,
    engine: Engine,
    model: Model,
    options: Options,
    /// When the open uploads were last written to.
    uploads: Vec<u64>,
}

impl Pair {
    async fn new(graph: &Graph) -> Self {
        let mut parts = Parts::new(7);
        if graph.do_clocks_jump {
            parts.options.environment = Arc::new(Jumping::default());
        }
        let journal = graph.has_journal.then(|| tempfile::tempdir().expect("a directory"));
        let engine = journal::open(&parts, journal.as_ref().map(TempDir::path)).await;
        engine.waive_earlier_answers();
        let options = Options {
            delay: graph.delay,
            document_delay: graph.document_delay,
            keep: Arc::new(graph.rules),
            plan_removals_max: graph.plan_removals_max,
            rests: false,
        };
        let model =
            Model { rules: graph.rules, delay: graph.delay, document_delay: graph.document_delay, ..Model::default() };
        Pair { parts, journal, engine, model, options, uploads: Vec::new() }
    }

    async fn step(&mut self, operation: &Operation) {
        match operation {
            Operation::Push(id) => {
                common::push(&self.engine, &ns(id.0), &content(id.1.into())).await.expect("pushed");
                self.model.join(*id);
            }
            Operation::Document { id, needs, refers, name } => self.document(*id, needs, refers, *name).await,
            Operation::Bind { id, name } => {
                let batch = Batch::new(ns(id.0)).bind(name.to_string(), digest(id.1));
                if self.agree(self.engine.commit(batch).await, self.model.members.contains_key(id)) {
                    self.model.bind(id.0, *name, id.1);
                }
            }
            Operation::Unbind { ns: at, name } => {
                let batch = Batch::new(ns(*at)).unbind(name.to_string());
                if self.agree(self.engine.commit(batch).await, self.model.names.contains_key(&(*at, *name))) {
                    self.model.unbind(*at, *name);
                }
            }
            Operation::Delete { id, policy } => {
                let is_needed =
                    self.model.members.iter().any(|(by, other)| by.0 == id.0 && other.needs.contains(&id.1));
                let batch = Batch::new(ns(id.0)).remove(digest(id.1), *policy);
                let may = self.model.members.contains_key(id) && !is_needed;
                if self.agree(self.engine.commit(batch).await, may) {
                    self.model.remove(*id);
                }
            }
            Operation::Mount { from, to } => {
                let batch = Batch::new(ns(to.0)).mount(digest(to.1), vec![ns(*from)]);
                if self.agree(self.engine.commit(batch).await, self.model.members.contains_key(&(*from, to.1))) {
                    self.model.join(*to);
                }
            }
            Operation::Head(id) => {
                let found = self.engine.find(&ns(id.0), &digest(id.1)).await;
                if self.agree(found, self.model.members.contains_key(id)) {
                    self.model.tell(*id);
                }
            }
            Operation::Pull(id) => {
                if let Some(member) = self.model.members.get(id) {
                    let pulled = common::pull(&self.engine, &ns(id.0), &digest(id.1)).await.expect("a member");
                    assert_eq!(pulled, content(id.1.into()));
                    // Who reads a document is told that it is there.
                    if member.is_document {
                        self.model.tell(*id);
                    }
                }
            }
            Operation::Upload(at) => {
                let id = self.engine.begin(&ns(*at), Algorithm::Sha256).await.expect("begun");
                let mut upload = self.engine.resume(&ns(*at), id).await.expect("resumed");
                upload.append(&[0; 100]).await.expect("appended");
                upload.suspend();
                self.uploads.push(self.model.epoch);
            }
            Operation::Advance(epochs) => {
                common::advance(&self.engine, *epochs).await;
                self.model.epoch += epochs;
            }
            Operation::Collect => self.collect().await,
            Operation::Reopen => self.reopen().await,
        }
    }

    /// Whether it was done; engine and model must say the same.
    fn agree<T>(&self, done: Result<T>, may: bool) -> bool {
        match &done {
            Ok(_) => assert!(may, "the model refuses what the engine did"),
            Err(Error::NotFound { .. } | Error::Missing { .. } | Error::Needed { .. }) => {
                assert!(!may, "the engine refuses what the model does: {:?}", done.err());
            }
            Err(error) => panic!("{error}"),
        }
        done.is_ok()
    }

    async fn document(&mut self, id: Id, needs: &BTreeSet<u8>, refers: &BTreeSet<u8>, name: Option<u8>) {
        let needed = needs.iter().map(|target| Edge::needs(digest(*target)));
        let referred = refers.iter().map(|target| Edge::refers(digest(*target), b"payload".to_vec()));
        let edges = needed.chain(referred).collect();
        let name_text = name.map(|name| name.to_string());
        let bytes = content(id.1.into());
        let pushed = common::push_document(&self.engine, &ns(id.0), &bytes, edges, name_text.as_deref()).await;
        let may = needs.iter().all(|target| self.model.members.contains_key(&(id.0, *target)));
        if self.agree(pushed, may) {
            self.model.document(id, needs, refers);
            if let Some(name) = name {
                self.model.bind(id.0, name, id.1);
            }
        }
    }

    async fn collect(&mut self) {
        let planned = orlop_gc::plan(&self.engine, &self.options).await.expect("planned");
        let report = collect(&self.engine, &self.options).await;
        let gone = self.model.collect();
        assert_eq!(report.removed.members, gone, "{report}\nbut planned was\n{planned}");
        if planned.is_whole {
            assert_eq!(planned.totals, report.removed, "{report}\nbut planned was\n{planned}");
            assert_eq!(report.kept, 0, "nothing came between plan and sweep");
        }
        let (delay, epoch) = (self.options.delay.max(LEASE + 1), self.model.epoch);
        self.uploads.retain(|since| *since + delay > epoch);
        assert_eq!(self.engine.uploads_open(), self.uploads.len());
        self.compare().await;
    }

    async fn compare(&self) {
        for namespace in 0..NAMESPACES {
            for number in 0..BLOBS + DOCUMENTS {
                // Asked of the index: a look-up through the engine would be a lease.
                let key = [ns(namespace).as_str().as_bytes(), &[0, 1], digest(number).as_bytes()].concat();
                let is_member = self.parts.index.get(Table::Members, &key).expect("memory").is_some();
                let expected = self.model.members.get(&(namespace, number));
                assert_eq!(is_member, expected.is_some(), "({namespace}, {number}): {expected:?}");
                if expected.is_some_and(|member| !member.is_document) {
                    let pulled = common::pull(&self.engine, &ns(namespace), &digest(number)).await;
                    assert_eq!(pulled.expect("a member can be read"), content(number.into()));
                }
            }
        }
    }

    /// Ends the engine. An index made from the journal has then everything that this one has.
    async fn close(&self) {
        // A first base may still be under way, and closing does not wait for it.
        self.engine.journal_settled().await.expect("the journal can be written");
        self.engine.close().await.expect("closed");
        self.parts.check().await;
        if let Some(journal) = &self.journal {
            journal::assert_rebuilds(&self.parts, journal.path()).await;
        }
    }

    /// Everything counts as told when a store is opened.
    async fn reopen(&mut self) {
        self.close().await;
        self.engine = journal::open(&self.parts, self.journal.as_ref().map(TempDir::path)).await;
        let epoch = self.model.epoch;
        self.model.members.values_mut().for_each(|member| member.told = epoch);
        self.uploads.fill(epoch);
    }

    /// Without names, leases and delays everything goes, down to the last byte.
    async fn end(mut self) {
        self.step(&Operation::Reopen).await;
        let names: Vec<(u8, u8)> = self.model.names.keys().copied().collect();
        for (at, name) in names {
            self.step(&Operation::Unbind { ns: at, name }).await;
        }
        let rules = Rules { delete_unnamed: true, delete_referring: true };
        self.model.rules = rules;
        self.options.keep = Arc::new(rules);
        for _ in 0..2 {
            self.step(&Operation::Advance(10)).await;
            self.collect().await;
        }
        assert_eq!(self.model.members.len(), 0, "the model keeps {:?}", self.model.members);
        self.close().await;
        for table in Table::ALL {
            let left = match table {
                Table::Meta => continue,
                Table::Sizes => self.parts.options.quotas.len(),
                _ => 0,
            };
            assert_eq!(self.parts.index.estimate(table), left as u64, "{table:?}");
        }
        for number in 0..BLOBS + DOCUMENTS {
            let path = StorePath::root().join("blobs").join("sha256").join(&digest(number).hex()[..2]);
            assert_eq!(self.parts.disk.list(&path).await.expect("memory"), [], "no file is left");
        }
    }
}

async fn run(graph: &Graph) {
    let mut pair = Pair::new(graph).await;
    for operation in &graph.operations {
        pair.step(operation).await;
    }
    pair.end().await;
}

#[test]
fn every_collection_takes_exactly_what_the_model_takes() {
    let graphs = std::env::var("ORLOP_GRAPHS").ok().map(|text| text.parse().expect("ORLOP_GRAPHS is a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner =
        TestRunner::new(Config { cases: graphs.unwrap_or(256), failure_persistence: None, ..Config::default() });
    let result = runner.run(&graph(), |graph| {
        runtime.block_on(run(&graph));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
