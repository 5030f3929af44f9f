//! JSON that has one reading only: bytes come in, objects whose members are still text come out.
//!
//! Readers disagree about repeated keys (the first or the last wins), about the case of keys (some
//! ignore it), about byte order marks and about depth. A document two readers understand
//! differently has one digest and two meanings (CVE-2021-41190 was of that kind), so all of these
//! are refused. The text is never written again: documents are stored as they came.

use std::{borrow::Cow, collections::BTreeMap, fmt, str};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The deepest nesting of objects and lists.
pub const NESTING_DEPTH_MAX: usize = 32;
/// The most members of one object that is read, annotations among them.
pub const MEMBERS_MAX: usize = 16 * 1024;

const REPEATED: &str = "a key stands twice in an object";

/// Why bytes are refused as a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the document must be UTF-8; it is not at byte {at}")]
    Utf8 { at: usize },
    #[error("the document must not begin with a byte order mark")]
    ByteOrderMark,
    #[error("the document is nested deeper than {NESTING_DEPTH_MAX} levels at byte {at}")]
    Depth { at: usize },
    #[error("{0}")]
    Syntax(String),
}

/// Checks the whole document, also the parts nobody reads here: its encoding, its depth, and that
/// every string, number and key in it means the same to every reader.
pub fn check(bytes: &[u8]) -> Result<&str, JsonError> {
    let text = check_nesting(bytes)?;
    parse::<Unambiguous>(text)?;
    Ok(text)
}

/// What must hold before a parser that recurses sees the document.
fn check_nesting(bytes: &[u8]) -> Result<&str, JsonError> {
    let text = str::from_utf8(bytes).map_err(|error| JsonError::Utf8 { at: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::ByteOrderMark);
    }
    let mut depth: usize = 0;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > NESTING_DEPTH_MAX {
                    return Err(JsonError::Depth { at });
                }
            }
            // Brackets that do not match are for the parser to find.
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(text)
}

/// An object with distinct keys, its values not yet parsed.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses `text`, which must be one object and nothing else.
    pub fn parse(text: &'a str) -> Result<Self, JsonError> {
        parse(text)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key == name)
    }

    /// The value under `name`. `null` is taken as absent, as clients write it for empty values.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let (_, value) = self.members.iter().find(|(key, _)| key == name)?;
        (value.get() != "null").then_some(*value)
    }

    /// The value under `name`, parsed; `None` if it is absent or `null`.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, JsonError> {
        self.get(name).map(|value| parse(value.get())).transpose()
    }

    /// A key that a reader without regard to case takes for one of `names`.
    pub fn lookalike(&self, names: &[&str]) -> Option<&str> {
        let same = |key: &str, name: &str| key != name && key.chars().map(fold).eq(name.chars().map(fold));
        let keys = self.members.iter().map(|(key, _)| &**key);
        keys.filter(|key| !names.contains(key)).find(|key| names.iter().any(|name| same(key, name)))
    }
}

/// Parses a value; the error says what is wrong and where.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(text).map_err(|error| JsonError::Syntax(error.to_string()))
}

