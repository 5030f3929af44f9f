//! Patterns for names against the meaning that Go gives them.
//!
//! An input is a byte that chooses: either the rest is the text of a pattern, which is read or refused in
//! one line; or it is choices that make a pattern as a tree, and a name. The tree is written down as Go
//! would read it, and what was read of it must be found where the tree says.

use orlop_gc::retention::{NamePattern, PatternError};

use crate::{
    cursor::Cursor,
    positions::{LEN_MAX, Positions},
};

const NODES_MAX: usize = 5;
const DEPTH_MAX: usize = 3;

/// Characters of a name: repetitions of repetitions go through it once more for each.
const NAME_LEN_MAX: usize = 16;
const _: () = assert!(NAME_LEN_MAX <= LEN_MAX);

/// Characters of patterns and names: letters, and all that mean something somewhere.
const CHARACTERS: &[u8] = b"abABkz019_-.,:;=!&~<>[]^$*+?(){}|\\/@#\"'` ";

/// Of these, the ones that mean something outside a class.
const SPECIAL: &[u8] = b"[]^$*+?(){}|\\.";

#[derive(Debug, Clone)]
enum Node {
    Character(u8),
    Any,
    Class(Class),
    Start,
    End,
    Group(Vec<Vec<Node>>),
    Repeat { node: Box<Node>, min: usize, max: Option<usize>, is_lazy: bool },
}

#[derive(Debug, Clone)]
struct Class {
    negated: bool,
    items: Vec<Item>,
    /// The bracket that closes classes is written first, where it needs no backslash.
    bracket_first: bool,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Range(u8, u8),
    /// The text of a named class.
    Named(&'static str),
}

const NAMED: [&str; 6] = ["[:digit:]", "[:alpha:]", "[:^alpha:]", r"\d", r"\W", r"\s"];

pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    if cursor.is_set() {
        let Ok(text) = std::str::from_utf8(cursor.rest()) else { return };
        return any_text(text);
    }
    let folds = cursor.is_set();
    let alternatives = alternatives(&mut cursor, DEPTH_MAX);
    let name: String = name(&mut cursor);
    let mut text = String::from(if folds { "(?i)" } else { "" });
    write_alternatives(&alternatives, &mut text);
    let pattern = match NamePattern::new(&text) {
        Ok(pattern) => pattern,
        Err(PatternError::TooLong) => return assert!(text.len() > 1024, "{text:?}"),
        Err(PatternError::Syntax(reason)) if reason.ends_with("bytes of memory") => return,
        Err(error) => panic!("{text:?}: {error}"),
    };
    let text_of_name = Text { bytes: name.as_bytes(), folds };
    let expected = (0..=name.len()).any(|at| !text_of_name.ends_of_any(&alternatives, at).is_empty());
    assert_eq!(pattern.matches(&name), expected, "{text:?} and {name:?}");
}

fn any_text(text: &str) {
    match NamePattern::new(text) {
        Ok(pattern) => {
            assert_eq!(pattern.as_str(), text);
            let _ = pattern.matches("v1.2-rc_3");
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{text:?}: {error}"),
    }
}

fn alternatives(cursor: &mut Cursor<'_>, depth: usize) -> Vec<Vec<Node>> {
    let sequences = if cursor.below(4) == 3 { 2 } else { 1 };
    (0..sequences).map(|_| (0..cursor.below(NODES_MAX)).map(|_| node(cursor, depth)).collect()).collect()
}

fn node(cursor: &mut Cursor<'_>, depth: usize) -> Node {
    match cursor.below(12) {
        0..5 => Node::Character(cursor.choose(CHARACTERS)),
        5 => Node::Any,
        6 | 7 => Node::Class(class(cursor)),
        8 => cursor.choose(&[Node::Start, Node::End].each_ref()).clone(),
        9 | 10 if depth > 0 => repeat(cursor, depth - 1),
        _ if depth > 0 => Node::Group(alternatives(cursor, depth - 1)),
        _ => Node::Any,
    }
}

/// Only of what is one thing in the text; repetitions of repetitions mean something else there.
fn repeat(cursor: &mut Cursor<'_>, depth: usize) -> Node {
    let node = match cursor.below(4) {
        0 => Node::Character(cursor.choose(CHARACTERS)),
        1 => Node::Any,
        2 => Node::Class(class(cursor)),
        _ => Node::Group(alternatives(cursor, depth)),
    };
    let min = cursor.below(3);
    let max = if cursor.is_set() { None } else { Some(min + cursor.below(3)) };
    Node::Repeat { node: Box::new(node), min, max, is_lazy: cursor.is_set() }
}

fn class(cursor: &mut Cursor<'_>) -> Class {
    let item = |cursor: &mut Cursor<'_>| match cursor.below(4) {
        0 => Item::Named(cursor.choose(&NAMED)),
        1 => {
            let (one, other) = (cursor.choose(CHARACTERS), cursor.choose(CHARACTERS));
            Item::Range(one.min(other), one.max(other))
        }
        _ => {
            let character = cursor.choose(CHARACTERS);
            Item::Range(character, character)
        }
    };
    let (negated, bracket_first) = (cursor.is_set(), cursor.is_set());
    Class { negated, items: (0..=cursor.below(4)).map(|_| item(cursor)).collect(), bracket_first }
}

