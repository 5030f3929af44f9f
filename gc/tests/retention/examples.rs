//! What each rule means, by example.

use std::time::Duration;

use orlop_gc::retention::{
    Candidate, Dropped, Glob, KeepNames, Kept, NamePattern, Policy, Retention, Rule, Rules, Times, Verdict, evaluate,
};

const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1_000 * HOUR_MS;

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn entry(patterns: &[&str], rules: Rules) -> KeepNames {
    let patterns = patterns.iter().map(|text| NamePattern::new(text).expect("a pattern")).collect();
    KeepNames { patterns, rules }
}

fn pushed_count(count: u64) -> Rules {
    Rules { pushed_count: Some(count), ..Rules::default() }
}

fn policy(globs: &[&str], keep_names: Vec<KeepNames>) -> Policy {
    let namespaces = globs.iter().map(|text| Glob::new(text).expect("a glob")).collect();
    Policy { namespaces, keep_names, ..Policy::default() }
}

fn retention(keep_names: Vec<KeepNames>) -> Retention {
    Retention { policies: vec![policy(&["**"], keep_names)], ..Retention::default() }
}

/// A name with the hours since its push and its pull.
fn name(name: &str, pushed_ago: u64, pulled_ago: Option<u64>) -> Candidate<'_> {
    let before = |ago: u64| NOW_MS - ago * HOUR_MS;
    Candidate { name, times: Times { pushed_ms: before(pushed_ago), pulled_ms: pulled_ago.map(before) } }
}

fn kept<'a>(retention: &Retention, names: &[Candidate<'a>]) -> Vec<&'a str> {
    let verdicts = evaluate(retention, "app", names, NOW_MS);
    names.iter().zip(verdicts).filter(|(_, verdict)| verdict.keeps()).map(|(candidate, _)| candidate.name).collect()
}

#[test]
fn without_a_policy_for_names_all_are_kept() {
    let names = [name("a", 999, None)];
    assert_eq!(evaluate(&Retention::default(), "app", &names, NOW_MS), [Verdict::Keep(Kept::NoPolicy)]);
    let elsewhere = Retention { policies: vec![policy(&["other/**"], vec![])], ..Retention::default() };
    assert_eq!(evaluate(&elsewhere, "app", &names, NOW_MS), [Verdict::Keep(Kept::NoPolicy)]);
    assert_eq!(evaluate(&retention(vec![]), "app", &names, NOW_MS), [Verdict::Keep(Kept::AllNames { policy: 0 })]);
}

#[test]
fn the_first_policy_that_matches_a_namespace_is_the_only_one() {
    let strict = policy(&["tmp/**", "app"], vec![entry(&["^keep$"], Rules::default())]);
    let lenient = policy(&["**"], vec![]);
    let policies = Retention { policies: vec![strict, lenient], ..Retention::default() };
    let names = [name("drop", 1, None), name("keep", 1, None)];
    assert_eq!(kept(&policies, &names), ["keep"]);
    let verdicts = evaluate(&policies, "other", &names, NOW_MS);
    assert_eq!(verdicts, vec![Verdict::Keep(Kept::AllNames { policy: 1 }); 2]);
}

#[test]
fn a_name_that_no_pattern_matches_is_dropped_and_the_reason_says_so() {
    let policies = retention(vec![entry(&["^v"], pushed_count(1))]);
    let names = [name("latest", 1, None), name("v1", 2, None), name("v2", 1, None)];
    let verdicts = evaluate(&policies, "app", &names, NOW_MS);
    assert_eq!(verdicts[0], Verdict::Drop(Dropped::NoEntry { policy: 0 }));
    assert_eq!(verdicts[1], Verdict::Drop(Dropped::NoRule { policy: 0, entries: vec![0] }));
    let rule = Rule::PushedCount { rank: 1, count: 1 };
    assert_eq!(verdicts[2], Verdict::Keep(Kept::ByRule { policy: 0, entry: 0, rule }));
}

