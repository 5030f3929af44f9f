//! What a token says: when, for whom, from whom, and what it allows (RFC 7519 section 4.1, distribution token
//! specification).
//!
//! In: the claims of a token whose signature was right. Out: until when it holds, and what it allows.

use std::{sync::Arc, time::SystemTime};

use orlop_api::access::{Action, Actions};
use serde_json::{Map, Value};

use crate::evidence::{Reach, Scopes};

pub type Claims = Map<String, Value>;

/// How far the clock of an issuer may be ahead, in seconds. When a token ends is not stretched by it.
const AHEAD_SECONDS_MAX: f64 = 10.0;

/// What is asked of every token of an issuer.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// `iss`; not looked at without one.
    pub issuer: Option<String>,
    /// One of these has to be in `aud`; not looked at if there are none.
    pub audiences: Vec<String>,
}

impl Expected {
    /// Until when a token holds, in seconds since 1970. `None` if it does not: one without an end never does.
    pub fn holds_until(&self, claims: &Claims, now: u64) -> Option<u64> {
        let is_later = |name: &str| match claims.get(name) {
            None => Some(false),
            Some(value) => value.as_f64().map(|time| time > now as f64 + AHEAD_SECONDS_MAX),
        };
        let until = end(claims.get("exp")?)?;
        let is_new_enough = !is_later("nbf")? && !is_later("iat")?;
        let is_from = self.issuer.as_deref().is_none_or(|issuer| text(claims, "iss") == Some(issuer));
        (until > now && is_new_enough && is_from && self.is_for_us(claims)).then_some(until)
    }

    /// `aud` is a text or a list of them (RFC 7519 section 4.1.3).
    pub fn is_for_us(&self, claims: &Claims) -> bool {
        let is_ours = |value: &Value| value.as_str().is_some_and(|found| self.audiences.iter().any(|one| one == found));
        self.audiences.is_empty()
            || match claims.get("aud") {
                Some(Value::Array(values)) => values.iter().any(is_ours),
                Some(value) => is_ours(value),
                None => false,
            }
    }
}

/// A claim that is a text with something in it.
pub fn text<'c>(claims: &'c Claims, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time at which something ends, rounded down; `None` for what is no time.
fn end(value: &Value) -> Option<u64> {
    // Casting stays within the range: what is too large is the end of time.
    value.as_f64().filter(|time| *time >= 0.0).map(|time| time as u64)
}

/// What the claim `access` allows, and until when that is all of it: entries may end before their token, which is
/// zot's addition. Entries of other types are for somebody else; names are names, without patterns.
pub fn access(claims: &Claims, now: u64) -> (Arc<Scopes>, Option<u64>) {
    let (mut scopes, mut first_end) = (Vec::new(), None);
    for entry in claims.get("access").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        if text(entry, "type") != Some("repository") {
            continue;
        }
        let until = match entry.get("exp") {
            None => u64::MAX,
            Some(value) => end(value).unwrap_or(0),
        };
        if until > now {
            first_end = Some(until.min(first_end.unwrap_or(u64::MAX)));
            let words = entry.get("actions").and_then(Value::as_array).into_iter().flatten();
            let actions = words.filter_map(Value::as_str).map(meaning).fold(Actions::NONE, Actions::union);
            if let Some(name) = text(entry, "name") {
                scopes.push((Reach::Named(name.into()), actions));
            }
        }
    }
    (Arc::new(Scopes::new(scopes)), first_end)
}

/// Words that are not known allow nothing.
fn meaning(word: &str) -> Actions {
    match word {
        "pull" => Actions::of(&[Action::Read]),
        "push" => Actions::of(&[Action::Create, Action::Update]),
        "delete" => Actions::of(&[Action::Delete]),
        "*" => Actions::FULL,
        _ => Actions::NONE,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(claims) => claims,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn a_token_holds_in_its_time_and_never_without_an_end() {
        let until = |value: Value| Expected::default().holds_until(&claims(value), 1000);
        assert_eq!(until(json!({"exp": 1001})), Some(1001));
        assert_eq!(
            until(json!({"exp": 1001.9, "nbf": 1010, "iat": 1010})),
            Some(1001),
            "a clock may be ahead a little"
        );
        assert_eq!(until(json!({"exp": 1e300})), Some(u64::MAX));
        for value in [
            json!({}),
            json!({"exp": 1000}),
            json!({"exp": -1}),
            json!({"exp": "2000"}),
            json!({"exp": null}),
            json!({"exp": 2000, "nbf": 1011}),
            json!({"exp": 2000, "iat": 1011}),
            json!({"exp": 2000, "nbf": "1"}),
            json!({"exp": 2000, "iat": []}),
        ] {
            assert_eq!(until(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn a_token_is_from_whom_and_for_whom_it_should_be() {
        let expected = Expected { issuer: Some("i".into()), audiences: vec!["a".into(), "b".into()] };
        let holds = |value: Value| expected.holds_until(&claims(value), 0).is_some();
        assert!(holds(json!({"exp": 1, "iss": "i", "aud": "b"})));
        assert!(holds(json!({"exp": 1, "iss": "i", "aud": [1, "x", "a"]})));
        for value in [
            json!({"exp": 1, "aud": "a"}),
            json!({"exp": 1, "iss": "i"}),
            json!({"exp": 1, "iss": "I", "aud": "a"}),
            json!({"exp": 1, "iss": ["i"], "aud": "a"}),
            json!({"exp": 1, "iss": "i", "aud": []}),
            json!({"exp": 1, "iss": "i", "aud": ["c"]}),
            json!({"exp": 1, "iss": "i", "aud": {"a": "a"}}),
        ] {
            assert!(!holds(value.clone()), "{value}");
        }
    }

    #[test]
    fn access_is_for_repositories_by_their_names() {
        let value = json!({"access": [
            {"type": "repository", "name": "a", "actions": ["pull", "fly", 1]},
            {"type": "repository", "name": "b", "actions": ["push"]},
            {"type": "repository", "name": "c", "actions": ["*"], "exp": 20},
            {"type": "repository", "name": "a", "actions": ["delete"], "exp": 10},
            {"type": "repository", "name": "d", "actions": ["pull"], "exp": "30"},
            {"type": "repository", "name": "*", "actions": ["pull"]},
            {"type": "repository", "actions": ["pull"]},
            {"type": "repository(plugin)", "name": "e", "actions": ["pull"]},
            {"type": "registry", "name": "catalog", "actions": ["*"]},
            {"name": "e", "actions": ["pull"]},
            "repository:e:pull",
        ]});
        let (scopes, until) = access(&claims(value), 10);
        assert_eq!(until, Some(20));
        assert_eq!(scopes.actions("a"), Actions::of(&[Action::Read]), "the other entry is over");
        assert_eq!(scopes.actions("b"), Actions::of(&[Action::Create, Action::Update]));
        assert_eq!(scopes.actions("c"), Actions::FULL);
        for name in ["d", "e", "catalog", "a/b", ""] {
            assert_eq!(scopes.actions(name), Actions::NONE, "{name}");
        }
        for value in [json!({}), json!({"access": {}}), json!({"access": [[]]})] {
            assert_eq!(access(&claims(value), 0).0.actions("a"), Actions::NONE);
        }
    }
}
