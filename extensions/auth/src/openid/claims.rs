//! What a provider says of a user, and who that is here.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::LoginError;

/// The longest name of a user or group, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The most groups of a user; more are left out, in their order.
const GROUPS_MAX: usize = 2000;

/// The claim with the address, which is who a user is if nothing else is.
const EMAIL: &str = "email";

/// Which claims say who a user is, and in which groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub username: String,
    pub groups: String,
}

impl Default for Claims {
    fn default() -> Self {
        Claims { username: EMAIL.to_owned(), groups: "groups".to_owned() }
    }
}

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    /// In byte order, each once.
    pub groups: Vec<Box<str>>,
}

impl Identity {
    /// Errors: a name that is empty, too long, or has control characters.
    pub fn new(user: &str, groups: impl IntoIterator<Item = String>) -> Result<Self, LoginError> {
        if !is_name(user) {
            let reason = format!("its name for the user is not 1 to {NAME_BYTES_MAX} bytes of plain text");
            return Err(LoginError::Nobody(reason));
        }
        let groups: BTreeSet<String> = groups.into_iter().filter(|group| is_name(group)).collect();
        if groups.len() > GROUPS_MAX {
            tracing::warn!(
                user,
                groups = groups.len(),
                max = GROUPS_MAX,
                "a user has too many groups; some do not count"
            );
        }
        let groups = groups.into_iter().take(GROUPS_MAX).map(String::into_boxed_str).collect();
        Ok(Identity { user: user.to_owned(), groups })
    }
}

impl Claims {
    /// Who it is that `token`, which was signed, and `info`, which was asked for, speak of. Where both say something,
    /// `info` counts; groups count from both.
    ///
    /// Errors: no claim with a name, or one with an address that the provider has not verified.
    pub(super) fn identity(
        &self,
        token: &Map<String, Value>,
        info: &Map<String, Value>,
    ) -> Result<Identity, LoginError> {
        let text = |claim: &str| {
            let value = info.get(claim).or_else(|| token.get(claim))?.as_str()?;
            Some(value).filter(|value| !value.is_empty())
        };
        let (claim, user) = match text(&self.username) {
            Some(user) => (self.username.as_str(), user),
            None => match text(EMAIL) {
                Some(user) => (EMAIL, user),
                None => {
                    let reason = format!("there is neither {:?} nor {EMAIL:?} in what it says", self.username);
                    return Err(LoginError::Nobody(reason));
                }
            },
        };
        if claim == EMAIL && [info, token].into_iter().any(|claims| is_unverified(claims, user)) {
            return Err(LoginError::Nobody("it has not verified the address of the user".to_owned()));
        }
        let groups = [info, token].into_iter().filter_map(|claims| claims.get(&self.groups)).flat_map(names);
        Identity::new(user, groups)
    }
}

/// Whether these claims are of this address, and say that nobody knows whose it is. Some providers write the word
/// instead of the value.
fn is_unverified(claims: &Map<String, Value>, email: &str) -> bool {
    let is_of = claims.get(EMAIL).and_then(Value::as_str) == Some(email);
    let is_false = |value: &Value| value == &Value::Bool(false) || value.as_str() == Some("false");
    is_of && claims.get("email_verified").is_some_and(is_false)
}

/// A text, or a list of texts.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(values) => values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn identity(claims: &Claims, token: Value, info: Value) -> Result<Identity, String> {
        let object = |value: Value| value.as_object().expect("an object").clone();
        claims.identity(&object(token), &object(info)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_address_is_the_name_unless_another_claim_is_asked_for() {
        let info = json!({ "sub": "7", "email": "a@b", "preferred_username": "alice", "department": "x" });
        for (claim, user) in [("email", "a@b"), ("sub", "7"), ("preferred_username", "alice"), ("department", "x")] {
            let claims = Claims { username: claim.to_owned(), ..Claims::default() };
            assert_eq!(identity(&claims, json!({}), info.clone()).expect("a user").user, user);
        }
        let claims = Claims { username: "name".to_owned(), ..Claims::default() };
        assert_eq!(identity(&claims, json!({}), info).expect("a user").user, "a@b", "the address is left");
        assert_eq!(identity(&claims, json!({ "name": "Al" }), json!({})).expect("a user").user, "Al", "of the token");
        assert!(identity(&claims, json!({ "sub": "7" }), json!({ "name": 7 })).is_err());
    }

    /// The kind of CVE-2023-7028: an address that somebody only says is his is no identity.
    #[test]
    fn an_address_that_nobody_verified_is_no_name() {
        for is_verified in [json!(false), json!("false")] {
            let info = json!({ "sub": "7", "email": "root@b", "email_verified": is_verified });
            let error = identity(&Claims::default(), json!({}), info.clone()).expect_err("refused");
            assert!(error.contains("not verified"), "{error}");
            let error = identity(&Claims::default(), info.clone(), json!({ "email": "root@b" }));
            assert!(error.is_err(), "what the token says counts as well");
            let claims = Claims { username: "sub".to_owned(), ..Claims::default() };
            assert_eq!(identity(&claims, json!({}), info).expect("a user").user, "7", "the address is not asked for");
        }
        let info = json!({ "email": "a@b", "email_verified": true });
        assert_eq!(identity(&Claims::default(), json!({}), info).expect("a user").user, "a@b");
    }

    #[test]
    fn groups_come_from_both_once_and_in_order() {
        let token = json!({ "groups": ["c", "a", 7, ""] });
        let info = json!({ "email": "a@b", "groups": ["b", "a"], "roles": "r" });
        let groups = |claims: &Claims| identity(claims, token.clone(), info.clone()).expect("a user").groups;
        assert_eq!(groups(&Claims::default()), ["a", "b", "c"].map(Box::from));
        assert_eq!(groups(&Claims { groups: "roles".to_owned(), ..Claims::default() }), ["r"].map(Box::from));
        assert!(groups(&Claims { groups: "none".to_owned(), ..Claims::default() }).is_empty());
    }

    #[test]
    fn names_are_plain_and_bounded() {
        for user in ["", "a\r\nb", "a\0", &"a".repeat(NAME_BYTES_MAX + 1)] {
            assert!(Identity::new(user, []).is_err(), "{user:?}");
        }
        let many = (0..GROUPS_MAX + 10).map(|number| format!("{number:05}"));
        let identity = Identity::new("a", many.chain(["\n".to_owned()])).expect("a user");
        assert_eq!((identity.groups.len(), &*identity.groups[0]), (GROUPS_MAX, "00000"));
    }
}
