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
            "http": {"port": "8080", "realm": "a", "limits": {"tags_page_max": 10, "acceptQueueMax": 5}},
            "storage": {"retention": {"dryRun": true}, "quotas": []},
            "log": {"level": "info"}
        }"#;
        assert_eq!(changes(before, before), (vec![], vec![]));
        let after = r#"{
            "HTTP": {"Port": "8081", "Realm": "b", "limits": {"tagsPageMax": 11, "accept_queue_max": 6}},
            "storage": {"Retention": {"dryRun": false}, "io": "threads"},
            "log": {"level": "info", "audit": "x"}
        }"#;
        let (live, restart) = changes(before, after);
        assert_eq!(live, ["http.limits.tagsPageMax", "http.realm", "log.audit", "storage.quotas", "storage.retention"]);
        assert_eq!(restart, ["http.limits.acceptQueueMax", "http.port", "storage.io"], "in any spelling");
        assert_eq!(changes("{}", r#"{"extensions": {"search": {}}}"#), (vec![], vec![]), "it was ignored");
    }
    /// The keys of the first column of a table of the documentation, once for each table.
    fn documented() -> Vec<Vec<String>> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let text = std::fs::read_to_string(path).expect("the documentation");
        let (_, section) = text.split_once("## Changes while it runs").expect("its section");
        let section = section.split("\n## ").next().expect("its text");
        let keys_of = |row: &str| {
            let cell = row.trim_start_matches('|').split('|').next().unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let tables = section.split("\n\n").filter(|part| part.trim_start().starts_with("| key |"));
        tables.map(|table| table.trim().lines().skip(2).flat_map(keys_of).collect()).collect()
    }

    /// How many of the names in a table mean the key; `a.*` is all below `a` that has no name of its own there.
    fn named(table: &[String], key: &str) -> usize {
        match table.iter().filter(|name| *name == key).count() {
            0 => table.iter().filter(|name| name.strip_suffix('*').is_some_and(|part| key.starts_with(part))).count(),
            named => named,
        }
    }

    #[test]
    #[cfg(all(feature = "auth", feature = "ldap", feature = "openid", feature = "bearer"))]
    fn the_documentation_says_of_every_key_when_its_change_takes_effect() {
        let tables = documented();
        let [live, restart] = &tables[..] else { panic!("two tables, not {}", tables.len()) };
        let keys = keys::KEYS.iter().map(|key| key.path.to_owned());
        let all: Vec<String> =
            keys.chain(keys::TREES.iter().map(|tree| tree.path.to_owned())).chain(limits::paths()).collect();
        for key in &all {
            let found = keys::find(key).expect("it is listed");
            let is_restart = effect_of(&found) == Some(Effect::Restart);
            assert_eq!(named(restart, key), usize::from(is_restart), "{key} in the table of what needs a start");
            // Those of limits that need one are exceptions from all the others.
            let is_excepted = is_restart && matches!(found, Found::Limit(_));
            assert_eq!(named(live, key) == 1, !is_restart || is_excepted, "{key} in the table of what changes at once");
        }
        for name in live.iter().chain(restart).filter(|name| !name.ends_with('*') && name.contains('.')) {
            assert!(all.contains(name), "{name} is no key");
        }
    }
}
