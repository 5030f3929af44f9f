//! Single promises, one by one.

use std::sync::Arc;

use orlop_engine::{Algorithm, Batch, Digest, Edge, Engine, Error, Namespace, Removal};
use orlop_gc::{Clock, Collector, Flow, Keep, Kind, Options, Reason, Report, Rules, Runs, Schedule, Unnamed};

use crate::{clocks::Jumping, common::*};

fn at_once() -> Options {
    Options { delay: 0, document_delay: 0, ..Options::default() }
}

async fn open() -> (Parts, Engine, Namespace) {
    let parts = Parts::new(3);
    let engine = parts.open().await;
    engine.waive_earlier_answers();
    (parts, engine, namespace("a"))
}

fn is_gone<T>(result: &orlop_engine::Result<T>) -> bool {
    matches!(result, Err(Error::NotFound { .. }))
}

#[tokio::test]
async fn whoever_pushed_mounted_or_asked_is_protected_for_the_lease() {
    let (parts, engine, a) = open().await;
    let b = namespace("b");
    let options = at_once();
    let mut digests = Vec::new();
    for number in 0..4 {
        digests.push(push(&engine, &a, &content(number)).await.expect("pushed"));
    }
    advance(&engine, LEASE + 1).await;
    // Each of the three ways renews it, shortly before or after its end.
    push(&engine, &a, &content(0)).await.expect("pushed again");
    let _ = engine.commit(Batch::new(b.clone()).mount(digests[1], vec![a.clone()])).await.expect("mounted");
    engine.find(&a, &digests[2]).await.expect("there");
    for epoch in 0..=LEASE {
        collect(&engine, &options).await;
        for (ns, digest) in [(&a, digests[0]), (&b, digests[1]), (&a, digests[2])] {
            let bytes = pull(&engine, ns, &digest).await;
            assert!(bytes.is_ok(), "{epoch} epochs later: {bytes:?}");
        }
        assert!(is_gone(&pull(&engine, &a, &digests[3]).await), "nobody asked for it");
        advance(&engine, 1).await;
    }
    let report = collect(&engine, &options).await;
    assert_eq!(report.removed.members, 3, "{report}");
    engine.close().await.expect("closed");
    assert_eq!(parts.check().await.blobs, 0);
}

#[tokio::test]
async fn a_lease_outlives_a_document_that_came_and_went() {
    let (_parts, engine, a) = open().await;
    let part = push(&engine, &a, &content(1)).await.expect("pushed");
    let document = push_document(&engine, &a, b"first", vec![Edge::needs(part)], Some("x")).await.expect("pushed");
    let _ = engine.commit(Batch::new(a.clone()).remove(document, Removal::Always)).await.expect("removed");
    collect(&engine, &at_once()).await;
    push_document(&engine, &a, b"second", vec![Edge::needs(part)], Some("x")).await.expect("the part is leased");
}

#[tokio::test]
async fn a_restart_loses_no_lease() {
    let (parts, engine, a) = open().await;
    let digest = push(&engine, &a, &content(1)).await.expect("pushed");
    advance(&engine, LEASE + 1).await;
    engine.find(&a, &digest).await.expect("there");
    engine.close().await.expect("closed");
    let engine = parts.open().await;
    assert!(collect(&engine, &at_once()).await.is_empty(), "somebody may rely on an answer of before");
    engine.waive_earlier_answers();
    assert_eq!(collect(&engine, &at_once()).await.removed.members, 1);
}

