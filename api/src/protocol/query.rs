//! Queries: the raw query of a request comes in, typed parameters come out, each when it is asked
//! for. Parameters nobody asks for are ignored, as proxies and clients add their own.
//!
//! A parameter that has one value is refused when it is given twice: two readers could each take
//! another of them.

use std::borrow::Cow;

use orlop_engine::digest::{Algorithm, Digest, ParseError};

use super::{
    media_type,
    name::{NameError, Repository},
    percent::{self, PercentError},
    reference::{Tag, TagError},
};

/// The longest query in bytes: all tags of a push at their full length, and some more.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;
/// The most parameters in a query, known or not.
pub const PARAMETERS_MAX: usize = 128;
/// The most entries of one page of tags, repositories or referrers, and how many there are if the
/// request does not say.
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// The longest `last` in bytes: the longest repository name. Tags and digests are shorter.
pub const LAST_BYTES_MAX: usize = 255;
/// The most tags one push can set; the spec asks for 10 at least.
pub const TAGS_MAX: usize = 64;
/// The most types one list of referrers can be filtered by.
pub const ARTIFACT_TYPES_MAX: usize = 16;

/// The decoded parameters of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// The page of a list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// 0 to `PAGE_ENTRIES_MAX`: what is asked for beyond that comes with the next page.
    pub entries: usize,
    /// The entry before the page's first.
    pub last: Option<String>,
}

