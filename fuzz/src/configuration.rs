//! Configuration files against a plain reading of the same JSON.
//!
//! An input is the text of a file. Read as JSON, whatever is accepted is an object whose keys are known and not repeated,
//! and means the same with its keys in another order; whatever is refused is refused in one line. The same text as
//! TOML, as YAML, and in a file whose name says nothing, is accepted or refused in one line as well.

use std::path::Path;

use serde_json::Value;

use crate::config::{Config, ErrorKind, value::Value as Ordered};

/// What an error adds to the key or value it shows, in bytes. A control character is shown with six.
const ERROR_BYTES_MAX: usize = 2_000;

pub fn run(data: &[u8]) {
    for name in ["c.toml", "c.yaml", "c"] {
        if let Err(error) = Config::parse(Path::new(name), data, true) {
            is_one_line(&error.to_string(), data);
        }
    }
    let config = match parse(data) {
        Ok(config) => config,
        Err(error) => {
            is_one_line(&error.to_string(), data);
            // It does not depend on the order whether there is one.
            if let Some(reversed) = reversed(data) {
                assert!(parse(&reversed).is_err(), "accepted with its keys reversed");
            }
            return;
        }
    };
    let value: Value = serde_json::from_slice(data).expect("an accepted file is JSON");
    assert!(value.is_object());
    assert_eq!(count_keys(&value), count_ordered(&Ordered::parse(data).expect("JSON")), "a key is there twice");
    let reversed = reversed(data).expect("JSON");
    let again = match parse(&reversed) {
        Ok(config) => config,
        Err(error) => panic!("refused with its keys reversed: {error}"),
    };
    assert_eq!(shown(&config), shown(&again), "the order of keys changes what they mean");
}

fn parse(data: &[u8]) -> Result<Config, ErrorKind> {
    Config::parse(Path::new("c.json"), data, false)
}

fn is_one_line(text: &str, data: &[u8]) {
    assert!(!text.contains(['\n', '\r', '\x1b']), "more than a line: {text:?}");
    assert!(text.len() <= 10 * data.len() + ERROR_BYTES_MAX, "an error of {} bytes", text.len());
}

/// Keys of all objects; of equal ones one.
fn count_keys(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(count_keys).sum::<usize>(),
        Value::Array(list) => list.iter().map(count_keys).sum(),
        _ => 0,
    }
}

fn count_ordered(value: &Ordered) -> usize {
    match value {
        Ordered::Object(entries) => {
            entries.len() + entries.iter().map(|(_, value)| count_ordered(value)).sum::<usize>()
        }
        Ordered::List(list) => list.iter().map(count_ordered).sum(),
        _ => 0,
    }
}

/// The same document with the keys of each object in reverse order. Lists stay.
fn reversed(text: &[u8]) -> Option<Vec<u8>> {
    let mut reversed = String::new();
    write(&Ordered::parse(text).ok()?, &mut reversed);
    Some(reversed.into_bytes())
}

fn write(value: &Ordered, text: &mut String) {
    match value {
        Ordered::Null => text.push_str("null"),
        Ordered::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Ordered::Whole(number) => text.push_str(&number.to_string()),
        Ordered::Number(number) => text.push_str(&Value::from(*number).to_string()),
        Ordered::Text(value) => text.push_str(&Value::from(value.as_str()).to_string()),
        Ordered::List(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write(value, text);
            }
            text.push(']');
        }
        Ordered::Object(entries) => {
            text.push('{');
            for (at, (key, value)) in entries.iter().rev().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
    }
}

/// Everything that a file can set.
fn shown(config: &Config) -> String {
    let Config { root, address, tls, limits, policy, collection, retention, scrub, log, .. } = config;
    let options = &config.engine;
    let mut quotas: Vec<String> = options.quotas.iter().map(|quota| format!("{quota:?}")).collect();
    let mut notes = config.notes.clone();
    quotas.sort();
    notes.sort();
    let engine = (
        (options.inline_bytes_max, options.blob_bytes_max, options.reserve_bytes, options.cache_bytes),
        (options.hot_bytes_max, options.upload_memory_bytes_max, options.reader_memory_bytes_max),
        (options.namespaces_max, options.lease_epochs),
        (options.backend, options.journal),
    );
    format!("{:?}", (root, address, tls, limits, (policy, collection, retention, scrub), log, engine, quotas, notes))
}