fn name(cursor: &mut Cursor<'_>) -> String {
    let mut name = String::new();
    while !cursor.is_at_end() && name.len() < NAME_LEN_MAX {
        name.push(char::from(cursor.choose(CHARACTERS)));
    }
    name
}

fn write_alternatives(alternatives: &[Vec<Node>], text: &mut String) {
    for (at, nodes) in alternatives.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "|" });
        nodes.iter().for_each(|node| write(node, text));
    }
}

fn write(node: &Node, text: &mut String) {
    match node {
        // Go takes a backslash before any punctuation; angles are what the two languages differ in.
        Node::Character(byte @ (b'<' | b'>')) => text.extend(['\\', char::from(*byte)]),
        Node::Character(byte) => write_byte(*byte, SPECIAL, text),
        Node::Any => text.push('.'),
        Node::Class(class) => write_class(class, text),
        Node::Start => text.push('^'),
        Node::End => text.push('$'),
        Node::Group(alternatives) => {
            text.push('(');
            write_alternatives(alternatives, text);
            text.push(')');
        }
        Node::Repeat { node, min, max, is_lazy } => {
            write(node, text);
            match (min, max) {
                (0, None) => text.push('*'),
                (1, None) => text.push('+'),
                (0, Some(1)) => text.push('?'),
                (min, None) => text.push_str(&format!("{{{min},}}")),
                (min, Some(max)) if min == max => text.push_str(&format!("{{{min}}}")),
                (min, Some(max)) => text.push_str(&format!("{{{min},{max}}}")),
            }
            text.push_str(if *is_lazy { "?" } else { "" });
        }
    }
}

fn write_byte(byte: u8, special: &[u8], text: &mut String) {
    if special.contains(&byte) {
        text.push('\\');
    }
    text.push(char::from(byte));
}

fn write_class(class: &Class, text: &mut String) {
    text.push_str(if class.negated { "[^" } else { "[" });
    text.push_str(if class.bracket_first { "]" } else { "" });
    for item in &class.items {
        match item {
            Item::Named(named) => text.push_str(named),
            // A bracket before a colon would begin a named class; a circumflex may be the first.
            Item::Range(from, to) if from == to => write_byte(*from, b"]\\-^:", text),
            Item::Range(from, to) => {
                write_byte(*from, b"]\\-^:", text);
                text.push('-');
                write_byte(*to, b"]\\-^:", text);
            }
        }
    }
    text.push(']');
}

/// A name that is searched.
struct Text<'a> {
    bytes: &'a [u8],
    folds: bool,
}

impl Text<'_> {
    fn ends_of_any(&self, alternatives: &[Vec<Node>], at: usize) -> Positions {
        let one = |nodes: &Vec<Node>| {
            nodes.iter().fold(Positions::one(at), |reached, node| reached.then(|at| self.ends(node, at)))
        };
        alternatives.iter().map(one).fold(Positions::NONE, Positions::with)
    }

    /// Where a node may end that begins at `at`.
    fn ends(&self, node: &Node, at: usize) -> Positions {
        let when = |holds: bool, end: usize| if holds { Positions::one(end) } else { Positions::NONE };
        let found = self.bytes.get(at).copied();
        match node {
            Node::Character(byte) => when(found.is_some_and(|found| self.is_same(*byte, found)), at + 1),
            Node::Any => when(found.is_some(), at + 1),
            Node::Class(class) => when(found.is_some_and(|found| self.is_in(class, found)), at + 1),
            Node::Start => when(at == 0, at),
            Node::End => when(at == self.bytes.len(), at),
            Node::Group(alternatives) => self.ends_of_any(alternatives, at),
            Node::Repeat { node, min, max, .. } => {
                let once = |reached: Positions| reached.then(|at| self.ends(node, at));
                let mut last = (0..*min).fold(Positions::one(at), |reached, _| once(reached));
                let mut all = last;
                // Whatever can be reached is reached in as many steps as there are characters.
                for _ in 0..max.map_or(self.bytes.len(), |max| max - min) {
                    last = once(last);
                    if all.with(last) == all {
                        break;
                    }
                    all = all.with(last);
                }
                all
            }
        }
    }

    fn is_same(&self, expected: u8, found: u8) -> bool {
        expected == found || (self.folds && expected.eq_ignore_ascii_case(&found))
    }

    fn is_in(&self, class: &Class, found: u8) -> bool {
        let variants = [found, found.to_ascii_lowercase(), found.to_ascii_uppercase()];
        let variants = if self.folds { &variants[..] } else { &variants[..1] };
        let has = |item: &Item| variants.iter().any(|variant| is_in_item(item, *variant));
        let is_bracket = class.bracket_first && found == b']';
        (is_bracket || class.items.iter().any(has)) != class.negated
    }
}

fn is_in_item(item: &Item, found: u8) -> bool {
    match item {
        Item::Range(from, to) => (*from..=*to).contains(&found),
        Item::Named("[:digit:]" | r"\d") => found.is_ascii_digit(),
        Item::Named("[:alpha:]") => found.is_ascii_alphabetic(),
        Item::Named("[:^alpha:]") => !found.is_ascii_alphabetic(),
        Item::Named(r"\W") => !found.is_ascii_alphanumeric() && found != b'_',
        Item::Named(r"\s") => found == b' ',
        Item::Named(other) => unreachable!("{other} is not one of the names"),
    }
}
