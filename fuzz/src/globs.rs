//! Patterns for namespaces against their definition.
//!
//! An input is a byte that chooses: either the rest is the text of a pattern, which is read or refused
//! and nothing else; or it is choices that make a pattern as a tree, and a name. The tree is written
//! down, and what was read of it must match what the tree says.

use orlop_gc::retention::{Glob, GlobError};

use crate::{
    cursor::Cursor,
    positions::{LEN_MAX, Positions},
};

/// Parts of one sequence, and how deep braces lie in each other.
const PARTS_MAX: usize = 8;
const DEPTH_MAX: usize = 3;

/// Alternatives that are compared, as many as a pattern may stand for.
const ALTERNATIVES_MAX: usize = 256;

/// Characters of names and patterns; those with a meaning must be written with a backslash.
const CHARACTERS: [char; 12] = ['a', 'b', 'c', '-', '*', '?', '[', ']', '{', '}', ',', '\\'];

#[derive(Debug, Clone)]
enum Part {
    Character(char),
    Any,
    Run,
    Slash,
    Class { negated: bool, ranges: Vec<(char, char)> },
    Braces(Vec<Vec<Part>>),
}

pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    if cursor.is_set() {
        let Ok(text) = std::str::from_utf8(cursor.rest()) else { return };
        return any_text(text);
    }
    let pattern = sequence(&mut cursor, DEPTH_MAX);
    let name = name(&mut cursor);
    let mut text = String::new();
    write(&pattern, false, &mut text);
    let alternatives = expand(&pattern);
    let is_plain = |alternative: &Vec<Part>| segments(alternative).iter().all(|segment| !segment.is_empty());
    match Glob::new(&text) {
        Ok(glob) => {
            assert!(alternatives.iter().all(is_plain), "{text:?} has an empty part");
            let expected = alternatives.iter().any(|alternative| matches(alternative, &name));
            assert_eq!(glob.matches(&name), expected, "{text:?} and {name:?}");
        }
        Err(GlobError::EmptySegment) => assert!(!alternatives.iter().all(is_plain), "{text:?} has no empty part"),
        Err(GlobError::TooMany) => assert!(alternatives.len() > ALTERNATIVES_MAX, "{text:?}"),
        Err(GlobError::TooLong) => assert!(text.len() > 1024, "{text:?}"),
        Err(error) => panic!("{text:?}: {error}"),
    }
}

fn any_text(text: &str) {
    let Ok(glob) = Glob::new(text) else { return };
    assert_eq!(glob.as_str(), text);
    for name in ["", "a", "a/b", text] {
        let _ = glob.matches(name);
    }
    if !text.contains(['*', '?', '[', '{', '\\']) {
        assert!(glob.matches(text) && !glob.matches(&format!("{text}a")), "{text:?} is a name");
    }
}

fn sequence(cursor: &mut Cursor<'_>, depth: usize) -> Vec<Part> {
    (0..cursor.below(PARTS_MAX + 1)).map(|_| part(cursor, depth)).collect()
}

fn part(cursor: &mut Cursor<'_>, depth: usize) -> Part {
    match cursor.below(10) {
        0..4 => Part::Character(cursor.choose(&CHARACTERS)),
        4 => Part::Any,
        5 | 6 => Part::Run,
        7 => Part::Slash,
        8 if depth > 0 => Part::Braces((0..=cursor.below(3)).map(|_| sequence(cursor, depth - 1)).collect()),
        _ => Part::Class { negated: cursor.is_set(), ranges: (0..=cursor.below(3)).map(|_| range(cursor)).collect() },
    }
}

fn range(cursor: &mut Cursor<'_>) -> (char, char) {
    let (one, other) = (cursor.choose(&CHARACTERS), cursor.choose(&CHARACTERS));
    if cursor.is_set() { (one, one) } else { (one.min(other), one.max(other)) }
}

