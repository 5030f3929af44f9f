//! What a manifest is asked for by: a tag or a digest. A text comes in, a checked `Reference` comes
//! out. A tag cannot contain a colon and a digest must, so the colon decides.

use std::fmt;

use orlop_engine::digest::{Digest, ParseError};

/// The longest tag in bytes (spec, "Pulling manifests").
pub const TAG_BYTES_MAX: usize = 128;

/// A checked tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    pub fn parse(text: &str) -> Result<Self, TagError> {
        if text.is_empty() {
            return Err(TagError::Empty);
        }
        if text.len() > TAG_BYTES_MAX {
            return Err(TagError::Length { found: text.len() });
        }
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {}
                b'.' | b'-' if at > 0 => {}
                _ => return Err(TagError::Character { at }),
            }
        }
        Ok(Tag(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("a tag has at least one character")]
    Empty,
    #[error("a tag has at most {TAG_BYTES_MAX} bytes, found {found}")]
    Length { found: usize },
    #[error("a tag begins with a letter, a digit or '_' and goes on with these, '.' or '-'; broken at byte {at}")]
    Character { at: usize },
}

/// The last part of a manifest's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl Reference {
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Reference::Digest(text.parse()?)) } else { Ok(Reference::Tag(Tag::parse(text)?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Tag(tag) => tag.fmt(f),
            Reference::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Why a text is neither a tag nor a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error(transparent)]
    Tag(#[from] TagError),
    #[error(transparent)]
    Digest(#[from] ParseError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_engine::digest::Algorithm;
    use proptest::prelude::*;

    fn slow_tag(text: &str) -> bool {
        let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = |c: char| first(c) || c == '.' || c == '-';
        text.chars().count() <= 128 && text.chars().next().is_some_and(first) && text.chars().skip(1).all(rest)
    }

    #[test]
    fn tags_at_the_limits() {
        let longest = "x".repeat(TAG_BYTES_MAX);
        assert!(Tag::parse(&longest).is_ok());
        assert_eq!(Tag::parse(&format!("{longest}x")), Err(TagError::Length { found: 129 }));
        for (text, error) in [
            ("", TagError::Empty),
            ("-x", TagError::Character { at: 0 }),
            (".x", TagError::Character { at: 0 }),
            ("latest\r\nSet-Cookie: a=b", TagError::Character { at: 6 }),
            ("a/b", TagError::Character { at: 1 }),
            ("v\u{e9}", TagError::Character { at: 1 }),
        ] {
            assert_eq!(Tag::parse(text), Err(error), "{text:?}");
        }
        for text in ["_", "0", "A.b-c_d", "latest", "sha256-aa", "1.2.3"] {
            assert_eq!(Tag::parse(text).map(|tag| tag.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_colon_makes_a_digest() {
        let digest = Digest::of(Algorithm::Sha512, b"content");
        assert_eq!(Reference::parse(&digest.to_string()), Ok(Reference::Digest(digest)));
        assert_eq!(Reference::parse("a:b"), Err(ReferenceError::Digest(ParseError::Algorithm)));
        assert_eq!(Reference::parse("sha256:"), "sha256:".parse::<Digest>().map(Reference::Digest).map_err(Into::into));
        assert_eq!(Reference::parse(""), Err(ReferenceError::Tag(TagError::Empty)));
    }

    proptest! {
        #[test]
        fn tags_agree_with_the_grammar(text in "[aZ0_.\\-:/ \u{e9}]{0,6}") {
            prop_assert_eq!(Tag::parse(&text).is_ok(), slow_tag(&text));
        }

        #[test]
        fn references_round_trip(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert_eq!(Reference::parse(&text).map(|r| r.to_string()), Ok(text));
        }
    }
}