/// What referred to it was deleted as well, by hand: there is nothing left that a rule could keep.
#[tokio::test]
async fn an_entry_about_a_target_goes_when_nothing_refers_to_it_any_more() {
    let (parts, engine, a) = open().await;
    let target = push_document(&engine, &a, b"target", vec![], Some("x")).await.expect("pushed");
    let refers = vec![Edge::refers(target, b"payload".to_vec())];
    let note = push_document(&engine, &a, b"note", refers, None).await.expect("pushed");
    let _ = engine.commit(Batch::new(a.clone()).remove(target, Removal::Always)).await.expect("removed");
    advance(&engine, LEASE + 1).await;
    assert_eq!(collect(&engine, &at_once()).await.waiting.ruled, 2, "the note stays, and what is known of its target");
    let _ = engine.commit(Batch::new(a.clone()).remove(note, Removal::Always)).await.expect("removed");
    for _ in 0..2 {
        advance(&engine, 1).await;
        collect(&engine, &at_once()).await;
    }
    let report = collect(&engine, &at_once()).await;
    assert_eq!(report.looked_at, 0, "{report}");
    engine.close().await.expect("closed");
    assert_eq!(parts.check().await.candidates, 0);
}

/// Every combination of named, needed and shared for a document and what it needs.
#[tokio::test]
async fn nested_documents_go_with_what_named_them_and_only_then() {
    for case in 0..32u32 {
        let has = |bit: u32| case & (1 << bit) != 0;
        let (outer_is_named, inner_is_named, other_needs_inner, other_needs_part, elsewhere) =
            (has(0), has(1), has(2), has(3), has(4));
        let (parts, engine, a) = open().await;
        let b = namespace("b");
        let part = push(&engine, &a, &content(1)).await.expect("pushed");
        let name = |is: bool, name: &'static str| is.then_some(name);
        let inner = push_document(&engine, &a, b"inner", vec![Edge::needs(part)], name(inner_is_named, "inner")).await;
        let inner = inner.expect("pushed");
        let outer = push_document(&engine, &a, b"outer", vec![Edge::needs(inner)], name(outer_is_named, "outer")).await;
        let outer = outer.expect("pushed");
        if other_needs_inner {
            push_document(&engine, &a, b"other", vec![Edge::needs(inner)], Some("other")).await.expect("pushed");
        }
        if other_needs_part {
            push_document(&engine, &a, b"another", vec![Edge::needs(part)], Some("another")).await.expect("pushed");
        }
        if elsewhere {
            let _ = engine.commit(Batch::new(b.clone()).mount(part, vec![a.clone()])).await.expect("mounted");
            push_document(&engine, &b, b"b", vec![Edge::needs(part)], Some("b")).await.expect("pushed");
        }
        advance(&engine, LEASE + 1).await;
        collect(&engine, &at_once()).await;
        let inner_stays = outer_is_named || inner_is_named || other_needs_inner;
        for (digest, stays) in [(outer, outer_is_named), (inner, inner_stays), (part, inner_stays || other_needs_part)]
        {
            assert_eq!(!is_gone(&pull(&engine, &a, &digest).await), stays, "case {case:05b}: {digest}");
        }
        assert_eq!(!is_gone(&pull(&engine, &b, &part).await), elsewhere, "case {case:05b}");
        engine.close().await.expect("closed");
        parts.check().await;
    }
}

#[tokio::test]
async fn a_referring_document_stays_with_its_target_and_goes_after_it_if_a_rule_says_so() {
    for (delete_referring, stays) in [(false, true), (true, false)] {
        let (_parts, engine, a) = open().await;
        let target = push_document(&engine, &a, b"target", Vec::new(), Some("x")).await.expect("pushed");
        let refers = |to| vec![Edge::refers(to, Vec::new())];
        let note = push_document(&engine, &a, b"note", refers(target), None).await.expect("pushed");
        let note_on_note = push_document(&engine, &a, b"note on note", refers(note), None).await.expect("pushed");
        let keep = Arc::new(Rules { delete_unnamed: true, delete_referring });
        let options = Options { keep, ..at_once() };
        advance(&engine, LEASE + 1).await;
        assert!(collect(&engine, &options).await.is_empty(), "the target is there");
        let _ = engine.commit(Batch::new(a.clone()).unbind("x")).await.expect("unbound");
        let report = collect(&engine, &options).await;
        assert!(is_gone(&pull(&engine, &a, &target).await), "{report}");
        for digest in [note, note_on_note] {
            assert_eq!(!is_gone(&pull(&engine, &a, &digest).await), stays, "{report}");
        }
    }
}