fn name(cursor: &mut Cursor<'_>) -> String {
    let mut name = String::new();
    // There is one segment more than there are slashes.
    while !cursor.is_at_end() && name.len() < LEN_MAX - 1 {
        match cursor.below(4) {
            0 => name.push('/'),
            _ => name.push(cursor.choose(&CHARACTERS)),
        }
    }
    name
}

/// The text of a pattern. Within braces their own characters have a meaning everywhere.
fn write(parts: &[Part], in_braces: bool, text: &mut String) {
    for part in parts {
        match part {
            Part::Character(character) => write_character(*character, &['*', '?', '[', ']', '{', '}', ',', '\\'], text),
            Part::Any => text.push('?'),
            Part::Run => text.push('*'),
            Part::Slash => text.push('/'),
            Part::Class { negated, ranges } => {
                text.push_str(if *negated { "[!" } else { "[" });
                let special: &[char] = if in_braces { &['-', ']', '{', '}', ',', '\\'] } else { &['-', ']', '\\'] };
                for (from, to) in ranges {
                    write_character(*from, special, text);
                    if to != from {
                        text.push('-');
                        write_character(*to, special, text);
                    }
                }
                text.push(']');
            }
            Part::Braces(alternatives) => {
                for (at, alternative) in alternatives.iter().enumerate() {
                    text.push(if at == 0 { '{' } else { ',' });
                    write(alternative, true, text);
                }
                text.push('}');
            }
        }
    }
}

fn write_character(character: char, special: &[char], text: &mut String) {
    if special.contains(&character) {
        text.push('\\');
    }
    text.push(character);
}

/// Every way to choose from the braces, and some more than may be.
fn expand(parts: &[Part]) -> Vec<Vec<Part>> {
    let mut expanded = vec![Vec::new()];
    for part in parts {
        let chosen = match part {
            Part::Braces(alternatives) => alternatives.iter().flat_map(|alternative| expand(alternative)).collect(),
            plain => vec![vec![plain.clone()]],
        };
        expanded = expanded
            .iter()
            .flat_map(|before| chosen.iter().map(move |after| [before.as_slice(), after.as_slice()].concat()))
            .take(ALTERNATIVES_MAX + 1)
            .collect();
    }
    expanded
}

fn segments(parts: &[Part]) -> Vec<&[Part]> {
    parts.split(|part| matches!(part, Part::Slash)).collect()
}

/// Whether the segments of a name are those of a pattern without braces.
fn matches(parts: &[Part], name: &str) -> bool {
    let names: Vec<&str> = name.split('/').collect();
    let mut reached = Positions::one(0);
    for segment in segments(parts) {
        reached = match segment {
            [Part::Run, Part::Run] => reached.then(|at| span(at..=names.len())),
            _ => reached.then(|at| match names.get(at) {
                Some(name) if matches_segment(segment, name) => Positions::one(at + 1),
                _ => Positions::NONE,
            }),
        };
    }
    reached.has(names.len())
}

fn matches_segment(parts: &[Part], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reached = Positions::one(0);
    for part in parts {
        reached = reached.then(|at| match (part, name.get(at)) {
            (Part::Run, _) => span(at..=name.len()),
            (part, Some(found)) if matches_one(part, *found) => Positions::one(at + 1),
            _ => Positions::NONE,
        });
    }
    reached.has(name.len())
}

fn matches_one(part: &Part, found: char) -> bool {
    match part {
        Part::Character(expected) => *expected == found,
        Part::Any => true,
        Part::Class { negated, ranges } => ranges.iter().any(|(from, to)| *from <= found && found <= *to) != *negated,
        Part::Run | Part::Slash | Part::Braces(_) => unreachable!("these stand for more than a character"),
    }
}

fn span(places: std::ops::RangeInclusive<usize>) -> Positions {
    places.fold(Positions::NONE, |all, at| all.with(Positions::one(at)))
}
