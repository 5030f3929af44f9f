//! Policies carried out on an engine.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Error, IndexKind, Namespace, Options,
    environment::{Environment, System},
    io::Backend,
};
use orlop_gc::{
    Flow,
    retention::{Glob, KeepNames, Keeper, NamePattern, Policy, Report, Retention, Rules, apply},
};

/// Clocks that a test sets, in milliseconds.
#[derive(Default)]
struct Clocks {
    unix_ms: AtomicU64,
    monotonic_ms: AtomicU64,
    system: System,
}

impl Clocks {
    fn pass(&self, hours: u64) {
        self.unix_ms.fetch_add(hours * 3_600_000, Relaxed);
        self.monotonic_ms.fetch_add(hours * 3_600_000, Relaxed);
    }
}

impl Environment for Clocks {
    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Relaxed))
    }

    fn random(&self) -> u128 {
        self.system.random()
    }
}

struct Store {
    engine: Engine,
    clocks: Arc<Clocks>,
    app: Namespace,
    _root: tempfile::TempDir,
}

impl Store {
    async fn new() -> Store {
        let root = tempfile::tempdir().expect("a directory");
        let clocks = Arc::new(Clocks::default());
        clocks.unix_ms.store(1_700_000_000_000, Relaxed);
        let environment = clocks.clone();
        let options =
            Options { backend: Backend::Threads, index: IndexKind::Memory, environment, ..Options::default() };
        let engine = Engine::open(root.path(), options).await.expect("a new store opens");
        Store { engine, clocks, app: Namespace::new("app").expect("valid"), _root: root }
    }

    async fn push(&self, name: &str) -> Digest {
        self.push_to(&self.app, name, name).await
    }

    async fn push_to(&self, namespace: &Namespace, name: &str, content: &str) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let bytes = Bytes::copy_from_slice(content.as_bytes());
        let sealed = self.engine.seal_bytes(digest, bytes).await.expect("sealed");
        let batch = Batch::new(namespace.clone()).document(sealed, b"t".to_vec(), vec![]).bind(name, digest);
        let _ = self.engine.commit(batch).await.expect("committed");
        digest
    }

    async fn names(&self) -> Vec<String> {
        let names = self.engine.names(&self.app, None, 10_000).await.expect("listed");
        names.into_iter().map(|named| named.name).collect()
    }

    async fn apply(&self, retention: &Retention) -> Report {
        apply(&self.engine, &Arc::new(retention.clone()), |_| Flow::Continue(())).await.expect("applied")
    }
}

fn retention(entries: &[(&str, Rules)]) -> Retention {
    let keep = |(pattern, rules): &(&str, Rules)| KeepNames {
        patterns: vec![NamePattern::new(pattern).expect("a pattern")],
        rules: *rules,
    };
    let policy = Policy {
        namespaces: vec![Glob::new("app").expect("a glob")],
        keep_names: entries.iter().map(keep).collect(),
        ..Policy::default()
    };
    Retention { policies: vec![policy], ..Retention::default() }
}

