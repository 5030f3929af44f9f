//! Patterns for namespaces, as shells with a globstar have them.
//!
//! `*` stands for any characters within one segment, `**` as a whole segment for any number of
//! segments, none included (so `a/**` matches `a` too), `?` for one character, `[a-z]` and `[!a-z]`
//! (or `[^a-z]`) for one of a class, `{a,b/c}` for alternatives, and a backslash takes the meaning
//! from the character after it. `**` beside other characters is the same as `*`. Whole namespaces
//! are matched, never parts. The meaning is that of the Go library doublestar, version 4.

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// The most patterns that the braces of one may stand for.
const ALTERNATIVES_MAX: usize = 256;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("the pattern has more than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the braces stand for more than {ALTERNATIVES_MAX} patterns; write several patterns")]
    TooMany,
    #[error("a brace is not closed")]
    OpenBrace,
    #[error("a bracket is not closed")]
    OpenBracket,
    #[error("a class in brackets is empty, or has a range that ends before it begins, or a slash")]
    BadClass,
    #[error("a backslash at the end escapes nothing")]
    OpenEscape,
    #[error("it has an empty part before, after or between slashes, which no namespace has")]
    EmptySegment,
}

/// A pattern for namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    alternatives: Vec<Vec<Segment>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Any number of segments.
    AnyDepth,
    One(Vec<Atom>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Atom {
    Literal(char),
    AnyCharacter,
    AnyRun,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    pub fn new(text: &str) -> Result<Self, GlobError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let mut expanded = Vec::new();
        expand(&text.chars().collect::<Vec<_>>(), &mut expanded)?;
        let alternatives = expanded.iter().map(|alternative| segments(alternative)).collect::<Result<_, _>>()?;
        Ok(Glob { text: text.to_owned(), alternatives })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, namespace: &str) -> bool {
        let segments: Vec<Vec<char>> = namespace.split('/').map(|segment| segment.chars().collect()).collect();
        self.alternatives.iter().any(|pattern| {
            run_match(pattern, &segments, |part| *part == Segment::AnyDepth, |part, segment| part.matches(segment))
        })
    }
}

impl Segment {
    fn matches(&self, segment: &[char]) -> bool {
        match self {
            Segment::AnyDepth => true,
            Segment::One(atoms) => {
                run_match(atoms, segment, |atom| *atom == Atom::AnyRun, |atom, found| atom.matches(*found))
            }
        }
    }
}

impl Atom {
    fn matches(&self, found: char) -> bool {
        match self {
            Atom::Literal(expected) => *expected == found,
            Atom::AnyCharacter | Atom::AnyRun => true,
            Atom::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&found)) != *negated
            }
        }
    }
}