/// Keeps everything with a certain label.
struct Policy(&'static [u8]);

impl Keep for Policy {
    fn rules(&self, _namespace: &Namespace) -> Rules {
        Rules::default()
    }

    fn keeps(&self, document: &Unnamed<'_>) -> bool {
        document.label == self.0
    }
}

#[tokio::test]
async fn a_policy_keeps_documents_until_it_does_not() {
    let (_parts, engine, a) = open().await;
    let part = push(&engine, &a, &content(1)).await.expect("pushed");
    let document = push_document(&engine, &a, b"unnamed", vec![Edge::needs(part)], None).await.expect("pushed");
    advance(&engine, LEASE + 1).await;
    let keeping = Options { keep: Arc::new(Policy(b"document")), ..at_once() };
    let report = collect(&engine, &keeping).await;
    assert_eq!((report.removed.members, report.waiting.ruled), (0, 1), "{report}");
    let other = Options { keep: Arc::new(Policy(b"other")), ..at_once() };
    let plan = orlop_gc::plan(&engine, &other).await.expect("planned");
    let reasons: Vec<(Kind, Reason)> = plan.removals.iter().map(|removal| (removal.kind, removal.reason)).collect();
    let expected = [
        (Kind::Member, Reason::Unnamed),
        (Kind::Member, Reason::Unneeded),
        (Kind::Content, Reason::Unheld),
        (Kind::Content, Reason::Unheld),
        (Kind::Namespace, Reason::Empty),
    ];
    assert_eq!(reasons, expected, "{plan}");
    assert_eq!(collect(&engine, &other).await.removed, plan.totals);
    assert!(is_gone(&pull(&engine, &a, &document).await));
    assert!(is_gone(&engine.require_namespace(&a).await));
}

#[tokio::test]
async fn a_plan_changes_nothing_and_can_be_printed() {
    let (parts, engine, a) = open().await;
    push(&engine, &a, &content(1)).await.expect("pushed");
    advance(&engine, LEASE + 1).await;
    let before = (parts.disk.operations(), engine.statistics().commits);
    let plan = orlop_gc::plan(&engine, &at_once()).await.expect("planned");
    assert_eq!((parts.disk.operations(), engine.statistics().commits), before);
    assert_eq!((plan.totals.members, plan.totals.contents, plan.totals.bytes), (1, 1, content(1).len() as u64));
    let table = plan.to_string();
    assert!(table.contains("member     unneeded"), "{table}");
    let value = serde_json::to_value(&plan).expect("serialisable");
    assert_eq!(value["removals"][0]["digest"], digest_of(&content(1)).to_string());
    assert_eq!(value["removals"][0]["namespace"], "a");
    assert_eq!(value["totals"]["contents"], 1);
}

#[tokio::test]
async fn an_open_reader_keeps_its_bytes() {
    let (_parts, engine, a) = open().await;
    for number in 0..2 {
        let digest = push(&engine, &a, &content(number)).await.expect("pushed");
        let blob = engine.open_blob(&a, &digest).await.expect("opened");
        advance(&engine, LEASE + 1).await;
        assert_eq!(collect(&engine, &at_once()).await.removed.contents, 1);
        assert!(is_gone(&engine.open_blob(&a, &digest).await));
        assert_eq!(blob.bytes(1 << 20).await.expect("still open"), content(number));
    }
    assert_eq!(engine.statistics().blobs_damaged, 0, "no alarm");
}

#[tokio::test]
async fn abandoned_uploads_go_after_their_delay_and_others_stay() {
    let (_parts, engine, a) = open().await;
    let abandoned = engine.begin(&a, Algorithm::Sha256).await.expect("begun");
    let used = engine.begin(&a, Algorithm::Sha256).await.expect("begun");
    let options = Options { delay: 3, ..at_once() };
    advance(&engine, 2).await;
    engine.resume(&a, used).await.expect("resumed").suspend();
    advance(&engine, 1).await;
    let held = engine.begin(&a, Algorithm::Sha256).await.expect("begun");
    let writer = engine.resume(&a, held).await.expect("resumed");
    assert_eq!(collect(&engine, &options).await.removed.uploads, 1);
    assert!(is_gone(&engine.upload_status(&a, abandoned).await));
    advance(&engine, 20).await;
    assert_eq!(collect(&engine, &options).await.removed.uploads, 1, "the one that was used");
    engine.upload_status(&a, held).await.expect("it has a writer");
    drop(writer);
}

#[tokio::test]
async fn a_run_stops_when_it_is_told_to() {
    let (_parts, engine, a) = open().await;
    for number in 0..200 {
        push(&engine, &a, &content(number)).await.expect("pushed");
    }
    advance(&engine, LEASE + 1).await;
    let mut calls = 0;
    let mut stop = |_: &Report| {
        calls += 1;
        if calls == 2 { Flow::Break(()) } else { Flow::Continue(()) }
    };
    let report = orlop_gc::collect(&engine, &at_once(), &mut stop).await.expect("runs");
    assert!(!report.is_complete && (1..200).contains(&report.removed.members), "{report}");
    let rest = collect(&engine, &at_once()).await;
    assert_eq!(rest.removed.members, 200 - report.removed.members);
}

#[tokio::test(start_paused = true)]
async fn the_collector_runs_in_its_interval_and_on_request_one_at_a_time() {
    let (_parts, engine, a) = open().await;
    push(&engine, &a, &content(1)).await.expect("pushed");
    let clock = Clock::of_lease(std::time::Duration::from_secs(80));
    let collector = Collector::new(engine.clone(), at_once());
    let minute = std::time::Duration::from_secs(60);
    let background = collector.spawn(Schedule { clock, runs: Runs::Every(minute), window: None });
    assert!(collector.start());
    assert!(!collector.start(), "asked for already");
    while collector.status().runs == 0 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(collector.status().last.expect("ran").is_empty(), "the push is leased");
    while collector.status().last.expect("ran").is_empty() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!(engine.epoch() > LEASE, "the clock went on");
    background.stop().await;
    let epoch = engine.epoch();
    tokio::time::sleep(minute * 10).await;
    assert_eq!(engine.epoch(), epoch, "stopped");
}

#[tokio::test]
async fn clocks_that_jump_change_nothing() {
    let mut reports = Vec::new();
    for do_jump in [false, true] {
        let mut parts = Parts::new(9);
        if do_jump {
            parts.options.environment = Arc::new(Jumping::default());
        }
        let engine = parts.open().await;
        engine.waive_earlier_answers();
        let a = namespace("a");
        let options = Options { delay: 3, document_delay: 5, ..Options::default() };
        let mut digests: Vec<Digest> = Vec::new();
        for round in 0..12u64 {
            digests.push(push(&engine, &a, &content(round)).await.expect("pushed"));
            let edges = vec![Edge::needs(digests[digests.len() - 1])];
            let name = (round % 3 == 0).then_some("name");
            push_document(&engine, &a, &content(100 + round), edges, name).await.expect("pushed");
            advance(&engine, 1).await;
            let report = collect(&engine, &options).await;
            reports.push((do_jump, round, report.removed, report.waiting, report.settled));
        }
        engine.close().await.expect("closed");
        parts.check().await;
    }
    let (steady, jumping) = reports.split_at(12);
    assert!(steady.iter().any(|(_, _, removed, ..)| removed.contents > 0));
    let bare = |reports: &[(bool, u64, orlop_gc::Totals, orlop_gc::Waiting, u64)]| {
        reports.iter().map(|(_, round, a, b, c)| (*round, *a, *b, *c)).collect::<Vec<_>>()
    };
    assert_eq!(bare(steady), bare(jumping));
}