fn within(hours: u64) -> Rules {
    Rules { pulled_within: Some(Duration::from_secs(hours * 3600)), ..Rules::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_names_go_and_what_was_pulled_stays() {
    let store = Store::new().await;
    let pulled = store.push("pulled").await;
    store.push("old").await;
    store.clocks.pass(20);
    store.push("young").await;
    store.engine.note_pull(&store.app, &pulled);
    store.clocks.pass(10);
    let other = Namespace::new("other").expect("valid");
    store.push_to(&other, "untouched", "x").await;
    store.clocks.pass(2);

    let mut policies = retention(&[("", within(24))]);
    policies.dry_run = true;
    let expected = Report { dry_run: true, namespaces: 2, names: 3, names_dropped: 1, names_moved: 0 };
    assert_eq!(store.apply(&policies).await, expected);
    assert_eq!(store.names().await, ["old", "pulled", "young"], "a dry run removes nothing");

    policies.dry_run = false;
    assert_eq!(store.apply(&policies).await, Report { dry_run: false, ..expected });
    assert_eq!(store.names().await, ["pulled", "young"]);
    let old = Digest::of(Algorithm::Sha256, b"old");
    assert!(store.engine.find(&store.app, &old).await.is_ok(), "its document is left to collection");
    assert_eq!(store.engine.names(&other, None, 9).await.expect("listed").len(), 1);
    assert_eq!(store.apply(&policies).await.names_dropped, 0, "a second run finds nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn jumps_of_the_wall_clock_drop_nothing() {
    const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;
    let store = Store::new().await;
    let policies = retention(&[("", within(24))]);
    let real_ms = store.clocks.unix_ms();
    store.push("before").await;
    for (at, unix_ms) in [real_ms + TEN_YEARS_MS, real_ms - TEN_YEARS_MS, 0, real_ms].into_iter().enumerate() {
        store.clocks.unix_ms.store(unix_ms, Relaxed);
        store.push(&format!("name-{at}")).await;
        assert_eq!(store.apply(&policies).await.names_dropped, 0, "the wall clock at {unix_ms}");
    }
    store.clocks.monotonic_ms.fetch_add(25 * 3_600_000, Relaxed);
    assert_eq!(store.apply(&policies).await.names_dropped, 5, "time that passed still counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_follow_the_order_of_pushes_whatever_the_wall_clock_said() {
    let store = Store::new().await;
    let count = Rules { pushed_count: Some(2), ..Rules::default() };
    for (name, unix_ms) in [("c", 9_000), ("a", 5_000), ("b", 1_000)] {
        store.clocks.monotonic_ms.fetch_add(1, Relaxed);
        store.clocks.unix_ms.store(unix_ms, Relaxed);
        store.push(name).await;
    }
    assert_eq!(store.apply(&retention(&[("", count)])).await.names_dropped, 1);
    assert_eq!(store.names().await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_go_in_several_batches_with_progress() {
    let store = Store::new().await;
    for at in 0..700 {
        store.push(&format!("n{at:04}")).await;
    }
    let newest = Rules { pushed_count: Some(3), ..Rules::default() };
    let mut seen = Vec::new();
    let policies = Arc::new(retention(&[("", newest)]));
    let progress = |report: &Report| {
        seen.push(report.names_dropped);
        if seen.len() < 2 { Flow::Continue(()) } else { Flow::Break(()) }
    };
    let report = apply(&store.engine, &policies, progress).await.expect("applied");
    assert_eq!((report.names, report.names_dropped), (700, 512), "it was told to stop");
    let progress = |report: &Report| {
        seen.push(report.names_dropped);
        Flow::Continue(())
    };
    let report = apply(&store.engine, &policies, progress).await.expect("applied");
    assert_eq!((report.names, report.names_dropped), (188, 185), "the next run goes on");
    assert_eq!(seen[..3], [256, 512, 185]);
    assert_eq!(store.names().await, ["n0697", "n0698", "n0699"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_pushed_since_it_was_judged_stays() {
    let store = Store::new().await;
    let digest = store.push("latest").await;
    let seen = store.engine.names_used(&store.app, None, 1).await.expect("listed").remove(0);
    store.clocks.pass(1);
    store.push("latest").await;
    let stale = Batch::new(store.app.clone()).unbind_if("latest", digest, seen.bound);
    assert!(matches!(store.engine.commit(stale).await, Err(Error::Moved { name }) if name == "latest"));
    assert_eq!(store.names().await, ["latest"]);
    let gone = Batch::new(store.app.clone()).unbind_if("gone", digest, seen.bound);
    assert!(matches!(store.engine.commit(gone).await, Err(Error::Moved { name }) if name == "gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn collection_is_told_which_unnamed_documents_stay() {
    let store = Store::new().await;
    let mut digests = Vec::new();
    for name in ["pulled", "older", "newest", "named"] {
        digests.push(store.push(name).await);
        store.clocks.pass(1);
    }
    let [pulled, older, newest, named] = digests.try_into().expect("four");
    store.engine.note_pull(&store.app, &pulled);
    for name in ["pulled", "older", "newest"] {
        let _ = store.engine.commit(Batch::new(store.app.clone()).unbind(name)).await.expect("unbound");
    }
    // A document that an unnamed one needs, and one that refers to another, are not for these rules.
    let whole = Digest::of(Algorithm::Sha256, b"whole");
    let sealed = store.engine.seal_bytes(whole, Bytes::from_static(b"whole")).await.expect("sealed");
    let batch = Batch::new(store.app.clone()).document(sealed, b"t".to_vec(), vec![Edge::needs(older)]);
    let _ = store.engine.commit(batch).await.expect("committed");
    let note = Digest::of(Algorithm::Sha256, b"note");
    let sealed = store.engine.seal_bytes(note, Bytes::from_static(b"note")).await.expect("sealed");
    let batch = Batch::new(store.app.clone()).document(sealed, b"t".to_vec(), vec![Edge::refers(named, vec![])]);
    let _ = store.engine.commit(batch).await.expect("committed");

    let (unnamed, more) = store.engine.unnamed_documents(&store.app, None, 1000).await.expect("listed");
    let mut listed: Vec<Digest> = unnamed.iter().map(|document| document.digest).collect();
    listed.sort();
    let mut expected = [pulled, newest, whole];
    expected.sort();
    assert_eq!((listed.as_slice(), more), (&expected[..], None));

    let mut policies = retention(&[]);
    let rules = |pushed, pulled| Rules { pushed_count: pushed, pulled_count: pulled, ..Rules::default() };
    policies.policies[0].keep_unnamed = Some(rules(Some(1), Some(1)));
    let keeper = Keeper::new(&store.engine, Arc::new(policies)).await.expect("judged");
    let keeps = |digest| keeper.keeps(&store.app, &digest);
    assert!(keeps(pulled) && keeps(whole) && !keeps(newest));
    assert!(keeps(Digest::of(Algorithm::Sha256, b"came later")), "what was not judged stays");
    let other = Namespace::new("other").expect("valid");
    assert!(!keeper.keeps(&other, &pulled) && keeper.rules(&other).delete, "no rules there");
}

/// Pushes and removals of the same names at the same time: what was pushed last is never removed.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_win_over_a_run_beside_them() {
    let store = Arc::new(Store::new().await);
    let policies = Arc::new(retention(&[("^keep", Rules::default())]));
    let runs = {
        let (store, policies) = (store.clone(), policies.clone());
        tokio::spawn(async move {
            let mut dropped = 0;
            for _ in 0..50 {
                dropped +=
                    apply(&store.engine, &policies, |_| Flow::Continue(())).await.expect("applied").names_dropped;
            }
            dropped
        })
    };
    for at in 0..200 {
        store.push(&format!("drop-{}", at % 7)).await;
        store.push(&format!("keep-{at}")).await;
    }
    runs.await.expect("no panic");
    store.apply(&policies).await;
    let names = store.names().await;
    assert_eq!(names.len(), 200);
    assert!(names.iter().all(|name| name.starts_with("keep")));
}