/// Matches a sequence against parts of which some (`is_run`) stand for any number of items. Only the
/// last such part has to be tried again: what an earlier one could take, the last one can take too.
fn run_match<P, N>(
    pattern: &[P],
    items: &[N],
    is_run: impl Fn(&P) -> bool,
    matches_one: impl Fn(&P, &N) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut run: Option<(usize, usize)> = None;
    while item < items.len() {
        if at < pattern.len() && is_run(&pattern[at]) {
            run = Some((at + 1, item));
            at += 1;
        } else if at < pattern.len() && matches_one(&pattern[at], &items[item]) {
            at += 1;
            item += 1;
        } else if let Some((after, taken)) = run {
            run = Some((after, taken + 1));
            at = after;
            item = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(is_run)
}

/// Writes out the first braces and goes on with each result. The depth of the recursion is the
/// number of braces in the pattern.
fn expand(pattern: &[char], expanded: &mut Vec<Vec<char>>) -> Result<(), GlobError> {
    let Some(open) = first_brace(pattern) else {
        expanded.push(pattern.to_vec());
        return if expanded.len() > ALTERNATIVES_MAX { Err(GlobError::TooMany) } else { Ok(()) };
    };
    let (alternatives, close) = split_braces(pattern, open)?;
    for (from, to) in alternatives {
        expand(&[&pattern[..open], &pattern[from..to], &pattern[close + 1..]].concat(), expanded)?;
    }
    Ok(())
}

/// The first brace that opens alternatives: not escaped and not within a class.
fn first_brace(pattern: &[char]) -> Option<usize> {
    let (mut at, mut in_class) = (0, false);
    while at < pattern.len() {
        match pattern[at] {
            '\\' => at += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where each alternative of the brace at `open` begins and ends, and the brace that closes it.
fn split_braces(pattern: &[char], open: usize) -> Result<(Vec<(usize, usize)>, usize), GlobError> {
    let (mut at, mut depth, mut from) = (open + 1, 1, open + 1);
    let mut alternatives = Vec::new();
    while at < pattern.len() {
        match pattern[at] {
            '\\' => at += 1,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                alternatives.push((from, at));
                from = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            alternatives.push((from, at));
            return Ok((alternatives, at));
        }
        at += 1;
    }
    Err(GlobError::OpenBrace)
}

fn segments(pattern: &[char]) -> Result<Vec<Segment>, GlobError> {
    let mut segments = Vec::new();
    let mut atoms = Vec::new();
    let mut rest = pattern.iter().copied().peekable();
    while let Some(next) = rest.next() {
        match next {
            '/' => segments.push(segment(std::mem::take(&mut atoms))?),
            '?' => atoms.push(Atom::AnyCharacter),
            '*' => atoms.push(Atom::AnyRun),
            '[' => atoms.push(class(&mut rest)?),
            '\\' => atoms.push(Atom::Literal(rest.next().ok_or(GlobError::OpenEscape)?)),
            literal => atoms.push(Atom::Literal(literal)),
        }
    }
    segments.push(segment(atoms)?);
    Ok(segments)
}

fn segment(atoms: Vec<Atom>) -> Result<Segment, GlobError> {
    match atoms.as_slice() {
        [] => Err(GlobError::EmptySegment),
        [Atom::AnyRun, Atom::AnyRun] => Ok(Segment::AnyDepth),
        _ => Ok(Segment::One(atoms)),
    }
}

/// Reads a class, after its opening bracket.
fn class(rest: &mut std::iter::Peekable<impl Iterator<Item = char>>) -> Result<Atom, GlobError> {
    let negated = rest.next_if(|next| matches!(next, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let from = match rest.next().ok_or(GlobError::OpenBracket)? {
            ']' if ranges.is_empty() => return Err(GlobError::BadClass),
            ']' => return Ok(Atom::Class { negated, ranges }),
            '\\' => rest.next().ok_or(GlobError::OpenBracket)?,
            plain => plain,
        };
        let mut to = from;
        if rest.peek() == Some(&'-') {
            rest.next();
            // A hyphen before the end of the class stands for itself.
            match rest.next_if(|next| *next != ']') {
                Some('\\') => to = rest.next().ok_or(GlobError::OpenBracket)?,
                Some(plain) => to = plain,
                None => ranges.push(('-', '-')),
            }
        }
        if from > to || from == '/' || to == '/' {
            return Err(GlobError::BadClass);
        }
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_what_they_should() {
        let cases: [(&str, &[&str], &[&str]); 15] = [
            ("**", &["a", "a/b", "a/b/c"], &[]),
            ("*", &["a", "abc"], &["a/b"]),
            ("a/*", &["a/b"], &["a", "a/b/c", "b/a"]),
            ("a/**", &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
            ("**/a", &["a", "b/a", "c/b/a"], &["ab", "a/b"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a", "b", "a/bb"]),
            ("a**", &["a", "abc"], &["a/b"]),
            ("**a/b", &["a/b", "xa/b"], &["x/a/b"]),
            ("a?c", &["abc"], &["ac", "abbc", "a/c"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax", "/x"]),
            ("[a-]x", &["ax", "-x"], &["bx"]),
            ("{a,b/c}/d", &["a/d", "b/c/d"], &["b/d", "a", "a,b/c/d"]),
            ("x{,-{1,2}}", &["x", "x-1", "x-2"], &["x-", "x-3"]),
            (r"\*\{a", &["*{a"], &["b{a", "{a"]),
        ];
        for (pattern, matched, unmatched) in cases {
            let glob = Glob::new(pattern).expect(pattern);
            assert_eq!(glob.as_str(), pattern);
            for name in matched {
                assert!(glob.matches(name), "{pattern} does not match {name}");
            }
            for name in unmatched {
                assert!(!glob.matches(name), "{pattern} matches {name}");
            }
        }
    }

    #[test]
    fn texts_that_are_no_patterns_are_refused() {
        let cases = [
            ("{a", GlobError::OpenBrace),
            ("[a", GlobError::OpenBracket),
            ("[", GlobError::OpenBracket),
            ("[]", GlobError::BadClass),
            ("[c-a]", GlobError::BadClass),
            ("[/]", GlobError::BadClass),
            ("a\\", GlobError::OpenEscape),
            ("", GlobError::EmptySegment),
            ("/a", GlobError::EmptySegment),
            ("a/", GlobError::EmptySegment),
            ("a//b", GlobError::EmptySegment),
        ];
        for (pattern, error) in cases {
            assert_eq!(Glob::new(pattern), Err(error), "{pattern}");
        }
        assert_eq!(Glob::new(&"a".repeat(PATTERN_BYTES_MAX + 1)), Err(GlobError::TooLong));
        assert_eq!(Glob::new(&"{a,b}".repeat(9)), Err(GlobError::TooMany));
        assert_eq!(Glob::new(&"{".repeat(PATTERN_BYTES_MAX)), Err(GlobError::OpenBrace));
    }

    /// The definition, tried out in every way.
    fn slow(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (["**", rest @ ..], _) if slow(rest, name) => true,
            (["**", ..], [_, others @ ..]) => slow(pattern, others),
            ([part, rest @ ..], [segment, others @ ..]) => {
                slow_segment(part.as_bytes(), segment.as_bytes()) && slow(rest, others)
            }
            _ => false,
        }
    }

    fn slow_segment(pattern: &[u8], segment: &[u8]) -> bool {
        match (pattern, segment) {
            ([], []) => true,
            ([b'*', rest @ ..], _) if slow_segment(rest, segment) => true,
            ([b'*', ..], [_, others @ ..]) => slow_segment(pattern, others),
            ([b'?', rest @ ..], [_, others @ ..]) => slow_segment(rest, others),
            ([one, rest @ ..], [other, others @ ..]) if one == other => slow_segment(rest, others),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn matching_is_what_its_definition_says(
            pattern in "([ab?*]{1,4}|\\*\\*)(/([ab?*]{1,4}|\\*\\*)){0,4}",
            name in "[ab]{1,4}(/[ab]{1,3}){0,4}",
        ) {
            let parts: Vec<&str> = pattern.split('/').collect();
            let segments: Vec<&str> = name.split('/').collect();
            prop_assert_eq!(Glob::new(&pattern).expect("a pattern").matches(&name), slow(&parts, &segments));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", name in "\\PC{0,20}") {
            if let Ok(glob) = Glob::new(&text) {
                let _ = glob.matches(&name);
            }
        }
    }
}
