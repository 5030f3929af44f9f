//! When what is taken over counts as pushed.
//!
//! In: times of files, by the clock of whatever machine wrote them. Out: a [`Moment`] for each
//! manifest and tag. The wall time is the file's and is for showing. The time by the store's clock,
//! which policies go by, keeps the order of the pushes and counts every age from the import: a file
//! time that is wrong, or a clock that is wrong today, then deletes nothing early. An operator who
//! trusts both can have ages by the files instead.

use std::collections::HashMap;

use orlop_api::protocol::Tag;
use orlop_engine::{Digest, Moment, NameUse};

use super::source::Listed;

/// From when ages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ages {
    FromImport,
    FromFiles,
}

/// A manifest with the moments of its push and of its tags' pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    pub digest: Digest,
    pub media_type: Option<String>,
    /// Not known for a manifest that only an index names.
    pub since: Option<Moment>,
    pub tags: Vec<(Tag, Moment)>,
}

/// How much earlier than an import something can count as pushed, so that it stays before what an
/// earlier run took over: as long as a run with interruptions takes, and far less than policies
/// keep anything.
const ORDER_MS_MAX: u64 = 3_600_000;

/// A push: its time, its manifest's place in the list, and its tag's place there.
type Push = (u64, usize, Option<usize>);

/// Gives everything in one repository its moment, the oldest manifest first. `named` is what the
/// repository has already, `started` when the import began.
///
/// The n pushes get the last n milliseconds before `started` in their order. A tag that is there
/// from an earlier run keeps its moment, and the others find their places around it: runs that
/// were interrupted give the same order as one that was not.
pub fn schedule(listed: Vec<Listed>, named: &HashMap<String, NameUse>, started: Moment, ages: Ages) -> Vec<Landing> {
    let mut pushes: Vec<Push> = Vec::new();
    for (manifest, listed) in listed.iter().enumerate() {
        pushes.push((listed.pushed_ms, manifest, None));
        pushes.extend(listed.tags.iter().enumerate().map(|(tag, (_, pushed_ms))| (*pushed_ms, manifest, Some(tag))));
    }
    // Of the same millisecond, as of the same commit: by name.
    let name = |push: &Push| push.2.map(|tag| listed[push.1].tags[tag].0.as_str());
    pushes.sort_by(|one, other| (one.0, name(one)).cmp(&(other.0, name(other))));
    let kept = |push: &Push| {
        let kept = name(push).and_then(|name| named.get(name))?;
        (kept.digest == listed[push.1].digest).then_some(kept.bound.clock_ms)
    };
    let clocks: Vec<u64> = match ages {
        Ages::FromFiles => {
            let age = |push: &Push| started.unix_ms.saturating_sub(push.0);
            pushes.iter().map(|push| started.clock_ms.saturating_sub(age(push))).collect()
        }
        Ages::FromImport => in_order(&pushes.iter().map(kept).collect::<Vec<_>>(), started.clock_ms),
    };
    let moments: HashMap<(usize, Option<usize>), Moment> = pushes
        .iter()
        .zip(clocks)
        .map(|(push, clock_ms)| ((push.1, push.2), Moment { unix_ms: push.0.min(started.unix_ms), clock_ms }))
        .collect();
    let landing = |(manifest, listed): (usize, Listed)| {
        let moment = |tag| moments.get(&(manifest, tag)).copied().unwrap_or(started);
        let tags = listed.tags.into_iter().enumerate().map(|(tag, (name, _))| (name, moment(Some(tag))));
        let tags = tags.collect();
        Landing { digest: listed.digest, media_type: listed.media_type, since: Some(moment(None)), tags }
    };
    let mut landings: Vec<Landing> = listed.into_iter().enumerate().map(landing).collect();
    landings.sort_by_key(|landing| landing.since.map(|since| (since.unix_ms, since.clock_ms)));
    landings
}

/// Times by the store's clock, in milliseconds, for pushes of which some have theirs.
fn in_order(kept: &[Option<u64>], started_ms: u64) -> Vec<u64> {
    let earliest_ms = started_ms.saturating_sub(ORDER_MS_MAX);
    let mut clocks = vec![0; kept.len()];
    let mut later_ms = u64::MAX;
    for (rank, kept) in kept.iter().enumerate().rev() {
        let alone_ms = started_ms.saturating_sub((clocks.len() - 1 - rank) as u64);
        let before_ms = later_ms.saturating_sub(1);
        clocks[rank] = kept.unwrap_or(if before_ms >= earliest_ms { alone_ms.min(before_ms) } else { alone_ms });
        later_ms = later_ms.min(clocks[rank]);
    }
    let mut earlier_ms = 0;
    for (clock_ms, kept) in clocks.iter_mut().zip(kept) {
        if kept.is_none() {
            *clock_ms = (*clock_ms).max(earlier_ms + 1);
        }
        earlier_ms = earlier_ms.max(*clock_ms);
    }
    clocks
}

