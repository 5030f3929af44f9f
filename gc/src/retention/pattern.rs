//! Patterns for names: regular expressions in the syntax of Go (RE2), found anywhere in the name
//! unless they say `^` or `$`.
//!
//! The `regex` crate implements nearly the same language. Where both accept a pattern and mean
//! different things by it, the pattern is rewritten to what Go means; where that is not possible it
//! is refused. A name has ASCII characters only, for which `\d`, `\w`, `\s`, `\b` and case folding are
//! the same in both.

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// Memory of one compiled pattern, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("\\Q...\\E is not supported; put a backslash before each special character")]
    Quotation,
    #[error("a class has two hyphens in a row, which is read in different ways; write \\- for a hyphen")]
    Hyphens,
    /// The reason, in one line.
    #[error("not a regular expression: {0}")]
    Syntax(String),
}

/// A pattern for names.
#[derive(Debug, Clone)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

impl NamePattern {
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let built = RegexBuilder::new(&rewritten(text)?).size_limit(COMPILED_BYTES_MAX).build();
        let regex = built.map_err(|error| PatternError::Syntax(reason(&error)))?;
        Ok(NamePattern { text: text.to_owned(), regex })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is found in the name.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// Whether the pattern has a group that is one of its own.
    pub fn has_group(&self) -> bool {
        self.regex.captures_len() > 1
    }

    /// What the first group of the pattern is where it is found first.
    pub fn first_group<'name>(&self, name: &'name str) -> Option<&'name str> {
        self.regex.captures(name)?.get(1).map(|group| group.as_str())
    }
}

/// The last line of a syntax error says what is wrong, the ones before where.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(bytes) => format!("it needs more than {bytes} bytes of memory"),
        other => {
            let text = other.to_string();
            text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
        }
    }
}

/// The pattern in the words of the `regex` crate. What differs: sets within classes (`&&`, `--`,
/// `~~`, nested brackets) are single characters in Go, and so are `\<` and `\>` and the brace of
/// `\b{`.
fn rewritten(text: &str) -> Result<String, PatternError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_class = false;
    while let Some(next) = rest.next() {
        match next {
            '\\' => match rest.next() {
                Some('Q') => return Err(PatternError::Quotation),
                Some(angle @ ('<' | '>')) => out.push(angle),
                Some(boundary @ ('b' | 'B')) if !in_class && rest.peek() == Some(&'{') => {
                    rest.next();
                    out.extend(['\\', boundary, '\\', '{']);
                }
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                out.extend(rest.next_if_eq(&'^'));
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' if rest.peek() == Some(&':') => posix_class(&mut rest, &mut out),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '-' if in_class && rest.peek() == Some(&'-') => return Err(PatternError::Hyphens),
            special @ ('[' | '&' | '~') if in_class => out.extend(['\\', special]),
            plain => out.push(plain),
        }
    }
    Ok(out)
}

/// Copies `[:name:]`, or what looks like its beginning.
fn posix_class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let name: String = rest.clone().take_while(|next| *next != ']').collect();
    if name.len() > 1 && name.ends_with(':') {
        out.push('[');
        out.push_str(&name);
        out.push(']');
        // What was looked at, and its bracket.
        for _ in 0..=name.chars().count() {
            rest.next();
        }
    } else {
        out.push_str("\\[");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_found_anywhere_unless_anchored() {
        let cases: [(&str, &[&str], &[&str]); 14] = [
            ("v2", &["v2", "v2.1", "rev2"], &["v1"]),
            ("^v2", &["v2.1"], &["rev2"]),
            ("v2$", &["rev2"], &["v2.1"]),
            ("^v2$", &["v2"], &["v2.1"]),
            (".*-prod", &["x-prod", "x-prod-2"], &["prod"]),
            ("", &["anything"], &[]),
            ("(?i)RC", &["1-rc"], &["1-r"]),
            (r"^\d+\.\d+$", &["1.22"], &["1.2.3", "a1.2"]),
            // A class of characters, not an intersection, a difference or a nested class.
            ("^[a-z&&b]+$", &["a&b", "xyz"], &["1"]),
            ("^[a~~b]$", &["~"], &["c"]),
            ("^[[a]b]$", &["ab]", "[b]"], &["a", "b"]),
            ("^[]a]$", &["]", "a"], &["b"]),
            ("^[[:digit:]_[]$", &["7", "_", "["], &["d", ":"]),
            (r"^\<a$", &["<a"], &["a"]),
        ];
        for (pattern, matched, unmatched) in cases {
            let compiled = NamePattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.as_str(), pattern);
            for name in matched {
                assert!(compiled.matches(name), "{pattern} is not found in {name}");
            }
            for name in unmatched {
                assert!(!compiled.matches(name), "{pattern} is found in {name}");
            }
        }
        assert!(!NamePattern::new(r"a\b{1}").expect("the brace is a character").matches("a"));
    }

    #[test]
    fn the_first_group_is_a_part_of_the_name() {
        let pattern = |text| NamePattern::new(text).expect("a pattern");
        assert_eq!(pattern("a/(.*)/(.*)").first_group("x/a/b/c"), Some("b"));
        assert_eq!(pattern("a/(b)?").first_group("a/c"), None, "the group is not there");
        assert_eq!(pattern("a/(.*)").first_group("b"), None);
        assert_eq!(pattern("(?:a)").first_group("a"), None);
        assert!(pattern("(a)").has_group() && !pattern("(?:a)").has_group() && !pattern("a").has_group());
    }

    #[test]
    fn what_is_no_pattern_or_read_in_two_ways_is_refused_in_one_line() {
        for pattern in ["(", "[a", "a{2,1}", r"\Qa.b\E", "[a--b]", "(?=a)", r"(a)\1", "(a{1000}){1000}", "\\"] {
            let error = NamePattern::new(pattern).expect_err(pattern).to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.len() > 10, "{error}");
        }
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        assert_eq!(NamePattern::new(&long).expect_err("too long"), PatternError::TooLong);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", name in "[a-z0-9.-]{0,20}") {
            if let Ok(pattern) = NamePattern::new(&text) {
                let _ = pattern.matches(&name);
            }
        }

        #[test]
        fn plain_text_is_found_where_it_is(text in "[a-z0-9]{1,3}", name in "[a-z0-9]{0,8}") {
            prop_assert_eq!(NamePattern::new(&text).expect("plain").matches(&name), name.contains(&text));
        }
    }
}
