//! Queries: bounded results, strict decoding, and values that come back when they are sent again.

use orlop_api::protocol::{
    Query, percent,
    query::{
        ARTIFACT_TYPES_MAX, LAST_BYTES_MAX, PAGE_ENTRIES_MAX, PARAMETERS_MAX, QUERY_BYTES_MAX, QueryError, TAGS_MAX,
    },
};

use crate::slow;

pub fn run(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let expected = slow(raw);
    let query = match Query::parse(Some(raw)) {
        Ok(query) => query,
        Err(error) => {
            assert_eq!(expected, None, "refused {raw:?}: {error}");
            return;
        }
    };
    let parameters = expected.unwrap_or_else(|| panic!("accepted {raw:?}"));
    let values = |name: &str| -> Vec<&str> {
        parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect()
    };
    pages(&query, &values("n"), &values("last"));
    tags(&query, &values("tag"));
    single(&values("digest"), slow::is_digest, query.digest().map(|digest| digest.map(|digest| digest.to_string())));
    single(
        &values("digest-algorithm"),
        |text| matches!(text, "sha256" | "sha512" | "blake3"),
        query.algorithm().map(|algorithm| algorithm.map(|algorithm| algorithm.to_string())),
    );
    single(
        &values("mount"),
        slow::is_digest,
        match query.mount() {
            // Not about the digest: the repository is at fault.
            Err(QueryError::Name { .. } | QueryError::Repeated { name: "from" }) => return,
            mount => mount.map(|mount| mount.map(|mount| mount.digest.to_string())),
        },
    );
    if let Ok(types) = query.artifact_types() {
        assert_eq!(types, values("artifactType"));
        assert!(types.len() <= ARTIFACT_TYPES_MAX);
    }
}

fn pages(query: &Query<'_>, n: &[&str], last: &[&str]) {
    let n_is_good = n.is_empty() || matches!(n, [text] if slow::decimal(text).is_some());
    let last_is_good = last.is_empty() || matches!(last, [text] if text.len() <= LAST_BYTES_MAX);
    let page = query.page();
    assert_eq!(page.is_ok(), n_is_good && last_is_good, "{n:?} {last:?}");
    let Ok(page) = page else { return };
    let wanted = n.first().and_then(|text| slow::decimal(text)).unwrap_or(u128::MAX);
    assert_eq!(page.entries as u128, wanted.min(PAGE_ENTRIES_MAX as u128));
    assert_eq!(page.last.as_deref(), last.first().copied().filter(|last| !last.is_empty()));
}

fn tags(query: &Query<'_>, texts: &[&str]) {
    let good = texts.len() <= TAGS_MAX && texts.iter().all(|text| slow::is_tag(text));
    let tags = query.tags();
    assert_eq!(tags.is_ok(), good, "{texts:?}");
    let Ok(tags) = tags else { return };
    let mut again = String::new();
    for tag in &tags {
        again.push_str("&tag=");
        percent::encode(tag.as_str(), &mut again);
    }
    assert_eq!(Query::parse(Some(&again)).and_then(|query| query.tags()), Ok(tags));
}

/// A parameter with one value: read as it stands, or refused if it is not good.
fn single(texts: &[&str], is_good: fn(&str) -> bool, read: Result<Option<String>, QueryError>) {
    match (texts, read) {
        ([], read) => assert_eq!(read, Ok(None)),
        ([text], Ok(value)) => assert_eq!(value.as_deref(), Some(*text)),
        ([text], Err(_)) => assert!(!is_good(text), "refused {text:?}"),
        (_, read) => assert!(matches!(read, Err(QueryError::Repeated { .. })), "{texts:?}"),
    }
}

fn slow(raw: &str) -> Option<Vec<(String, String)>> {
    let pairs: Vec<&str> = raw.split('&').filter(|pair| !pair.is_empty()).collect();
    if raw.len() > QUERY_BYTES_MAX || pairs.len() > PARAMETERS_MAX {
        return None;
    }
    let decode = |pair: &&str| {
        let at = pair.find('=').unwrap_or(pair.len());
        let value = pair.get(at + 1..).unwrap_or_default();
        Some((slow::percent_decode(&pair[..at])?, slow::percent_decode(value)?))
    };
    pairs.iter().map(decode).collect()
}
