//! The schema against what the reader knows: a small judge of the words that the schema uses.

use std::{fs, path::Path};

use serde_json::Value;

use super::{super::document as files, *};

/// Why a document does not fit, with the place; nothing if it does.
fn judge(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let words = schema.as_object().expect("a schema is an object");
    for (word, wanted) in words {
        let is_met = match word.as_str() {
            "type" => match wanted {
                Value::Array(names) => names.iter().any(|name| is_of(name, value)),
                name => is_of(name, value),
            },
            "enum" => wanted.as_array().expect("a list").contains(value),
            "minimum" => value.as_u64().is_none_or(|number| number >= wanted.as_u64().expect("a number")),
            "maximum" => value.as_u64().is_none_or(|number| number <= wanted.as_u64().expect("a number")),
            "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= wanted.as_u64().expect("a number")),
            "required" => {
                let names = wanted.as_array().expect("a list");
                value
                    .as_object()
                    .is_none_or(|object| names.iter().all(|name| object.contains_key(name.as_str().expect("a name"))))
            }
            "pattern"
            | "properties"
            | "items"
            | "additionalProperties"
            | "default"
            | "description"
            | "deprecated"
            | "title"
            | "$schema" => true,
            other => panic!("the schema uses {other:?}, which is not judged here"),
        };
        if !is_met {
            return Err(format!("{path}: {word} {wanted} is not met by {value}"));
        }
    }
    if let Some(object) = value.as_object() {
        for (name, value) in object {
            let below = format!("{path}.{name}");
            match (
                words.get("properties").and_then(|properties| properties.get(name)),
                words.get("additionalProperties"),
            ) {
                (Some(schema), _) => judge(schema, value, &below)?,
                (None, Some(Value::Bool(false))) => return Err(format!("{below} is unknown")),
                (None, Some(schema)) => judge(schema, value, &below)?,
                (None, None) => {}
            }
        }
    }
    for (at, value) in value.as_array().into_iter().flatten().enumerate() {
        if let Some(schema) = words.get("items") {
            judge(schema, value, &format!("{path}[{at}]"))?;
        }
    }
    Ok(())
}

fn is_of(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("the name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the schema uses the type {other:?}, which is not judged here"),
    }
}

/// The schema of a key, by its path.
fn at<'s>(schema: &'s Value, path: &str) -> &'s Value {
    path.split('.').fold(schema, |schema, name| &schema["properties"][name])
}

#[test]
fn every_key_is_in_the_schema_with_its_type_and_words() {
    let schema = document();
    let limits: Vec<String> = limits::paths().collect();
    let keys = keys::KEYS.iter().map(|key| key.path).chain(keys::TREES.iter().map(|tree| tree.path));
    for path in keys.chain(limits.iter().map(String::as_str)) {
        let key = at(&schema, path);
        assert!(key["type"].is_string() || key["type"].is_array(), "{path}: {key}");
        assert!(key["description"].as_str().is_some_and(|text| text.contains('.')), "{path}: {key}");
    }
    for (path, feature) in keys::UNSUPPORTED {
        let key = at(&schema, path);
        assert!(key["deprecated"] == true && key["description"].to_string().contains(feature), "{path}: {key}");
    }
    assert_eq!(at(&schema, "http.limits.manifestBytesMax")["default"], Limits::default().manifest_bytes_max);
    assert!(at(&schema, "http.port")["description"].to_string().contains("restart"));
    assert!(!at(&schema, "http.accessControl")["description"].to_string().contains("restart"));
}

#[test]
fn every_example_fits() {
    let schema = document();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        let text = fs::read(&path).expect("read");
        let value = files::read(&path, &text).unwrap_or_else(|error| panic!("{error}"));
        judge(&schema, &plain(&value), "").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
#[cfg(feature = "auth")]
fn every_document_of_zots_keys_that_is_accepted_fits() {
    let schema = document();
    let mut fitting = 0;
    for text in super::super::zot::documents() {
        let value: Value = serde_json::from_str(text).expect("JSON");
        if super::super::Config::parse(Path::new("c.json"), text.as_bytes(), false).is_ok() {
            judge(&schema, &value, "").unwrap_or_else(|error| panic!("{error}: {text}"));
            fitting += 1;
        }
    }
    assert!(fitting >= 4, "{fitting}");
}

#[test]
fn what_is_refused_for_its_form_does_not_fit() {
    let schema = document();
    for text in [
        r#"{"htpt": {}}"#,
        r#"{"http": {"prot": "80"}}"#,
        r#"{"http": {"port": true}}"#,
        r#"{"http": {"limits": {"connectionsMax": 0}}}"#,
        r#"{"storage": {"gc": "true"}}"#,
        r#"{"storage": {"commit": false}}"#,
        r#"{"storage": {"io": "fast"}}"#,
        r#"{"storage": {"retention": {"policies": [{"keepTags": []}]}}}"#,
        r#"{"storage": {"retention": {"policies": [{"repositories": ["a"], "keepTag": []}]}}}"#,
        r#"{"storage": {"quotas": [{"prefix": "a"}]}}"#,
        r#"{"extensions": {"scrub": {"rate": "fast"}}}"#,
        r#"{"http": {"compat": ["docker2s3"]}}"#,
        r#"{"log": {"level": "loud"}}"#,
    ] {
        let value: Value = serde_json::from_str(text).expect("JSON");
        assert!(judge(&schema, &value, "").is_err(), "{text}");
        let read = super::super::Config::parse(Path::new("c.json"), text.as_bytes(), false);
        assert!(read.is_err(), "{text}");
    }
}

/// The same as serde has it.
fn plain(value: &super::super::value::Value) -> Value {
    use super::super::value::Value as Read;
    match value {
        Read::Null => Value::Null,
        Read::Bool(value) => (*value).into(),
        Read::Whole(number) => (*number).into(),
        Read::Number(number) => (*number).into(),
        Read::Text(text) => text.as_str().into(),
        Read::List(values) => values.iter().map(plain).collect(),
        Read::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
    }
}