#[cfg(test)]
mod tests {
    use orlop_engine::{Algorithm, Usage};

    use super::*;

    const STARTED: Moment = Moment { unix_ms: 1_000_000, clock_ms: 500_000_000 };

    fn listed(content: &str, pushed_ms: u64, tags: &[(&str, u64)]) -> Listed {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
        let tags = tags.iter().map(|(tag, ms)| (Tag::parse(tag).expect("a tag"), *ms)).collect();
        Listed { digest, media_type: None, pushed_ms, tags }
    }

    /// Tags in the order of the store's clock, with their wall times.
    fn order(landings: &[Landing]) -> Vec<(&str, u64)> {
        let mut tags: Vec<_> = landings.iter().flat_map(|landing| &landing.tags).collect();
        tags.sort_by_key(|(_, moment)| moment.clock_ms);
        tags.into_iter().map(|(tag, moment)| (tag.as_str(), moment.unix_ms)).collect()
    }

    #[test]
    fn pushes_keep_their_order_and_are_no_older_than_their_number() {
        let all = vec![
            listed("new", 900, &[("new", 900)]),
            listed("old", 3, &[("old", 3)]),
            // A file from the future, and one without a time.
            listed("later", 9_999_999, &[("later", 9_999_999), ("nothing", 0)]),
        ];
        let landings = schedule(all, &HashMap::new(), STARTED, Ages::FromImport);
        assert_eq!(landings[0].since.map(|since| since.unix_ms), Some(3), "the oldest first");
        assert_eq!(order(&landings), [("nothing", 0), ("old", 3), ("new", 900), ("later", 1_000_000)]);
        for (_, moment) in landings.iter().flat_map(|landing| &landing.tags) {
            assert!((STARTED.clock_ms - 7..=STARTED.clock_ms).contains(&moment.clock_ms), "{moment:?}");
        }
    }

    /// Whatever part of a first run was done, the second one gives the order of the files.
    #[test]
    fn a_second_run_keeps_the_order_of_the_first() {
        let named = |number: u64| format!("t{number:02}");
        let all = || (0..40).map(|number| listed(&named(number), 10 + number, &[(&named(number), 10 + number)]));
        let first = schedule(all().collect(), &HashMap::new(), STARTED, Ages::FromImport);
        for done in [0..1, 39..40, 10..30] {
            for later_ms in [0, 5, 100, ORDER_MS_MAX - 100] {
                let kept = |landing: &Landing| {
                    let (tag, bound) = landing.tags[0].clone();
                    let (name, usage) = (tag.to_string(), Usage::default());
                    (name.clone(), NameUse { name, digest: landing.digest, bound, usage })
                };
                let kept: HashMap<_, _> = first[done.clone()].iter().map(kept).collect();
                let started = Moment { clock_ms: STARTED.clock_ms + later_ms, ..STARTED };
                let second = schedule(all().collect(), &kept, started, Ages::FromImport);
                let order = order(&second);
                assert!(order.is_sorted(), "{done:?} done, {later_ms} ms later: {order:?}");
                for (name, kept) in kept {
                    let tags = second.iter().flat_map(|landing| &landing.tags);
                    assert!(tags.clone().any(|(tag, moment)| tag.as_str() == name && *moment == kept.bound));
                }
            }
        }
    }

    /// What an import long ago took over makes nothing old that comes in now.
    #[test]
    fn an_old_file_is_not_as_old_as_an_old_import() {
        let long_ago = Moment { unix_ms: 500, clock_ms: 1 };
        let digest = listed("b", 0, &[]).digest;
        let kept = NameUse { name: "b".into(), digest, bound: long_ago, usage: Usage::default() };
        let started = Moment { clock_ms: 10 * ORDER_MS_MAX, ..STARTED };
        let all = vec![listed("a", 0, &[("a", 0)]), listed("b", 500, &[("b", 500)])];
        let landings = schedule(all, &HashMap::from([("b".to_owned(), kept)]), started, Ages::FromImport);
        let a = landings.iter().find(|landing| landing.tags[0].0.as_str() == "a").expect("there");
        assert!(a.tags[0].1.clock_ms > started.clock_ms - 10, "{a:?}");
    }

    #[test]
    fn ages_can_be_those_of_the_files() {
        let all = vec![listed("a", 400_000, &[("a", 400_000), ("b", 0)])];
        let landings = schedule(all, &HashMap::new(), STARTED, Ages::FromFiles);
        assert_eq!(landings[0].since, Some(Moment { unix_ms: 400_000, clock_ms: 499_400_000 }));
        assert_eq!(landings[0].tags[1].1, Moment { unix_ms: 0, clock_ms: 499_000_000 });
        let recent = schedule(vec![listed("a", 999_000, &[])], &HashMap::new(), STARTED, Ages::FromFiles);
        assert_eq!(recent[0].since, Some(Moment { unix_ms: 999_000, clock_ms: 499_999_000 }));
    }
}
