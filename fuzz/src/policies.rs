//! Policies against a slow reading of the same document.
//!
//! An input is the value of `http.accessControl`. Of whatever is accepted, what three users and nobody may do in some
//! repositories is what the document says when it is read rule by rule.

use orlop_api::access::{Action, Actions, Subject};
use orlop_auth::Pattern;
use serde_json::Value;

use crate::config::Config;

const REPOSITORIES: [&str; 8] = ["a", "a/b", "a/b/c", "b", "alice", "alice/a", "team/x", "team-a/x/y"];

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let file = format!(r#"{{"http": {{"accessControl": {text}}}}}"#);
    let Ok(config) = Config::parse(std::path::Path::new("file.json"), file.as_bytes(), false) else { return };
    let document: Value = serde_json::from_str(&file).expect("an accepted file is JSON");
    let Some(policy) = config.access.options.policy else { return };
    let document = field(field(&document, "http"), "accessControl");
    let anonymous = Subject::anonymous();
    let users = ["alice", "bob", "a"].map(|name| Subject::user(name, vec!["shown".into()]));
    for subject in users.iter().chain([&anonymous]) {
        for repository in REPOSITORIES {
            let expected = slow(document, subject, repository);
            assert_eq!(policy.actions(subject, repository), expected, "{subject:?} in {repository}");
        }
    }
}

/// A member by its name, whatever its case; null if there is none.
fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let entries = value.as_object().into_iter().flatten();
    entries.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or(&Value::Null)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn actions(value: &Value) -> Actions {
    texts(value).filter_map(Action::named).collect()
}

fn slow(document: &Value, subject: &Subject, repository: &str) -> Actions {
    let matching = field(document, "repositories").as_object().into_iter().flatten().filter(|(text, _)| {
        Pattern::new(text).is_ok_and(|pattern| pattern.matches(repository) && pattern.is_for(subject, repository))
    });
    let rule = matching.min_by_key(|(text, _)| (std::cmp::Reverse(text.len()), text.as_str())).map(|(_, rule)| rule);
    let Some(name) = subject.name() else {
        return rule.map_or(Actions::NONE, |rule| actions(field(rule, "anonymousPolicy")));
    };
    let groups = field(document, "groups").as_object().into_iter().flatten();
    let of_user = groups.filter(|(_, group)| texts(field(group, "users")).any(|user| user == name));
    let groups: Vec<&str> = of_user.map(|(group, _)| group.as_str()).chain(["shown"]).collect();
    let granted = |rights: &Value| {
        let is_named = texts(field(rights, "users")).any(|user| user == name)
            || texts(field(rights, "groups")).any(|group| groups.contains(&group));
        // Nothing is known of a request here: no condition holds.
        let has_conditions = field(rights, "conditions").as_array().is_some_and(|all| !all.is_empty());
        if is_named && !has_conditions { actions(field(rights, "actions")) } else { Actions::NONE }
    };
    let of_rule = rule.map_or(Actions::NONE, |rule| {
        let policies = field(rule, "policies").as_array().into_iter().flatten();
        policies.map(granted).fold(actions(field(rule, "defaultPolicy")), Actions::union)
    });
    of_rule.union(granted(field(document, "adminPolicy")))
}
