//! Sizes of namespaces and their quotas: exact after every change, also by those who fail.

use std::{collections::BTreeMap, sync::Arc};

use orlop_engine::{
    Allowances, Batch, Digest, Edge, Engine, Error, Options, Quota, Removal, Result, check,
    index::{Changes, Durability, Index, MemoryIndex, Table},
    io::SimDisk,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::common::*;

fn with(quotas: &[(&str, u64)], namespaces_max: Option<u64>) -> Options {
    let quotas = quotas.iter().map(|(prefix, bytes)| Quota { prefix: (*prefix).to_owned(), bytes: *bytes }).collect();
    Options { quotas, namespaces_max, ..real().remove(0) }
}

async fn try_push(engine: &Engine, ns: &str, content: &[u8]) -> Result<Digest> {
    let digest = sha256(content);
    push_pieces(engine, &namespace(ns), content, 100_000, &digest).await.map(|()| digest)
}

fn used(engine: &Engine) -> Vec<(String, u64)> {
    engine.quotas().into_iter().map(|quota| (quota.prefix, quota.used_bytes)).collect()
}

fn is_over<T>(result: &Result<T>, expected: &str) -> bool {
    matches!(result, Err(Error::OverQuota { prefix, .. }) if prefix == expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_quota_above_a_namespace_must_have_room() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[("", 500_000), ("team", 300_000), ("team/a", 100)], None)).await;
    let small = try_push(&engine, "team/a", &content(1, 100)).await.expect("it fits exactly");
    let refused = try_push(&engine, "team/a", &content(2, 1)).await;
    assert!(is_over(&refused, "team/a"), "{refused:?}");
    let message = refused.expect_err("refused").to_string();
    assert!(message.contains("100 of 100 bytes are used, 1 more"), "{message}");
    assert!(try_push(&engine, "team/a", b"").await.is_ok(), "nothing always fits");
    assert!(try_push(&engine, "team/a", &content(1, 100)).await.is_ok(), "what is there takes no more");

    // A file of its own, and the same bytes in two namespaces: they count in each.
    try_push(&engine, "team/b", &content(3, 200_000)).await.expect("it fits");
    assert!(is_over(&try_push(&engine, "team/c", &content(3, 200_000)).await, "team"));
    try_push(&engine, "teams", &content(3, 200_000)).await.expect("another beginning");
    assert!(is_over(&try_push(&engine, "x", &content(3, 200_000)).await, ""));
    let mount = Batch::new(namespace("y")).mount(sha256(&content(3, 200_000)), vec![]);
    assert!(is_over(&engine.commit(mount).await, ""));
    let expected = [("".to_owned(), 400_100), ("team".to_owned(), 200_100), ("team/a".to_owned(), 100)];
    assert_eq!(used(&engine), expected);

    let gone = Batch::new(namespace("team/a")).remove(small, Removal::Always);
    let _ = engine.commit(gone).await.expect("removed");
    assert!(try_push(&engine, "team/a", &content(2, 1)).await.is_ok());
    close_and_check(engine, root.path()).await;

    // Other quotas at the next opening: what is used is known, and nothing is taken away.
    let engine = open(root.path(), &with(&[("team/b", 10)], None)).await;
    assert_eq!(used(&engine), [("team/b".to_owned(), 200_000)]);
    assert!(is_over(&try_push(&engine, "team/b", b"x").await, "team/b"));
    assert!(pull(&engine, &namespace("team/b"), &sha256(&content(3, 200_000))).await.is_ok());
    close_and_check(engine, root.path()).await;
    let engine = open(root.path(), &with(&[], None)).await;
    assert!(try_push(&engine, "team/b", b"x").await.is_ok());
    assert!(engine.quotas().is_empty());
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_can_be_told_before_it_sends() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[("", 1000), ("team", 100)], Some(2))).await;
    let (a, other) = (namespace("team/a"), namespace("other"));
    let there = try_push(&engine, "team/a", &content(1, 60)).await.expect("it fits");
    assert!(engine.room_for(&a, 40, None).await.is_ok());
    assert!(is_over(&engine.room_for(&a, 41, None).await, "team"));
    assert!(is_over(&engine.room_for(&namespace("team/b"), 41, Some(&there)).await, "team"), "not there");
    assert!(engine.room_for(&a, 60, Some(&there)).await.is_ok(), "what is there takes no more");
    assert!(is_over(&engine.room_for(&other, u64::MAX, None).await, ""));
    assert!(engine.room_for(&other, 940, None).await.is_ok());

    try_push(&engine, "other", b"x").await.expect("the second namespace");
    let refused = engine.room_for(&namespace("third"), 0, None).await;
    assert!(matches!(refused, Err(Error::TooManyNamespaces { max: 2 })), "{refused:?}");
    assert!(engine.room_for(&other, 1, None).await.is_ok());
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_fit_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[("app", 8)], None)).await;
    let ns = namespace("app");
    let part = push(&engine, &ns, b"part").await;
    let sealed = document(&engine, &ns, "a document").await;
    let whole = *sealed.digest();
    let batch = Batch::new(ns.clone()).document(sealed, b"t".to_vec(), vec![Edge::needs(part)]).bind("v1", whole);
    assert!(is_over(&engine.commit(batch).await, "app"));
    assert!(is_missing(&engine.resolve(&ns, "v1").await));
    assert_eq!(used(&engine), [("app".to_owned(), 4)]);
    close_and_check(engine, root.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_can_be_limited() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[], Some(2))).await;
    for ns in ["a", "b", "a"] {
        try_push(&engine, ns, ns.as_bytes()).await.expect("allowed");
    }
    assert!(matches!(try_push(&engine, "c", b"c").await, Err(Error::TooManyNamespaces { max: 2 })));
    close_and_check(engine, root.path()).await;
    let engine = open(root.path(), &with(&[], Some(1))).await;
    assert!(matches!(try_push(&engine, "c", b"c").await, Err(Error::TooManyNamespaces { max: 1 })));
    try_push(&engine, "b", b"more").await.expect("there already");
    close_and_check(engine, root.path()).await;
    let engine = open(root.path(), &with(&[], None)).await;
    try_push(&engine, "c", b"c").await.expect("allowed");
    close_and_check(engine, root.path()).await;
}

