//! Repository names: a text comes in, a `Repository` of the specification's grammar comes out.
//!
//! Grammar (spec, "Pulling manifests"):
//! `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`

use std::fmt;

/// The longest name in bytes. The spec's note counts the host too; a registry cannot know under
/// which host names it is reached, so only the name itself is counted.
pub const NAME_BYTES_MAX: usize = 255;

/// A checked repository name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

impl Repository {
    /// Checks `text` in one pass over its bytes, after its length.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Repository(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a repository name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a repository name has at least one character")]
    Empty,
    #[error("a repository name has at most {NAME_BYTES_MAX} bytes, found {found}")]
    Length { found: usize },
    #[error("a repository name consists of a-z, 0-9, '.', '_', '-' and '/'; another character stands at byte {at}")]
    Character { at: usize },
    #[error(
        "each component of a repository name begins and ends with a-z or 0-9, \
         joined by one '.', one or two '_', or any number of '-'; broken at byte {at}"
    )]
    Separator { at: usize },
}

/// What stands before the byte that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The start of a component: of the name, or after a slash.
    Start,
    Alphanumeric,
    Period,
    Underscore,
    TwoUnderscores,
    Dashes,
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::Length { found: text.len() });
    }
    let mut before = Before::Start;
    for (at, byte) in text.bytes().enumerate() {
        before = match (byte, before) {
            (b'a'..=b'z' | b'0'..=b'9', _) => Before::Alphanumeric,
            (b'/', Before::Alphanumeric) => Before::Start,
            (b'.', Before::Alphanumeric) => Before::Period,
            (b'_', Before::Alphanumeric) => Before::Underscore,
            (b'_', Before::Underscore) => Before::TwoUnderscores,
            (b'-', Before::Alphanumeric | Before::Dashes) => Before::Dashes,
            (b'/' | b'.' | b'_' | b'-', _) => return Err(NameError::Separator { at }),
            _ => return Err(NameError::Character { at }),
        };
    }
    match before {
        Before::Alphanumeric => Ok(()),
        _ => Err(NameError::Separator { at: text.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The grammar read literally: every way to cut the text is tried, without regard to cost.
    mod slow {
        pub fn name(text: &str) -> bool {
            text.len() <= 255 && text.split('/').all(component)
        }

        fn component(text: &str) -> bool {
            alphanumeric(text)
                || (1..text.len()).any(|head| {
                    (head + 1..text.len()).any(|tail| {
                        text.is_char_boundary(head)
                            && text.is_char_boundary(tail)
                            && alphanumeric(&text[..head])
                            && separator(&text[head..tail])
                            && component(&text[tail..])
                    })
                })
        }

        fn alphanumeric(text: &str) -> bool {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        }

        fn separator(text: &str) -> bool {
            matches!(text, "." | "_" | "__") || (!text.is_empty() && text.chars().all(|c| c == '-'))
        }
    }

    #[test]
    fn names_of_the_grammar_are_accepted() {
        for name in [
            "a",
            "0",
            "library/ubuntu",
            "a.b_c__d-e---f/g",
            "blobs/uploads",
            "a/blobs/uploads",
            "manifests/tags/list",
            "1/2/3/4/5/6/7/8/9",
        ] {
            assert_eq!(Repository::parse(name).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn other_names_are_refused_with_the_place() {
        for (name, error) in [
            ("", NameError::Empty),
            ("A", NameError::Character { at: 0 }),
            ("ubuntu\u{200b}", NameError::Character { at: 6 }),
            ("\u{430}", NameError::Character { at: 0 }),
            ("a b", NameError::Character { at: 1 }),
            ("a%2e", NameError::Character { at: 1 }),
            ("-a", NameError::Separator { at: 0 }),
            ("a-", NameError::Separator { at: 2 }),
            ("a..b", NameError::Separator { at: 2 }),
            ("a___b", NameError::Separator { at: 3 }),
            ("a_.b", NameError::Separator { at: 2 }),
            ("a/", NameError::Separator { at: 2 }),
            ("a//b", NameError::Separator { at: 2 }),
            ("/a", NameError::Separator { at: 0 }),
            ("../a", NameError::Separator { at: 0 }),
        ] {
            assert_eq!(Repository::parse(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn length_is_limited_over_all_components() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        assert!(Repository::parse(&longest).is_ok());
        assert_eq!(Repository::parse(&format!("{longest}a")), Err(NameError::Length { found: 256 }));
        let components = vec!["a"; 128].join("/");
        assert_eq!(components.len(), NAME_BYTES_MAX);
        assert!(Repository::parse(&components).is_ok());
        assert_eq!(Repository::parse(&format!("{components}/a")), Err(NameError::Length { found: 257 }));
    }

    proptest! {
        #[test]
        fn agrees_with_the_grammar_on_near_misses(text in "[ab0._/\\-A]{0,14}") {
            prop_assert_eq!(Repository::parse(&text).is_ok(), slow::name(&text));
        }

        #[test]
        fn agrees_with_the_grammar_on_any_text(text in ".{0,12}") {
            prop_assert_eq!(Repository::parse(&text).is_ok(), slow::name(&text));
        }
    }
}