#[test]
fn each_rule_keeps_by_itself() {
    let names = [name("a", 10, Some(9)), name("b", 20, Some(1)), name("c", 30, None), name("d", 40, Some(39))];
    let pulled = Rules { pulled_count: Some(2), ..Rules::default() };
    let pushed_within = Rules { pushed_within: Some(hours(20)), ..Rules::default() };
    let pulled_within = Rules { pulled_within: Some(hours(10)), ..Rules::default() };
    for (rules, expected) in [
        (pushed_count(3), &["a", "b", "c"][..]),
        (pulled, &["a", "b"]),
        (pushed_within, &["a", "b"]),
        // The push of `a` counts as well as its pull.
        (pulled_within, &["a", "b"]),
        (Rules { pulled_count: Some(1), pushed_count: Some(1), ..Rules::default() }, &["a", "b"]),
        (Rules::default(), &["a", "b", "c", "d"]),
    ] {
        assert_eq!(kept(&retention(vec![entry(&[], rules)]), &names), expected, "{rules:?}");
    }
}

#[test]
fn what_was_never_pulled_comes_after_what_was_and_the_last_pushed_first() {
    let names = [name("a", 30, None), name("b", 20, None), name("c", 90, Some(80))];
    let rules = Rules { pulled_count: Some(2), ..Rules::default() };
    assert_eq!(kept(&retention(vec![entry(&[], rules)]), &names), ["b", "c"]);
}

#[test]
fn of_equal_times_the_last_name_is_the_latest() {
    let names = [name("v1", 5, None), name("v2", 5, None), name("v3", 5, None)];
    assert_eq!(kept(&retention(vec![entry(&[], pushed_count(2))]), &names), ["v2", "v3"]);
}

/// The configuration of zot's issue 3804: one entry for each prefix, behind one that is for all.
#[test]
fn entries_with_counts_do_not_take_names_from_each_other() {
    let young = Rules { pushed_within: Some(hours(24)), ..Rules::default() };
    let entries =
        vec![entry(&[".*"], young), entry(&["env18-.*"], pushed_count(1)), entry(&["env19-.*"], pushed_count(1))];
    let names = [
        name("env18-a", 900, None),
        name("env19-a", 950, None),
        name("env19-b", 940, None),
        name("pr-1", 900, None),
        name("pr-2", 1, None),
    ];
    assert_eq!(kept(&retention(entries), &names), ["env18-a", "env19-b", "pr-2"]);
}

#[test]
fn a_name_that_an_earlier_entry_keeps_takes_no_place_of_a_later_count() {
    let entries = vec![entry(&["^latest$"], Rules::default()), entry(&[".*"], pushed_count(1))];
    let names = [name("latest", 1, None), name("v1", 3, None), name("v2", 2, None)];
    assert_eq!(kept(&retention(entries), &names), ["latest", "v2"]);
}

#[test]
fn times_in_the_future_count_as_now() {
    let rules = Rules { pushed_within: Some(hours(1)), ..Rules::default() };
    let future = Times { pushed_ms: u64::MAX, pulled_ms: Some(u64::MAX) };
    let names = [Candidate { name: "future", times: future }, name("past", 2, None)];
    assert_eq!(kept(&retention(vec![entry(&[], rules)]), &names), ["future"]);
}

#[test]
fn unnamed_documents_are_kept_by_their_own_rules() {
    let keep = Rules { pulled_count: Some(1), ..Rules::default() };
    let documents = [name("", 3, None).times, name("", 2, Some(1)).times];
    let mut with = policy(&["app"], vec![]);
    with.keep_unnamed = Some(keep);
    let rules = Retention { policies: vec![with.clone()], ..Retention::default() };
    let unnamed = rules.unnamed("app");
    assert!(unnamed.delete && unnamed.needs_times() && !unnamed.delete_referring);
    assert_eq!(unnamed.keeps(&documents, NOW_MS), [None, Some(Rule::PulledCount { rank: 1, count: 1 })]);

    let other = rules.unnamed("other");
    assert!(other.delete && !other.needs_times());
    assert_eq!(other.keeps(&documents, NOW_MS), [None, None]);

    with.delete_unnamed = false;
    let never = Retention { policies: vec![with], ..Retention::default() };
    assert_eq!(never.unnamed("app").keeps(&documents, NOW_MS), [Some(Rule::Always); 2]);
}
