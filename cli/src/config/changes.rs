//! What differs between two configuration files, key by key.
//!
//! In: the trees of two files that were accepted. Out: the keys, in their documented spelling, whose values are not
//! the same, apart by when the change takes effect. A key that one of the files does not have differs if the other
//! one has it, even with the default.

use super::{
    described::{Effect, effect_of},
    keys::{self, Found},
    limits,
    value::Value,
};

/// The keys that differ and whose change takes effect at this time, in order.
pub fn between(before: &Value, after: &Value, effect: Effect) -> Vec<String> {
    let (mut known, mut found) = (Vec::new(), Vec::new());
    flatten("", before, effect, &mut known);
    flatten("", after, effect, &mut found);
    let has = |all: &[(String, &Value)], one: &(String, &Value)| all.contains(one);
    let gone = known.iter().filter(|one| !has(&found, one));
    let new = found.iter().filter(|one| !has(&known, one));
    let mut paths: Vec<String> = gone.chain(new).map(|(path, _)| path.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Every key of a tree with its value. There are no more than the tables have.
fn flatten<'v>(path: &str, value: &'v Value, effect: Effect, all: &mut Vec<(String, &'v Value)>) {
    for (name, value) in value.object().unwrap_or_default() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(found) = keys::find(&path) else { continue };
        let spelling = match found {
            Found::Section => {
                flatten(&path, value, effect, all);
                continue;
            }
            Found::Key(key) => key.path.to_owned(),
            Found::Tree(tree) => tree.path.to_owned(),
            Found::Limit(limit) => limits::path(limit),
            Found::Unsupported(_) => continue,
        };
        if effect_of(&found) == Some(effect) {
            all.push((spelling, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
        let read = |text: &str| Value::parse(text.as_bytes()).expect("JSON");
        let (before, after) = (read(before), read(after));
        (between(&before, &after, Effect::Live), between(&before, &after, Effect::Restart))
    }

    #[test]
    fn keys_that_differ_are_told_apart_by_when_they_take_effect() {
        let before = r#"{
            "http": {"port": "8080", "realm": "a", "limits": {"tags_page_max": 10, "connectionsMax": 5}},
            "storage": {"retention": {"dryRun": true}, "quotas": []},
            "log": {"level": "info"}
        }"#;
        assert_eq!(changes(before, before), (vec![], vec![]));
        let after = r#"{
            "HTTP": {"Port": "8081", "Realm": "b", "limits": {"tagsPageMax": 11, "connections_max": 6}},
            "storage": {"Retention": {"dryRun": false}, "io": "threads"},
            "log": {"level": "info", "audit": "x"}
        }"#;
        let (live, restart) = changes(before, after);
        assert_eq!(live, ["http.limits.tagsPageMax", "http.realm", "storage.retention"]);
        assert_eq!(
            restart,
            ["http.limits.connectionsMax", "http.port", "log.audit", "storage.io", "storage.quotas"],
            "in any spelling"
        );
        assert_eq!(changes("{}", r#"{"extensions": {"search": {}}}"#), (vec![], vec![]), "it was ignored");
    }
}
