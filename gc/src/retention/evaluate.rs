//! From policies and times to verdicts.
//!
//! Each entry of a policy is asked about two groups of names: those of which it is the first entry
//! that matches, and all that it matches. What it keeps of either group is kept. The first group is
//! how zot reads its configuration; the second makes entries independent of each other, so that
//! "keep the last one of these" holds whatever stands before it. Reading it both ways can keep up to
//! twice the count where patterns overlap, and never drops what one of the readings keeps.

use std::{cmp::Reverse, time::Duration};

use super::{Dropped, KeepNames, Kept, Retention, Rule, Rules, Verdict};

/// When something was pushed and pulled last, by the store's clock in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    pub pushed_ms: u64,
    /// Nothing: never.
    pub pulled_ms: Option<u64>,
}

/// A name that may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub times: Times,
}

/// The verdict on each name of a namespace, in the order given: the whole namespace in byte order,
/// because counts are over all of it and of equal times the last in the list counts as the latest.
/// `now_ms` is the store's clock; times after it count as now.
///
/// Takes time in proportion to the names and the patterns that are tried on them, and memory in
/// proportion to the names.
pub fn evaluate(retention: &Retention, namespace: &str, names: &[Candidate<'_>], now_ms: u64) -> Vec<Verdict> {
    let Some((number, policy)) = retention.policy_of(namespace) else {
        return vec![Verdict::Keep(Kept::NoPolicy); names.len()];
    };
    if policy.keep_names.is_empty() {
        return vec![Verdict::Keep(Kept::AllNames { policy: number }); names.len()];
    }
    let times: Vec<Times> = names.iter().map(|candidate| candidate.times.until(now_ms)).collect();
    let groups = Groups::of(&policy.keep_names, names);
    let mut kept: Vec<Option<Kept>> = vec![None; names.len()];
    for (entry, keep) in policy.keep_names.iter().enumerate() {
        let mut note = |(at, rule): (usize, Rule)| {
            kept[at].get_or_insert(Kept::ByRule { policy: number, entry, rule });
        };
        judge(&keep.rules, &groups.all[entry], &times, now_ms).into_iter().for_each(&mut note);
        if groups.first[entry].len() < groups.all[entry].len() {
            judge(&keep.rules, &groups.first[entry], &times, now_ms).into_iter().for_each(&mut note);
        }
    }
    let verdict = |(at, kept): (usize, Option<Kept>)| match kept {
        Some(kept) => Verdict::Keep(kept),
        None => Verdict::Drop(groups.reason(number, at)),
    };
    kept.into_iter().enumerate().map(verdict).collect()
}

/// The names of each entry, by their places in the list.
struct Groups {
    first: Vec<Vec<usize>>,
    all: Vec<Vec<usize>>,
}

impl Groups {
    fn of(entries: &[KeepNames], names: &[Candidate<'_>]) -> Self {
        let mut groups = Groups { first: vec![Vec::new(); entries.len()], all: vec![Vec::new(); entries.len()] };
        for (at, candidate) in names.iter().enumerate() {
            let matching = entries.iter().enumerate().filter(|(_, entry)| entry.matches(candidate.name));
            for (place, (entry, _)) in matching.enumerate() {
                groups.all[entry].push(at);
                if place == 0 {
                    groups.first[entry].push(at);
                }
            }
        }
        groups
    }

    /// Why a name that no entry keeps is dropped.
    fn reason(&self, policy: usize, at: usize) -> Dropped {
        let matching = self.all.iter().enumerate().filter(|(_, group)| group.binary_search(&at).is_ok());
        let entries: Vec<usize> = matching.map(|(entry, _)| entry).collect();
        if entries.is_empty() { Dropped::NoEntry { policy } } else { Dropped::NoRule { policy, entries } }
    }
}

impl Times {
    /// What lies in the future is taken as now.
    pub(super) fn until(self, now_ms: u64) -> Times {
        Times { pushed_ms: self.pushed_ms.min(now_ms), pulled_ms: self.pulled_ms.map(|ms| ms.min(now_ms)) }
    }

    fn used_ms(self) -> u64 {
        self.pulled_ms.map_or(self.pushed_ms, |pulled_ms| pulled_ms.max(self.pushed_ms))
    }
}

/// Those of a group that a rule keeps, each with one rule. No time may lie after `now_ms`.
pub(super) fn judge(rules: &Rules, group: &[usize], times: &[Times], now_ms: u64) -> Vec<(usize, Rule)> {
    if rules.is_empty() {
        return group.iter().map(|at| (*at, Rule::Always)).collect();
    }
    let mut kept = Vec::new();
    if let Some(within) = rules.pushed_within {
        let young = |at: &usize| age(times[*at].pushed_ms, now_ms, within);
        kept.extend(group.iter().filter_map(|at| Some((*at, Rule::PushedWithin { age: young(at)?, within }))));
    }
    if let Some(within) = rules.pulled_within {
        let young = |at: &usize| age(times[*at].used_ms(), now_ms, within);
        kept.extend(group.iter().filter_map(|at| Some((*at, Rule::PulledWithin { age: young(at)?, within }))));
    }
    if let Some(count) = rules.pushed_count {
        let latest = latest(group, count, |at| times[at].pushed_ms);
        kept.extend(latest.map(|(rank, at)| (at, Rule::PushedCount { rank, count })));
    }
    if let Some(count) = rules.pulled_count {
        // None is before every time.
        let latest = latest(group, count, |at| (times[at].pulled_ms, times[at].pushed_ms));
        kept.extend(latest.map(|(rank, at)| (at, Rule::PulledCount { rank, count })));
    }
    kept
}

/// How old something is, if it is not older than allowed.
fn age(since_ms: u64, now_ms: u64, within: Duration) -> Option<Duration> {
    let age = Duration::from_millis(now_ms - since_ms);
    (age <= within).then_some(age)
}

/// The `count` greatest of a group, with their ranks from 1; of equal ones the last in the list.
fn latest<T: Ord>(group: &[usize], count: u64, time: impl Fn(usize) -> T) -> impl Iterator<Item = (u64, usize)> {
    let mut order = group.to_vec();
    order.sort_by_key(|at| Reverse((time(*at), *at)));
    (1..=count).zip(order)
}