/// A blob to take over from another repository instead of uploading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub digest: Digest,
    /// `None`: from any repository (spec, "Mounting a blob from another repository").
    pub from: Option<Repository>,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("a query has at most {QUERY_BYTES_MAX} bytes, found {found}")]
    Length { found: usize },
    #[error("a query has at most {PARAMETERS_MAX} parameters")]
    Parameters,
    #[error(transparent)]
    Encoding(#[from] PercentError),
    #[error("the parameter '{name}' must be given once")]
    Repeated { name: &'static str },
    #[error("the parameter '{name}' can be given at most {values_max} times")]
    Values { name: &'static str, values_max: usize },
    #[error("the parameter '{name}' is required")]
    Missing { name: &'static str },
    #[error("the parameter '{name}' must be a decimal number, 0 or more")]
    Number { name: &'static str },
    #[error("the parameter '{name}' is too long or has characters that cannot be in it")]
    Value { name: &'static str },
    #[error("the parameter '{name}': {error}")]
    Digest { name: &'static str, error: ParseError },
    #[error("the parameter '{name}': {error}")]
    Name { name: &'static str, error: NameError },
    #[error("the parameter 'tag': {0}")]
    Tag(TagError),
}

impl<'a> Query<'a> {
    /// Splits and decodes a raw query, without its question mark.
    pub fn parse(raw: Option<&'a str>) -> Result<Self, QueryError> {
        let raw = raw.unwrap_or_default();
        if raw.len() > QUERY_BYTES_MAX {
            return Err(QueryError::Length { found: raw.len() });
        }
        let mut parameters = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(QueryError::Parameters);
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((percent::decode(key)?, percent::decode(value)?));
        }
        Ok(Query { parameters })
    }

    /// `n` and `last`.
    pub fn page(&self) -> Result<Page, QueryError> {
        let entries = match self.one("n")? {
            None => PAGE_ENTRIES_MAX,
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                // The digits alone are checked above: a number that does not fit is a large one.
                text.parse().unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX)
            }
            Some(_) => return Err(QueryError::Number { name: "n" }),
        };
        let last = match self.one("last")? {
            None | Some("") => None,
            Some(text) if text.len() <= LAST_BYTES_MAX => Some(text.to_owned()),
            Some(_) => return Err(QueryError::Value { name: "last" }),
        };
        Ok(Page { entries, last })
    }

    /// `digest`: the name that an upload is closed with.
    pub fn digest(&self) -> Result<Option<Digest>, QueryError> {
        self.digest_of("digest")
    }

    /// `digest`, where it is required.
    pub fn required_digest(&self) -> Result<Digest, QueryError> {
        self.digest()?.ok_or(QueryError::Missing { name: "digest" })
    }

    /// `digest-algorithm`: what an upload will be hashed with.
    pub fn algorithm(&self) -> Result<Option<Algorithm>, QueryError> {
        let name = "digest-algorithm";
        let parse = |text: &str| text.parse().map_err(|error| QueryError::Digest { name, error });
        self.one(name)?.map(parse).transpose()
    }

    /// `mount` and `from`.
    pub fn mount(&self) -> Result<Option<Mount>, QueryError> {
        let Some(digest) = self.digest_of("mount")? else { return Ok(None) };
        let from = match self.one("from")? {
            None | Some("") => None,
            Some(text) => {
                let named = |error| QueryError::Name { name: "from", error };
                Some(Repository::parse(text).map_err(named)?)
            }
        };
        Ok(Some(Mount { digest, from }))
    }

    /// Every `tag`, in order, each once.
    pub fn tags(&self) -> Result<Vec<Tag>, QueryError> {
        let mut tags = Vec::new();
        for text in self.many("tag", TAGS_MAX)? {
            let tag = Tag::parse(text).map_err(QueryError::Tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    /// Every `artifactType`: a referrer is listed if it has one of them. None given: no filter.
    pub fn artifact_types(&self) -> Result<Vec<&str>, QueryError> {
        let name = "artifactType";
        let types = self.many(name, ARTIFACT_TYPES_MAX)?;
        if types.iter().all(|text| media_type::is_relayable(text)) {
            Ok(types)
        } else {
            Err(QueryError::Value { name })
        }
    }

    fn digest_of(&self, name: &'static str) -> Result<Option<Digest>, QueryError> {
        let parse = |text: &str| text.parse().map_err(|error| QueryError::Digest { name, error });
        self.one(name)?.map(parse).transpose()
    }

    fn one(&self, name: &'static str) -> Result<Option<&str>, QueryError> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(QueryError::Repeated { name });
        }
        Ok(value)
    }

    fn many(&self, name: &'static str, values_max: usize) -> Result<Vec<&str>, QueryError> {
        let values: Vec<&str> = self.values(name).take(values_max + 1).collect();
        if values.len() > values_max {
            return Err(QueryError::Values { name, values_max });
        }
        Ok(values)
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.parameters.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn query(raw: &str) -> Query<'_> {
        Query::parse(Some(raw)).unwrap()
    }

    #[test]
    fn pages_are_capped() {
        let entries = |raw| query(raw).page().map(|page| page.entries);
        assert_eq!(entries(""), Ok(PAGE_ENTRIES_MAX));
        assert_eq!(entries("n=0"), Ok(0));
        assert_eq!(entries("n=07"), Ok(7));
        for large in ["n=1000", "n=1001", "n=2147483647", "n=9000000000000000000", "n=99999999999999999999999999"] {
            assert_eq!(entries(large), Ok(PAGE_ENTRIES_MAX), "{large}");
        }
        for bad in ["n=-1", "n=abc", "n=", "n", "n=+1", "n=1.0", "n=%201", "n=\u{661}"] {
            assert_eq!(entries(bad), Err(QueryError::Number { name: "n" }), "{bad}");
        }
        assert_eq!(entries("n=1&n=1"), Err(QueryError::Repeated { name: "n" }));
    }

    #[test]
    fn the_last_entry_is_decoded_and_limited() {
        let last = |raw| query(raw).page().map(|page| page.last);
        assert_eq!(last("last=a%2Fb&n=1"), Ok(Some("a/b".to_owned())));
        assert_eq!(last("last="), Ok(None));
        let long = format!("last={}", "a".repeat(LAST_BYTES_MAX + 1));
        assert_eq!(last(&long), Err(QueryError::Value { name: "last" }));
        assert_eq!(last("last=a&last=b"), Err(QueryError::Repeated { name: "last" }));
    }

    #[test]
    fn digests_may_be_encoded_but_not_repeated() {
        let digest: Digest = DIGEST.parse().unwrap();
        assert_eq!(query(&format!("digest={DIGEST}")).required_digest(), Ok(digest));
        assert_eq!(query(&format!("_state=x&digest={}", DIGEST.replace(':', "%3A"))).digest(), Ok(Some(digest)));
        assert_eq!(query("").required_digest(), Err(QueryError::Missing { name: "digest" }));
        let twice = format!("digest={DIGEST}&digest={DIGEST}");
        assert_eq!(query(&twice).digest(), Err(QueryError::Repeated { name: "digest" }));
        for bad in ["digest=", "digest=md5:00", "digest=sha256:00%0a", "digest=%20", &format!("digest={DIGEST}+")] {
            assert!(matches!(query(bad).digest(), Err(QueryError::Digest { .. })), "{bad}");
        }
    }

    #[test]
    fn mounts_and_algorithms() {
        let digest: Digest = DIGEST.parse().unwrap();
        let from = Repository::parse("a/b").ok();
        assert_eq!(query(&format!("mount={DIGEST}&from=a%2Fb")).mount(), Ok(Some(Mount { digest, from })));
        assert_eq!(query(&format!("mount={DIGEST}")).mount(), Ok(Some(Mount { digest, from: None })));
        assert_eq!(query("from=A").mount(), Ok(None));
        let bad = format!("mount={DIGEST}&from=A");
        assert!(matches!(query(&bad).mount(), Err(QueryError::Name { name: "from", .. })));
        assert_eq!(query("digest-algorithm=sha512").algorithm(), Ok(Some(Algorithm::Sha512)));
        assert!(matches!(query("digest-algorithm=md5").algorithm(), Err(QueryError::Digest { .. })));
    }

    #[test]
    fn tags_and_types_are_lists() {
        let tags = query("tag=1.2.3&tag=1&x=y&tag=1").tags().unwrap();
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["1.2.3", "1"]);
        assert_eq!(query("tag=a,b").tags(), Err(QueryError::Tag(TagError::Character { at: 1 })));
        let many = vec!["tag=a"; TAGS_MAX + 1].join("&");
        assert_eq!(query(&many).tags(), Err(QueryError::Values { name: "tag", values_max: TAGS_MAX }));
        assert_eq!(query("artifactType=a/b+json&artifactType=c%2Bd").artifact_types(), Ok(vec!["a/b+json", "c+d"]));
        assert_eq!(query("artifactType=%0a").artifact_types(), Err(QueryError::Value { name: "artifactType" }));
    }

    #[test]
    fn sizes_are_limited() {
        let many = vec!["a=b"; PARAMETERS_MAX + 1].join("&");
        assert_eq!(Query::parse(Some(&many)), Err(QueryError::Parameters));
        let long = "a".repeat(QUERY_BYTES_MAX + 1);
        assert_eq!(Query::parse(Some(&long)), Err(QueryError::Length { found: QUERY_BYTES_MAX + 1 }));
        assert_eq!(Query::parse(Some("a=%")), Err(QueryError::Encoding(PercentError::Digits { at: 0 })));
        assert_eq!(Query::parse(None), Ok(Query::default()));
    }

    proptest! {
        #[test]
        fn encoded_values_come_back(values in prop::collection::vec("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,5}", 0..5)) {
            let mut raw = String::new();
            for value in &values {
                raw.push_str("&tag=");
                percent::encode(value, &mut raw);
            }
            let mut distinct: Vec<String> = Vec::new();
            for value in values {
                if !distinct.contains(&value) {
                    distinct.push(value);
                }
            }
            let tags: Vec<String> = query(&raw).tags().unwrap().iter().map(Tag::to_string).collect();
            prop_assert_eq!(tags, distinct);
        }
    }
}