/// A map of strings with distinct keys, such as annotations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct StringMap(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = StringMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StringMap, A::Error> {
                let mut strings = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if strings.insert(key, value).is_some() {
                        return Err(A::Error::custom(REPEATED));
                    }
                    if strings.len() > MEMBERS_MAX {
                        return Err(A::Error::custom(format_args!("an object has more than {MEMBERS_MAX} members")));
                    }
                }
                Ok(StringMap(strings))
            }
        }
        deserializer.deserialize_map(Strings)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom(format_args!("an object has more than {MEMBERS_MAX} members")));
                    }
                    members.push((key, value));
                }
                members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
                match members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                    true => Err(A::Error::custom(REPEATED)),
                    false => Ok(Object { members }),
                }
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Any value that has one meaning: the strings have no halves of surrogate pairs, the numbers are
/// finite, the keys of each object are distinct. Only the parser's own checks and the keys matter;
/// nothing is kept.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Unambiguous;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unambiguous, A::Error> {
                while list.next_element::<Unambiguous>()?.is_some() {}
                Ok(Unambiguous)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
                let mut keys = Vec::new();
                while let Some((Key(key), Unambiguous)) = map.next_entry()? {
                    if keys.len() == MEMBERS_MAX {
                        return Err(A::Error::custom(format_args!("an object has more than {MEMBERS_MAX} members")));
                    }
                    keys.push(key);
                }
                keys.sort_unstable();
                match keys.windows(2).any(|pair| pair[0] == pair[1]) {
                    true => Err(A::Error::custom(REPEATED)),
                    false => Ok(Unambiguous),
                }
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Case folding as far as it reaches ASCII letters: besides the upper case these have the long s
/// and the Kelvin sign as equals (Unicode CaseFolding.txt).
fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys<'a>(object: &'a Object<'_>) -> Vec<&'a str> {
        object.members.iter().map(|(key, _)| &**key).collect()
    }

    #[test]
    fn members_are_found_by_their_meaning() {
        let object = Object::parse(r#" {"b": [1, 2], "\u0061": "x", "c": null} "#).unwrap();
        assert_eq!(keys(&object), ["a", "b", "c"]);
        assert_eq!(object.read::<String>("a"), Ok(Some("x".to_owned())));
        assert_eq!(object.read::<Vec<u8>>("b"), Ok(Some(vec![1, 2])));
        assert!(object.contains("c") && object.get("c").is_none() && !object.contains("d"));
        assert!(object.read::<u64>("a").is_err());
    }

    #[test]
    fn repeated_keys_are_refused_however_they_are_written() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#] {
            assert!(Object::parse(text).is_err(), "{text}");
        }
        assert!(parse::<StringMap>(r#"{"a":"1","a":"1"}"#).is_err());
        assert!(parse::<StringMap>(r#"{"a":1}"#).is_err());
        assert!(parse::<StringMap>(r#"{"a":"1","A":"1"}"#).is_ok());
    }

    #[test]
    fn what_is_no_single_object_is_refused() {
        for text in ["", "[]", "1", "{}{}", "{", "{\"a\"}", "{a:1}", "{\"a\":1,}", "{\"a\":\"\u{1}\"}", "null"] {
            assert!(Object::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn members_are_counted() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|index| format!("\"{index}\":\"\"")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Object::parse(&object(MEMBERS_MAX)).is_ok());
        assert!(Object::parse(&object(MEMBERS_MAX + 1)).is_err());
        assert!(parse::<StringMap>(&object(MEMBERS_MAX)).is_ok());
        assert!(parse::<StringMap>(&object(MEMBERS_MAX + 1)).is_err());
    }

    #[test]
    fn lookalikes_are_found() {
        let names = ["layers", "mediaType", "links"];
        for key in ["Layers", "LAYERS", "mediatype", "layer\u{17f}", "lin\u{212a}s"] {
            let text = format!("{{\"{key}\":1}}");
            assert_eq!(Object::parse(&text).unwrap().lookalike(&names), Some(key));
        }
        for key in ["layers", "layer", "org.layers", "l\u{e4}yers"] {
            let text = format!("{{\"{key}\":1}}");
            assert_eq!(Object::parse(&text).unwrap().lookalike(&names), None);
        }
    }

    #[test]
    fn encoding_and_depth_are_checked_first() {
        assert_eq!(check(b"{\"a\":\"\xff\"}"), Err(JsonError::Utf8 { at: 6 }));
        assert_eq!(check("\u{feff}{}".as_bytes()), Err(JsonError::ByteOrderMark));
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(nested(NESTING_DEPTH_MAX).as_bytes()).is_ok());
        let error = Err(JsonError::Depth { at: NESTING_DEPTH_MAX });
        assert_eq!(check(nested(NESTING_DEPTH_MAX + 1).as_bytes()), error);
        assert_eq!(check(nested(1_000_000).as_bytes()), error);
        let quoted = format!("{{\"\\\"{}\\\\\": 1}}", "[".repeat(100));
        assert!(check(quoted.as_bytes()).is_ok());
    }

    #[test]
    fn every_part_has_one_meaning() {
        for text in [
            r#"{"a":"\ud800"}"#,
            r#"{"\udc00":1}"#,
            r#"{"a":1e999}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            "{\"a\":01}",
            "{} {}",
            "",
        ] {
            assert!(matches!(check(text.as_bytes()), Err(JsonError::Syntax(_))), "{text}");
        }
        let text = r#"{"a":[{"b":1},{"b":-2.5e3,"B":null}],"c":"\ud83d\ude00","d":[true,false,18446744073709551616]}"#;
        assert_eq!(check(text.as_bytes()), Ok(text));
    }

    proptest! {
        #[test]
        fn depth_agrees_with_a_parsed_value(text in "[\\[\\]{}\":,a1\\\\]{0,24}") {
            fn depth(value: &serde_json::Value) -> usize {
                match value {
                    serde_json::Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
                    serde_json::Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
                    _ => 0,
                }
            }
            if let Ok(value) = serde_json::from_str(&text) {
                prop_assert_eq!(check_nesting(text.as_bytes()).is_ok(), depth(&value) <= NESTING_DEPTH_MAX);
            }
        }
    }
}
