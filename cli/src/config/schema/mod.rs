//! What a configuration file may have, as a JSON Schema (draft 2020-12), made from the tables of keys.
//!
//! In: the tables. Out: one document. Objects are closed: an unknown key is an error here as it is when a file is
//! read. Upper and lower case, which are the same to the reader, are not the same to a schema: it has the documented
//! spelling. Keys of zot that are not supported are marked as deprecated.

#[cfg(test)]
mod tests;
pub mod trees;

use orlop_api::limits::{Limit, Limits, Unit};
use serde_json::{Map, Value, json};

use super::{
    described::{Effect, ROWS, TREE_ROWS, Takes, effect_of},
    keys::{self, Found},
    limits,
};

/// Go's durations as far as a schema can tell them.
const DURATION: &str = r"^[-+]?(0|([0-9]*\.?[0-9]*(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$";

/// The whole schema.
pub fn document() -> Value {
    let mut root = closed(Map::new());
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Configuration of orlop");
    for row in ROWS.iter().filter(|row| is_known(row.path)) {
        put(&mut root, row.path, described(takes(row.takes), row.about, row.effect));
    }
    for row in TREE_ROWS.iter().filter(|row| is_known(row.path)) {
        put(&mut root, row.path, described((row.schema)(), row.about, row.effect));
    }
    for (limit, path) in Limits::table().iter().zip(limits::paths()) {
        put(&mut root, &path, self::limit(limit));
    }
    for (path, feature) in keys::UNSUPPORTED {
        let about = format!("A key of zot that is not supported ({feature}).");
        put(&mut root, path, json!({ "description": about, "deprecated": true }));
    }
    root
}

/// Rows are of every build, keys of this one.
fn is_known(path: &str) -> bool {
    matches!(keys::find(path), Some(Found::Key(_) | Found::Tree(_)))
}

fn described(mut schema: Value, about: &str, effect: Effect) -> Value {
    let when = match effect {
        Effect::Live => "",
        Effect::Restart => " A change takes effect with a restart.",
    };
    schema["description"] = json!(format!("{about}{when}"));
    schema
}

fn takes(takes: Takes) -> Value {
    match takes {
        Takes::Text => json!({ "type": "string" }),
        // Some are optional by being empty, as in zot.
        Takes::Path => json!({ "type": "string" }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::True => json!({ "type": "boolean", "enum": [true] }),
        Takes::Whole | Takes::Bytes => json!({ "type": "integer", "minimum": 0 }),
        Takes::Duration => duration(),
        Takes::Port => json!({ "type": ["string", "integer"], "pattern": "^[0-9]*$", "minimum": 0, "maximum": 65535 }),
        Takes::OneOf(names) => json!({ "type": "string", "enum": names }),
        Takes::Texts => list(json!({ "type": "string" })),
        Takes::Some(names) => list(json!({ "type": "string", "enum": names })),
    }
}

fn limit(limit: &'static Limit) -> Value {
    let Limit { default, min, max, unit, meaning, .. } = *limit;
    let unit = match unit {
        Unit::Bytes => " In bytes.",
        Unit::Milliseconds => " In milliseconds.",
        Unit::Count => "",
    };
    let schema = json!({ "type": "integer", "minimum": min, "maximum": max, "default": default });
    let effect = effect_of(&Found::Limit(limit)).unwrap_or(Effect::Live);
    described(schema, &format!("{meaning}{unit}"), effect)
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": DURATION })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// An object of exactly these keys, of which none has to be there.
fn closed(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// Puts the schema of a key to its place, below the sections that its path names.
fn put(root: &mut Value, path: &str, schema: Value) {
    let mut place = root;
    for name in path.split('.') {
        if place.get("properties").is_none() {
            *place = closed(Map::new());
        }
        place = &mut place["properties"][name];
    }
    *place = schema;
}
