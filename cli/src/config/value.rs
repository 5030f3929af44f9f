//! A document as it was written: objects keep the order and the repetition of their keys.
//!
//! In: the text of a configuration file. Out: a tree whose accessors say what they expected.
//! The usual maps would lose the second of two equal keys before anyone could complain.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// One value, of any of the formats.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// A number without fraction or exponent that is not negative.
    Whole(u64),
    /// Any other number.
    Number(f64),
    Text(String),
    List(Vec<Value>),
    /// Keys in the order of the file, repetitions included.
    Object(Vec<(String, Value)>),
}

/// How the reader of TOML gives a date or a time: as an object with this key, and the text.
const TOML_DATETIME: &str = "$__toml_private_datetime";

/// Why a value cannot be used for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The value has the wrong JSON type.
    Type { expected: &'static str, found: &'static str },
    /// The type is right, the value is not; says what was wrong and what was expected.
    Unusable(String),
    /// The value asks for something that this version does not do.
    Unsupported(String),
}

impl Value {
    /// Parses one JSON document. Nesting is limited by serde_json (128 levels).
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    pub fn object(&self) -> Result<&[(String, Value)], Problem> {
        match self {
            Value::Object(entries) => Ok(entries),
            other => Err(other.is_not("an object")),
        }
    }

    pub fn list(&self, expected: &'static str) -> Result<&[Value], Problem> {
        match self {
            Value::List(values) => Ok(values),
            other => Err(other.is_not(expected)),
        }
    }

    pub fn text(&self, expected: &'static str) -> Result<&str, Problem> {
        match self {
            Value::Text(text) => Ok(text),
            other => Err(other.is_not(expected)),
        }
    }

    pub fn bool(&self) -> Result<bool, Problem> {
        match self {
            Value::Bool(value) => Ok(*value),
            other => Err(other.is_not("true or false")),
        }
    }

    pub fn whole(&self, expected: &'static str) -> Result<u64, Problem> {
        match self {
            Value::Whole(number) => Ok(*number),
            other => Err(other.is_not(expected)),
        }
    }

    /// The error for a value of the wrong type.
    pub fn is_not(&self, expected: &'static str) -> Problem {
        let found = match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Whole(_) => "a number",
            Value::Number(_) => "a negative, fractional or very large number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        };
        Problem::Type { expected, found }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Number(value as f64), Value::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        match entries.pop() {
            Some((key, text @ Value::Text(_))) if entries.is_empty() && key == TOML_DATETIME => return Ok(text),
            last => entries.extend(last),
        }
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_repetition_of_keys() {
        let value = Value::parse(br#"{"b": 1, "a": [null, true, -1, 1.5], "b": "x"}"#).expect("valid JSON");
        let list = vec![Value::Null, Value::Bool(true), Value::Number(-1.0), Value::Number(1.5)];
        assert_eq!(
            value,
            Value::Object(vec![
                ("b".into(), Value::Whole(1)),
                ("a".into(), Value::List(list)),
                ("b".into(), Value::Text("x".into())),
            ])
        );
    }

    #[test]
    fn refuses_deep_nesting_and_trailing_text() {
        assert!(Value::parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(Value::parse(b"{} {}").is_err());
    }
}
