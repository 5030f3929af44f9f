//! Conditional requests (RFC 9110 section 13) on content named by its digest. The digest is the
//! entity tag, so every comparison is a strong one and no content has to be opened.

use http::{
    HeaderMap, HeaderName,
    header::{IF_NONE_MATCH, IF_RANGE},
};
use orlop_engine::Digest;

/// True if the client says it has this content already: the answer is 304.
pub fn not_modified(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.contains_key(IF_NONE_MATCH) && lists(headers, IF_NONE_MATCH, digest)
}

/// True if the `Range` header may be used: there is no `If-Range`, or it names this content.
/// A date never matches, because content has no modification time here.
pub fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        // Section 13.1.5 wants a strong comparison: a weak tag never matches.
        Some(value) => value.to_str().is_ok_and(|tag| is_tag_of(tag.trim(), digest)),
    }
}

fn lists(headers: &HeaderMap, name: HeaderName, digest: &Digest) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|tag| {
            // Section 13.1.2 wants a weak comparison here: the `W/` does not count.
            tag == "*" || is_tag_of(tag.strip_prefix("W/").unwrap_or(tag), digest)
        })
    })
}

fn is_tag_of(tag: &str, digest: &Digest) -> bool {
    let quoted = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    quoted.is_some_and(|text| text.parse() == Ok(*digest))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use orlop_engine::Algorithm;

    use super::*;

    fn headers(name: HeaderName, value: String) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).expect("a header value"))])
    }

    #[test]
    fn entity_tags_match_by_digest() {
        let digest = Digest::of(Algorithm::Sha256, b"one");
        let other = Digest::of(Algorithm::Sha256, b"two");
        for (value, matches) in [
            (format!("\"{digest}\""), true),
            (format!("W/\"{digest}\""), true),
            (format!("\"{other}\", \"{digest}\""), true),
            ("*".to_owned(), true),
            (format!("\"{other}\""), false),
            (digest.to_string(), false),
            ("\"".to_owned(), false),
        ] {
            assert_eq!(not_modified(&headers(IF_NONE_MATCH, value.clone()), &digest), matches, "{value}");
        }
        assert!(!not_modified(&HeaderMap::new(), &digest));
    }

    #[test]
    fn if_range_needs_the_strong_tag() {
        let digest = Digest::of(Algorithm::Sha256, b"one");
        for (value, applies) in [
            (format!("\"{digest}\""), true),
            (format!("W/\"{digest}\""), false),
            ("\"other\"".to_owned(), false),
            ("Wed, 21 Oct 2015 07:28:00 GMT".to_owned(), false),
        ] {
            assert_eq!(range_applies(&headers(IF_RANGE, value.clone()), &digest), applies, "{value}");
        }
        assert!(range_applies(&HeaderMap::new(), &digest));
    }
}
