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

/// Gives everything in one repository its moment. `named` is what the repository has already,
/// `started` when the import began.
///
/// The n pushes get the last n milliseconds before `started` in their order. A tag that is there
/// from an earlier run keeps its moment, and what was pushed after it comes after it: runs that
/// were interrupted give the same order as one that was not.
pub fn schedule(listed: Vec<Listed>, named: &HashMap<String, NameUse>, started: Moment, ages: Ages) -> Vec<Landing> {
    let mut pushes: Vec<(u64, usize, Option<usize>)> = Vec::new();
    for (manifest, listed) in listed.iter().enumerate() {
        pushes.push((listed.pushed_ms, manifest, None));
        pushes.extend(listed.tags.iter().enumerate().map(|(tag, (_, pushed_ms))| (*pushed_ms, manifest, Some(tag))));
    }
    // Of the same millisecond, as of the same commit: by name.
    let name = |manifest: usize, tag: Option<usize>| tag.map(|tag| listed[manifest].tags[tag].0.as_str());
    pushes.sort_by(|one, other| (one.0, name(one.1, one.2)).cmp(&(other.0, name(other.1, other.2))));
    let mut moments: HashMap<(usize, Option<usize>), Moment> = HashMap::new();
    let mut latest_ms = 0;
    for (rank, (pushed_ms, manifest, tag)) in pushes.iter().enumerate() {
        let unix_ms = (*pushed_ms).min(started.unix_ms);
        let after = (pushes.len() - 1 - rank) as u64;
        let clock_ms = match ages {
            Ages::FromFiles => started.clock_ms.saturating_sub(started.unix_ms - unix_ms),
            Ages::FromImport => {
                let kept = name(*manifest, *tag).and_then(|name| named.get(name));
                let kept = kept.filter(|kept| kept.digest == listed[*manifest].digest);
                kept.map_or(started.clock_ms.saturating_sub(after).max(latest_ms + 1), |kept| kept.bound.clock_ms)
            }
        };
        latest_ms = latest_ms.max(clock_ms);
        moments.insert((*manifest, *tag), Moment { unix_ms, clock_ms });
    }
    let landing = |(manifest, listed): (usize, Listed)| {
        let moment = |tag| moments.get(&(manifest, tag)).copied().unwrap_or(started);
        let tags = listed.tags.into_iter().enumerate().map(|(tag, (name, _))| (name, moment(Some(tag))));
        Landing {
            digest: listed.digest,
            media_type: listed.media_type,
            since: Some(moment(None)),
            tags: tags.collect(),
        }
    };
    listed.clone().into_iter().enumerate().map(landing).collect()
}

#[cfg(test)]
mod tests {
    use orlop_engine::{Algorithm, Usage};

    use super::*;

    const STARTED: Moment = Moment { unix_ms: 1_000_000, clock_ms: 500_000 };

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
        assert_eq!(order(&landings), [("nothing", 0), ("old", 3), ("new", 900), ("later", 1_000_000)]);
        for (_, moment) in landings.iter().flat_map(|landing| &landing.tags) {
            assert!((STARTED.clock_ms - 7..=STARTED.clock_ms).contains(&moment.clock_ms), "{moment:?}");
        }
    }

    #[test]
    fn a_second_run_goes_on_after_the_first() {
        let first = schedule(vec![listed("a", 10, &[("a", 10)])], &HashMap::new(), STARTED, Ages::FromImport);
        let bound = first[0].tags[0].1;
        let kept = NameUse { name: "a".into(), digest: first[0].digest, bound, usage: Usage::default() };
        let named = HashMap::from([("a".to_owned(), kept)]);
        // It begins before the clock moved on.
        let all: Vec<Listed> =
            (0..40).map(|at| listed(&format!("{at}"), 11 + at, &[(&format!("t{at:02}"), 11 + at)])).collect();
        let all = [vec![listed("a", 10, &[("a", 10)])], all].concat();
        let second = schedule(all, &named, STARTED, Ages::FromImport);
        assert_eq!(second[0].tags[0].1, bound);
        let order = order(&second);
        assert_eq!(order[0], ("a", 10));
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn ages_can_be_those_of_the_files() {
        let all = vec![listed("a", 400_000, &[("a", 400_000), ("b", 0)])];
        let landings = schedule(all, &HashMap::new(), STARTED, Ages::FromFiles);
        assert_eq!(landings[0].since, Some(Moment { unix_ms: 400_000, clock_ms: 0 }));
        assert_eq!(landings[0].tags[1].1, Moment { unix_ms: 0, clock_ms: 0 });
        let recent = schedule(vec![listed("a", 999_000, &[])], &HashMap::new(), STARTED, Ages::FromFiles);
        assert_eq!(recent[0].since, Some(Moment { unix_ms: 999_000, clock_ms: 499_000 }));
    }
}
