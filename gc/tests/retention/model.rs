//! Verdicts over random policies and names against a model that follows the definition name by name,
//! counting for each how many others are before it.

use std::time::Duration;

use orlop_gc::retention::{Candidate, Glob, KeepNames, NamePattern, Policy, Retention, Rules, Times, evaluate};
use proptest::prelude::*;

const NOW_MS: u64 = 40;

#[derive(Debug, Clone)]
struct Entry {
    /// Names that contain one of these match; empty: all.
    parts: Vec<String>,
    rules: Rules,
}

impl Entry {
    fn matches(&self, name: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|part| name.contains(part.as_str()))
    }

    /// Whether the entry keeps a name when it is asked about the names of `group`.
    fn keeps(&self, at: usize, group: &[usize], names: &[(String, Times)]) -> bool {
        let Rules { pushed_count, pulled_count, pushed_within, pulled_within } = self.rules;
        let time = |ms: u64| ms.min(NOW_MS);
        let young = |ms: u64, within: Duration| u128::from(NOW_MS - time(ms)) <= within.as_millis();
        let pushed = |at: usize| (time(names[at].1.pushed_ms), at);
        let pulled = |at: usize| (names[at].1.pulled_ms.map(time), time(names[at].1.pushed_ms), at);
        let later_pushed = group.iter().filter(|other| pushed(**other) > pushed(at)).count() as u64;
        let later_pulled = group.iter().filter(|other| pulled(**other) > pulled(at)).count() as u64;
        let times = names[at].1;
        self.rules == Rules::default()
            || pushed_count.is_some_and(|count| later_pushed < count)
            || pulled_count.is_some_and(|count| later_pulled < count)
            || pushed_within.is_some_and(|within| young(times.pushed_ms, within))
            || pulled_within.is_some_and(|within| young(times.pushed_ms, within))
            || pulled_within.is_some_and(|within| times.pulled_ms.is_some_and(|pulled| young(pulled, within)))
    }
}

/// zot's reading: only the first entry that matches speaks for a name, and its counts are over the
/// names it is the first for.
fn first_keeps(entries: &[Entry], names: &[(String, Times)], at: usize) -> bool {
    let first = |at: usize| entries.iter().position(|entry| entry.matches(&names[at].0));
    let Some(entry) = first(at) else { return false };
    let group: Vec<usize> = (0..names.len()).filter(|other| first(*other) == Some(entry)).collect();
    entries[entry].keeps(at, &group, names)
}

/// Each entry speaks for all names it matches, as if it were the only one.
fn any_keeps(entries: &[Entry], names: &[(String, Times)], at: usize) -> bool {
    entries.iter().filter(|entry| entry.matches(&names[at].0)).any(|entry| {
        let group: Vec<usize> = (0..names.len()).filter(|other| entry.matches(&names[*other].0)).collect();
        entry.keeps(at, &group, names)
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let count = || proptest::option::of(1..4u64);
    let within = || proptest::option::of((0..30u64).prop_map(Duration::from_millis));
    (count(), count(), within(), within()).prop_map(|(pushed_count, pulled_count, pushed_within, pulled_within)| {
        Rules { pushed_count, pulled_count, pushed_within, pulled_within }
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (proptest::collection::vec("[ab]{1,2}", 0..3), rules());
    proptest::collection::vec(entry.prop_map(|(parts, rules)| Entry { parts, rules }), 1..5)
}

/// Names in byte order, some with times after now.
fn names() -> impl Strategy<Value = Vec<(String, Times)>> {
    let times = (0..50u64, proptest::option::of(0..50u64));
    let times = times.prop_map(|(pushed_ms, pulled_ms)| Times { pushed_ms, pulled_ms });
    proptest::collection::btree_map("[abc]{1,3}", times, 0..16).prop_map(|names| names.into_iter().collect())
}

fn policies(entries: &[Entry]) -> Retention {
    let keep = |entry: &Entry| KeepNames {
        patterns: entry.parts.iter().map(|part| NamePattern::new(part).expect("plain text")).collect(),
        rules: entry.rules,
    };
    let namespaces = vec![Glob::new("**").expect("a glob")];
    let policy = Policy { namespaces, keep_names: entries.iter().map(keep).collect(), ..Policy::default() };
    Retention { policies: vec![policy], ..Retention::default() }
}

fn kept(retention: &Retention, names: &[(String, Times)], now_ms: u64) -> Vec<bool> {
    let candidates: Vec<Candidate<'_>> = names.iter().map(|(name, times)| Candidate { name, times: *times }).collect();
    evaluate(retention, "any", &candidates, now_ms).iter().map(|verdict| verdict.keeps()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_name_is_kept_if_and_only_if_one_of_the_two_readings_keeps_it(entries in entries(), names in names()) {
        let kept = kept(&policies(&entries), &names, NOW_MS);
        for at in 0..names.len() {
            let expected = first_keeps(&entries, &names, at) || any_keeps(&entries, &names, at);
            prop_assert_eq!(kept[at], expected, "{:?} of {:?}", names[at], names);
        }
    }

    /// Entries never take from each other: one more keeps as much or more.
    #[test]
    fn an_entry_at_the_end_drops_nothing_by_being_there(entries in entries(), names in names()) {
        let (with, without) = (kept(&policies(&entries), &names, NOW_MS), &entries[..entries.len() - 1]);
        if !without.is_empty() {
            for (with, without) in with.into_iter().zip(kept(&policies(without), &names, NOW_MS)) {
                prop_assert!(with || !without);
            }
        }
    }

    /// The store's clock can stand behind the times of names after a crash. A clock that is behind
    /// never drops by age what the right one keeps.
    #[test]
    fn a_clock_that_stands_behind_drops_nothing_by_age(entries in entries(), names in names(), behind in 0..40u64) {
        let by_age: Vec<Entry> = entries
            .into_iter()
            .map(|entry| Entry { rules: Rules { pushed_count: None, pulled_count: None, ..entry.rules }, ..entry })
            .collect();
        let policies = policies(&by_age);
        let right = kept(&policies, &names, NOW_MS);
        for (behind, right) in kept(&policies, &names, NOW_MS - behind).into_iter().zip(right) {
            prop_assert!(behind || !right);
        }
    }
}
