//! The schemas of keys that take a document of their own.

use serde_json::{Value, json};

use super::{closed, duration, list};

/// An object of exactly these keys.
fn object<const N: usize>(keys: [(&str, Value); N]) -> Value {
    closed(keys.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect())
}

/// An object whose keys are the operator's own.
fn entries(schema: Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn whole() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn texts() -> Value {
    list(json!({ "type": "string" }))
}

fn names() -> Value {
    list(json!({ "type": "string", "minLength": 1 }))
}

/// `storage.retention`.
pub fn retention() -> Value {
    let rules = || {
        [
            ("mostRecentlyPushedCount", whole()),
            ("mostRecentlyPulledCount", whole()),
            ("pushedWithin", duration()),
            ("pulledWithin", duration()),
        ]
    };
    let [pushed_count, pulled_count, pushed_within, pulled_within] = rules();
    let keep_tags = object([("patterns", texts()), pushed_count, pulled_count, pushed_within, pulled_within]);
    let mut policy = object([
        ("repositories", texts()),
        ("deleteReferrers", flag()),
        ("deleteUntagged", flag()),
        ("keepTags", list(keep_tags)),
        ("keepUntagged", object(rules())),
    ]);
    policy["required"] = json!(["repositories"]);
    object([("dryRun", flag()), ("delay", duration()), ("policies", list(policy))])
}

/// `storage.quotas`.
pub fn quotas() -> Value {
    let mut quota = object([("prefix", json!({ "type": "string" })), ("bytes", whole())]);
    quota["required"] = json!(["prefix", "bytes"]);
    list(quota)
}

/// `extensions.scrub`.
pub fn scrub() -> Value {
    object([("enable", flag()), ("interval", duration()), ("rate", whole())])
}

/// `http.accessControl`.
pub fn access_control() -> Value {
    let actions = || {
        let all = ["read", "create", "update", "delete", "detectManifestCollision"];
        list(json!({ "type": "string", "enum": all }))
    };
    let rights = || object([("users", names()), ("groups", names()), ("actions", actions())]);
    let rules = object([
        ("policies", list(rights())),
        ("defaultPolicy", actions()),
        ("anonymousPolicy", actions()),
        ("immutableTags", texts()),
    ]);
    object([
        ("repositories", entries(rules)),
        ("adminPolicy", rights()),
        ("groups", entries(object([("users", names())]))),
        ("metrics", object([("users", names()), ("anonymousPolicy", actions())])),
    ])
}
