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

fn text() -> Value {
    json!({ "type": "string" })
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
    let mut condition = object([("expression", text()), ("message", text())]);
    condition["required"] = json!(["expression"]);
    let rights = || {
        let conditions = list(condition.clone());
        object([("users", names()), ("groups", names()), ("actions", actions()), ("conditions", conditions)])
    };
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

/// `http.auth.ldap`.
pub fn ldap() -> Value {
    let mut directory = object([
        ("credentialsFile", text()),
        ("address", text()),
        ("port", json!({ "type": "integer", "minimum": 0, "maximum": 65535 })),
        ("insecure", flag()),
        ("startTLS", flag()),
        ("skipVerify", flag()),
        ("cacert", text()),
        ("baseDN", text()),
        ("userAttribute", text()),
        ("userFilter", text()),
        ("userGroupAttribute", text()),
        ("subtreeSearch", flag()),
    ]);
    directory["required"] = json!(["address", "baseDN", "userAttribute"]);
    directory
}

/// `http.auth.bearer`.
pub fn bearer() -> Value {
    let variable = object([("name", text()), ("expression", text())]);
    let validation = object([("expression", text()), ("message", text())]);
    let mapping = object([
        ("variables", list(variable)),
        ("validations", list(validation)),
        ("username", text()),
        ("groups", text()),
    ]);
    let mut provider = object([
        ("issuer", text()),
        ("audiences", texts()),
        ("claimMapping", mapping),
        ("certificateAuthority", text()),
        ("certificateAuthorityFile", text()),
        ("skipIssuerVerification", flag()),
    ]);
    provider["required"] = json!(["issuer", "audiences"]);
    object([
        ("realm", text()),
        ("service", text()),
        ("cert", text()),
        ("issuer", text()),
        ("audience", text()),
        ("oidc", list(provider)),
        ("upstreamTokenEndpoint", object([("realm", text()), ("service", text()), ("allowInsecureHttp", flag())])),
    ])
}

/// `http.auth.openid`.
pub fn openid() -> Value {
    let provider = object([
        ("credentialsFile", text()),
        ("clientid", text()),
        ("clientsecret", text()),
        ("name", text()),
        ("issuer", text()),
        ("keypath", text()),
        ("authurl", text()),
        ("tokenurl", text()),
        ("apiurl", text()),
        ("scopes", texts()),
        ("claimMapping", object([("username", text()), ("groups", text())])),
    ]);
    object([("providers", entries(provider)), ("callbackAllowOrigins", texts())])
}

/// `http.auth.sessionDriver`.
pub fn session_driver() -> Value {
    object([("name", json!({ "type": "string", "enum": ["local"] }))])
}

/// `http.auth.mtls`.
pub fn mtls() -> Value {
    object([
        ("identityAttributes", texts()),
        ("uriSanPattern", text()),
        ("uriSanIndex", whole()),
        ("dnsSanIndex", whole()),
        ("emailSanIndex", whole()),
    ])
}

/// `http.ratelimit`.
pub fn rate_limit() -> Value {
    let mut method = object([("method", text()), ("rate", whole())]);
    method["required"] = json!(["method", "rate"]);
    object([("rate", whole()), ("methods", list(method))])
}

/// `log.traces`.
pub fn traces() -> Value {
    let share = json!({ "type": "number", "minimum": 0, "maximum": 1, "default": 0.01 });
    let name = json!({ "type": "string", "minLength": 1, "default": "orlop" });
    let mut traces =
        object([("endpoint", text()), ("headers", entries(text())), ("sample", share), ("serviceName", name)]);
    traces["required"] = json!(["endpoint"]);
    traces
}