/// Many at once never get more than there is room for, and what fits is not refused.
#[tokio::test(flavor = "multi_thread")]
async fn pushes_at_once_share_the_room() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[("team", 1000)], None)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..64 {
        let engine = engine.clone();
        tasks.spawn(async move { try_push(&engine, &format!("team/{}", at % 4), &content(at, 100)).await.is_ok() });
    }
    let accepted = tasks.join_all().await.into_iter().filter(|accepted| *accepted).count();
    assert_eq!(accepted, 10);
    assert_eq!(used(&engine), [("team".to_owned(), 1000)]);
    close_and_check(engine, root.path()).await;
}

/// An index that a test can look into, below an engine over a simulated disk.
async fn over(index: &Arc<MemoryIndex>, disk: &SimDisk, options: Options) -> Engine {
    Engine::simulated(Arc::new(disk.clone()), index.clone(), options).await.expect("opens")
}

fn write(index: &MemoryIndex, writes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>) {
    index.write(&Changes { conditions: vec![], writes }, Durability::Synced).expect("memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_sums_gets_them_when_it_is_opened() {
    let (index, disk) = (Arc::new(MemoryIndex::default()), SimDisk::new(0));
    let quotas = with(&[("a", 1000)], None);
    let engine = over(&index, &disk, quotas.clone()).await;
    for (ns, len) in [("a", 10), ("a/b", 200), ("b", 3000)] {
        try_push(&engine, ns, &content(len, usize::try_from(len).expect("small"))).await.expect("pushed");
    }
    let sizes = engine.sizes().await.expect("read");
    engine.close().await.expect("closed");
    // As a version wrote it that kept no sums.
    let rows = index.snapshot().scan(Table::Sizes, b"", None, 100).expect("memory");
    let mut gone: Vec<_> = rows.into_iter().map(|(key, _)| (Table::Sizes, key, None)).collect();
    gone.push((Table::Meta, b"sized".to_vec(), None));
    write(&index, gone);

    let engine = over(&index, &disk, quotas).await;
    assert_eq!(engine.sizes().await.expect("read"), sizes);
    assert_eq!(used(&engine), [("a".to_owned(), 210)]);
    engine.close().await.expect("closed");
    let report = check::check_parts(index, Arc::new(disk)).await.expect("checked");
    assert!(report.is_clean(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_wrong_sums_and_pulls_of_nothing() {
    let wrong = 7u64.to_le_bytes().to_vec();
    let quota = [&[1][..], &wrong, &wrong].concat();
    let nobody = [b"a\0\x01".as_slice(), &[0xab; 32]].concat();
    let pulls = [&[1][..], &wrong, &wrong, &wrong].concat();
    for (table, key, value, expected) in [
        (Table::Sizes, b"a\0".to_vec(), Some(wrong.clone()), "the size on record"),
        (Table::Sizes, b"a\0".to_vec(), None, "no size on record"),
        (Table::Sizes, b"b\0".to_vec(), Some(wrong.clone()), "the size on record"),
        (Table::Sizes, b"\0a".to_vec(), Some(quota), "does not count the 10 bytes"),
        (Table::Usage, nobody.clone(), Some(pulls), "which is not a member"),
        (Table::Usage, nobody, Some(vec![9]), "malformed usage"),
    ] {
        let (index, disk) = (Arc::new(MemoryIndex::default()), SimDisk::new(0));
        let engine = over(&index, &disk, with(&[("a", 1000)], None)).await;
        try_push(&engine, "a", &content(1, 10)).await.expect("pushed");
        engine.close().await.expect("closed");
        write(&index, vec![(table, key, value)]);
        let report = check::check_parts(index, Arc::new(disk)).await.expect("checked");
        assert_eq!(report.findings.len(), 1, "{report}");
        assert!(report.to_string().contains(expected), "{report}");
    }
}

async fn allow(engine: &Engine, options: &Options) {
    engine.allow(Allowances::from(options)).await.expect("allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_stored_changes_while_the_store_is_open() {
    let root = tempfile::tempdir().expect("a directory");
    let engine = open(root.path(), &with(&[("", 1000), ("team", 1000)], None)).await;
    for (ns, len) in [("team", 10), ("team/a", 200), ("teams", 300), ("b", 40)] {
        try_push(&engine, ns, &content(len, usize::try_from(len).expect("small"))).await.expect("it fits");
    }
    let next = with(&[("team", 210), ("team/a", 500), ("b", 40)], Some(4));
    allow(&engine, &next).await;
    let uses =
        |uses: &[(&str, u64)]| uses.iter().map(|(prefix, used)| ((*prefix).to_owned(), *used)).collect::<Vec<_>>();
    assert_eq!(used(&engine), uses(&[("team", 210), ("team/a", 200), ("b", 40)]), "known, and summed up");
    assert!(is_over(&try_push(&engine, "team/a", b"x").await, "team"), "lowered");
    assert!(is_over(&engine.room_for(&namespace("b"), 1, None).await, "b"));
    assert!(try_push(&engine, "teams", &content(7, 2000)).await.is_ok(), "the one for all is gone");
    assert!(matches!(try_push(&engine, "fifth", b"x").await, Err(Error::TooManyNamespaces { max: 4 })));
    allow(&engine, &with(&[("team", 300)], Some(5))).await;
    assert!(try_push(&engine, "fifth", b"x").await.is_ok(), "four are counted still");
    assert!(matches!(try_push(&engine, "sixth", b"x").await, Err(Error::TooManyNamespaces { max: 5 })));
    assert!(try_push(&engine, "team/a", b"x").await.is_ok(), "raised");
    allow(&engine, &Options { blob_bytes_max: 100, inline_bytes_max: 10, ..with(&[], None) }).await;
    assert!(matches!(try_push(&engine, "b", &content(9, 101)).await, Err(Error::TooLarge { max: 100, .. })));
    assert!(try_push(&engine, "b", &content(9, 100)).await.is_ok(), "a file now");
    assert!(try_push(&engine, "sixth", b"x").await.is_ok() && used(&engine).is_empty());

    let many = (0..=orlop_engine::QUOTAS_MAX).map(|at| Quota { prefix: format!("p{at}"), bytes: 1 }).collect();
    let many = engine.allow(Allowances { quotas: many, ..Allowances::from(&next) }).await;
    assert!(matches!(many, Err(Error::TooLarge { what: "quotas", .. })), "{many:?}");
    assert!(used(&engine).is_empty(), "nothing has changed");
    close_and_check(engine, root.path()).await;
}

/// One step of a random history: push, or take out, content of a namespace; or other quotas, and back.
#[derive(Debug, Clone)]
enum Step {
    Push(usize, u64),
    Remove(usize, u64),
    Change,
}

const NAMESPACES: [&str; 4] = ["a", "a/b", "a/b/c", "ab"];

/// Sizes and quotas against sums over a map, through restarts with other quotas.
#[test]
fn sums_are_those_of_a_model() {
    let step = (0..4usize, 0..6u64, 0..8u8);
    let step = step.prop_map(|(ns, size, kind)| match kind {
        0 => Step::Change,
        1..=4 => Step::Push(ns, size),
        _ => Step::Remove(ns, size),
    });
    let history = proptest::collection::vec(step, 1..40);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(24) });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let checked = runner.run(&(history, 0..20u64), |(history, max)| {
        runtime.block_on(check_history(&history, max));
        Ok(())
    });
    checked.expect("the model agrees");
}

async fn check_history(history: &[Step], max: u64) {
    let root = tempfile::tempdir().expect("a directory");
    let options = with(&[("a", max), ("a/b", 9)], None);
    let mut engine = open(root.path(), &options).await;
    let mut model: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    let sum = |model: &BTreeMap<(usize, u64), u64>, of: &[usize]| -> u64 {
        model.iter().filter(|((ns, _), _)| of.contains(ns)).map(|(_, size)| size).sum()
    };
    for (at, step) in history.iter().enumerate() {
        match step {
            Step::Push(ns, size) => {
                let bytes = vec![u8::try_from(*size).expect("small"); usize::try_from(*size).expect("small")];
                let pushed = try_push(&engine, NAMESPACES[*ns], &bytes).await;
                let is_new = !model.contains_key(&(*ns, *size));
                let fits = |of: &[usize], max| !of.contains(ns) || sum(&model, of) + size <= max;
                let fits = *size == 0 || !is_new || (fits(&[0, 1, 2], max) && fits(&[1, 2], 9));
                assert_eq!(pushed.is_ok(), fits, "{step:?} of {history:?}");
                if fits {
                    model.insert((*ns, *size), *size);
                }
            }
            Step::Remove(ns, size) => {
                let bytes = vec![u8::try_from(*size).expect("small"); usize::try_from(*size).expect("small")];
                let batch = Batch::new(namespace(NAMESPACES[*ns])).remove(sha256(&bytes), Removal::Always);
                let removed = engine.commit(batch).await.is_ok();
                assert_eq!(removed, model.remove(&(*ns, *size)).is_some());
            }
            Step::Change => {
                allow(&engine, &with(&[("", 1 << 20), ("a/b", 5)], Some(9))).await;
                assert_eq!(used(&engine)[0].1, sum(&model, &[0, 1, 2, 3]), "{history:?}");
                allow(&engine, &options).await;
            }
        }
        if at % 16 == 15 {
            close_and_check(engine, root.path()).await;
            engine = open(root.path(), &options).await;
        }
    }
    assert_eq!(used(&engine), [("a".to_owned(), sum(&model, &[0, 1, 2])), ("a/b".to_owned(), sum(&model, &[1, 2]))]);
    let sizes = engine.sizes().await.expect("read").into_iter();
    let sizes: Vec<(String, u64)> = sizes.map(|size| (size.namespace.as_str().to_owned(), size.bytes)).collect();
    let expected = (0..4).map(|ns| (NAMESPACES[ns].to_owned(), sum(&model, &[ns]))).filter(|(_, bytes)| *bytes > 0);
    assert_eq!(sizes, expected.collect::<Vec<_>>());
    close_and_check(engine, root.path()).await;
}
