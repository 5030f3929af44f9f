//! `http.auth` and `http.accessControl`, with zot's keys and meaning: who may do what.
//!
//! In: the values of the keys. Out: the options of the authorizer; patterns compiled, so that a mistake in one shows
//! when the file is read and not when somebody was to be kept out. What could grant less than it says, such as a
//! condition that is not understood, is refused.

use std::path::Path;

use orlop_api::{
    access::{Action, Actions},
    front::BasePath,
};
use orlop_auth::{Auth, Keys, Metrics, Origin, Pattern, Policy, Repositories, Rights, Rules};
use orlop_gc::retention::Glob;

use super::{
    Config,
    browser::Browser,
    error::ErrorKind,
    tree::Node,
    value::{Problem, Value},
};
use crate::exit::{Exit, Failure};

/// The key of the policies.
pub const KEY: &str = "http.accessControl";

/// The key of the file with users.
pub const HTPASSWD: &str = "http.auth.htpasswd.path";

/// The key that has users make keys.
pub const API_KEYS: &str = "http.auth.apikey";

/// The most patterns with rules of their own.
const REPOSITORIES_MAX: usize = 100_000;

/// The most policies of a pattern, patterns of tags, and groups.
const POLICIES_MAX: usize = 10_000;

/// The most conditions of a policy.
#[cfg(feature = "conditions")]
const CONDITIONS_MAX: usize = 64;

/// The most users or groups that one list names.
const NAMES_MAX: usize = 100_000;

/// Longer than the list of all actions: some may be there twice.
const ACTIONS_MAX: usize = 16;

/// The longest delay of a refusal, in seconds.
const FAIL_DELAY_SECONDS_MAX: u64 = 60;

/// The most failed logins of an address before it has to wait.
const FAILURES_MAX: u32 = 1_000;

/// What the file says about access.
pub struct Access {
    pub options: orlop_auth::Options,
    pub browser: Browser,
    #[cfg(feature = "bearer")]
    pub foreign: Option<orlop_auth::bearer::ForeignOptions>,
    /// Whether users may make keys.
    pub api_keys: bool,
    #[cfg(feature = "ldap")]
    pub ldap: Option<orlop_auth::ldap::LdapOptions>,
}

impl Default for Access {
    fn default() -> Self {
        let failures_max = Some(orlop_auth::FAILURES_DEFAULT);
        Access {
            options: orlop_auth::Options { failures_max, ..orlop_auth::Options::default() },
            browser: Browser::default(),
            #[cfg(feature = "bearer")]
            foreign: None,
            api_keys: false,
            #[cfg(feature = "ldap")]
            ldap: None,
        }
    }
}

impl Access {
    /// Whether anybody is kept from anything.
    pub fn is_controlled(&self) -> bool {
        self.has_users() || self.api_keys || self.options.policy.is_some()
    }

    /// Whether anybody can show who he is.
    pub fn has_users(&self) -> bool {
        #[cfg(feature = "ldap")]
        if self.ldap.is_some() {
            return true;
        }
        #[cfg(feature = "bearer")]
        if self.foreign.is_some() {
            return true;
        }
        let certificates = self.options.certificates.is_some();
        self.options.htpasswd.is_some() || certificates || self.browser.has_providers()
    }

    /// Reads the files that the options name, for the store at `root`, and takes over what `running` knows. `None` if
    /// everybody may do everything. Errors: a file that cannot be used.
    pub fn open(mut self, root: &Path, running: Option<&Auth>) -> Result<Option<Auth>, Failure> {
        if !self.is_controlled() {
            return Ok(None);
        }
        #[cfg(feature = "ldap")]
        if let Some(ldap) = &self.ldap {
            let unusable = |error| Failure::new(Exit::Configuration, format!("\"{}\": {error}", super::ldap::KEY));
            self.options.ldap = Some(orlop_auth::ldap::Ldap::open(ldap).map_err(unusable)?);
        }
        self.browser.open(&mut self.options)?;
        self.options.keys = self.api_keys.then(|| Keys::of_store(root));
        #[cfg(feature = "bearer")]
        {
            self.options.foreign = self.open_foreign()?;
        }
        let unusable = |error| Failure::new(Exit::Configuration, format!("\"{HTPASSWD}\": {error}"));
        let opened = match running {
            Some(running) => running.renewed(self.options),
            None => Auth::open(self.options),
        };
        opened.map(Some).map_err(unusable)
    }

    #[cfg(feature = "bearer")]
    fn open_foreign(&self) -> Result<Option<orlop_auth::bearer::Foreign>, Failure> {
        use super::bearer::KEY;
        let unusable = |error| Failure::new(Exit::Configuration, format!("{KEY:?}: {error}"));
        self.foreign.clone().map(orlop_auth::bearer::Foreign::open).transpose().map_err(unusable)
    }

    /// Says where its paths are.
    pub fn below(&mut self, base_path: &BasePath) {
        self.options.base_path = base_path.as_str().to_owned();
    }

    /// What the operator should know of keys that are right each by itself.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let has_users = self.has_users();
        notes.extend(self.browser.notes(has_users));
        if self.options.realm.is_some() && !has_users {
            notes.push("http.realm is never shown: nobody is asked for credentials without authentication".to_owned());
        }
        if !self.options.fail_delay.is_zero() && !has_users {
            notes.push("http.auth.failDelay delays nothing: there are no logins without authentication".to_owned());
        }
        if self.api_keys && !has_users {
            notes.push(format!("{API_KEYS}: nobody can make a key without another way to log in"));
        }
        if self.options.policy.is_some() && !has_users {
            notes.push(format!("{KEY}: nobody can log in without http.auth, so that only anonymousPolicy counts"));
        }
        notes
    }
}

/// Whole seconds, as in zot.
pub fn set_fail_delay(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let seconds = value.whole("a whole number of seconds")?;
    if seconds > FAIL_DELAY_SECONDS_MAX {
        let reason = format!("{seconds} seconds are too many, expected 0 to {FAIL_DELAY_SECONDS_MAX}");
        return Err(Problem::Unusable(reason));
    }
    config.access.options.fail_delay = std::time::Duration::from_secs(seconds);
    Ok(())
}

/// Zero is no limit: then an address may fail as often as it likes.
pub fn set_failures_max(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let failures = value.whole("a whole number of failed logins")?;
    if failures > u64::from(FAILURES_MAX) {
        return Err(Problem::Unusable(format!("{failures} are too many, expected 0 to {FAILURES_MAX}")));
    }
    config.access.options.failures_max = u32::try_from(failures).ok().filter(|failures| *failures > 0);
    Ok(())
}

pub fn set_htpasswd(config: &mut Config, path: &Path) {
    config.access.options.htpasswd = Some(path.to_owned());
}

/// Empty is none, as in zot.
pub fn set_external_url(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let text = value.text("an address such as \"https://registry.example.org\"")?;
    if !text.is_empty() {
        let origin = Origin::new(text).map_err(|error| Problem::Unusable(format!("{text:?}: {error}")))?;
        config.access.options.external_url = Some(origin);
    }
    Ok(())
}

/// Sets the policies.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let (mut repositories, mut admin, mut groups) = (Vec::new(), Rights::default(), Vec::new());
    let mut metrics = Metrics::default();
    Node::new(path, value).each_key(&["repositories", "adminPolicy", "groups", "metrics"], |key, node| {
        match key {
            "repositories" => repositories = self::repositories(&node)?,
            "adminPolicy" => admin = rights(node)?,
            "groups" => groups = self::groups(&node)?,
            _ => metrics = self::metrics(&node)?,
        }
        Ok(())
    })?;
    config.access.options.policy = Some(Policy::new(repositories, admin, groups, metrics));
    Ok(())
}

fn repositories(node: &Node<'_>) -> Result<Repositories, ErrorKind> {
    let mut all = Vec::new();
    node.each_entry(REPOSITORIES_MAX, |text, node| {
        let pattern = Pattern::new(text).map_err(|error| node.unusable(format!("{text:?}: {error}")))?;
        all.push((pattern, rules(&node)?));
        Ok(())
    })?;
    Ok(all)
}

fn rules(node: &Node<'_>) -> Result<Rules, ErrorKind> {
    let mut rules = Rules::default();
    node.each_key(&["policies", "defaultPolicy", "anonymousPolicy", "immutableTags"], |key, node| {
        match key {
            "policies" => rules.policies = node.each("a list of policies", POLICIES_MAX, rights)?,
            "defaultPolicy" => rules.default = actions(&node)?,
            "anonymousPolicy" => rules.anonymous = actions(&node)?,
            _ => rules.fixed_tags = node.each("a list of patterns", POLICIES_MAX, tags)?,
        }
        Ok(())
    })?;
    Ok(rules)
}

fn rights(node: Node<'_>) -> Result<Rights, ErrorKind> {
    let mut rights = Rights::default();
    node.each_key(&["users", "groups", "actions", "conditions"], |key, node| {
        match key {
            "users" => rights.users = names(&node)?,
            "groups" => rights.groups = names(&node)?,
            "actions" => rights.actions = actions(&node)?,
            #[cfg(feature = "conditions")]
            _ => rights.conditions = node.each("a list of conditions", CONDITIONS_MAX, condition)?,
            #[cfg(not(feature = "conditions"))]
            _ => return Err(ErrorKind::Unsupported { key: node.path, feature: "a build without conditions" }),
        }
        Ok(())
    })?;
    Ok(rights)
}

#[cfg(feature = "conditions")]
fn condition(node: Node<'_>) -> Result<orlop_auth::Condition, ErrorKind> {
    use orlop_auth::{Condition, Expression, REQUEST};

    let (mut expression, mut message) = (None, String::new());
    node.each_key(&["expression", "message"], |key, node| {
        match key {
            "expression" => {
                let text = node.text("an expression as a string")?;
                let compiled = Expression::compile(text, &[REQUEST]);
                expression = Some(compiled.map_err(|error| node.unusable(format!("{text:?}: {error}")))?);
            }
            _ => message = node.text("a string")?.to_owned(),
        }
        Ok(())
    })?;
    let expression = expression.ok_or_else(|| node.unusable("it has no \"expression\""))?;
    Ok(Condition { expression, message })
}

fn groups(node: &Node<'_>) -> Result<Vec<(String, Vec<String>)>, ErrorKind> {
    let mut groups = Vec::new();
    node.each_entry(POLICIES_MAX, |name, node| {
        let mut users = Vec::new();
        node.each_key(&["users"], |_, node| {
            users = names(&node)?;
            Ok(())
        })?;
        groups.push((name.to_owned(), users));
        Ok(())
    })?;
    Ok(groups)
}

fn metrics(node: &Node<'_>) -> Result<Metrics, ErrorKind> {
    let mut metrics = Metrics::default();
    node.each_key(&["users", "anonymousPolicy"], |key, node| {
        match key {
            "users" => metrics.users = names(&node)?,
            _ => metrics.anonymous = actions(&node)?,
        }
        Ok(())
    })?;
    Ok(metrics)
}

fn names(node: &Node<'_>) -> Result<Vec<String>, ErrorKind> {
    node.each("a list of names", NAMES_MAX, |node| match node.text("a name as a string")? {
        "" => Err(node.unusable("the name is empty")),
        name => Ok(name.to_owned()),
    })
}

fn actions(node: &Node<'_>) -> Result<Actions, ErrorKind> {
    let actions = node.each("a list of actions", ACTIONS_MAX, |node| {
        let name = node.text("an action as a string")?;
        let known = Action::ALL.map(Action::as_str).join("\", \"");
        Action::named(name).ok_or_else(|| node.unusable(format!("{name:?} is not known, expected \"{known}\"")))
    })?;
    Ok(actions.into_iter().collect())
}

fn tags(node: Node<'_>) -> Result<Glob, ErrorKind> {
    let text = node.text("a pattern of tags as a string")?;
    Glob::new(text).map_err(|error| node.unusable(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use orlop_api::access::Subject;

    use super::*;
    use crate::config::parse;

    fn parse(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        parse::apply(&mut config, text.as_bytes()).map(|()| config).map_err(|error| error.to_string())
    }

    fn policy(access_control: &str) -> Policy {
        let config = parse(&format!(r#"{{"http": {{"accessControl": {access_control}}}}}"#));
        config.unwrap_or_else(|error| panic!("refused: {error}")).access.options.policy.expect("a policy")
    }

    fn user(name: &str) -> Subject {
        Subject::user(name, Vec::new())
    }

    #[test]
    fn a_file_of_zot_with_users_and_policies_is_taken_over() {
        let config = parse(
            r#"{
                "distSpecVersion": "1.1.1",
                "storage": {"rootDirectory": "/tmp/zot"},
                "http": {
                    "address": "127.0.0.1", "port": "8080", "realm": "zot",
                    "externalUrl": "https://registry.example.org/",
                    "auth": {"htpasswd": {"path": "test/data/htpasswd"}, "failDelay": 5},
                    "accessControl": {
                        "groups": {"infra": {"users": ["ann", "ben"]}},
                        "repositories": {
                            "**": {
                                "policies": [{"users": ["cleo"], "actions": ["read", "create", "update"]}],
                                "defaultPolicy": ["read", "create"],
                                "anonymousPolicy": ["read"]
                            },
                            "infra/**": {
                                "policies": [
                                    {"groups": ["infra"], "actions": ["read", "create", "update", "delete"]},
                                    {"users": ["mel"], "actions": ["create", "read"]}
                                ],
                                "immutableTags": ["v*", "[0-9]*"]
                            },
                            "${username}/**": {"defaultPolicy": ["read", "create", "update"]}
                        },
                        "adminPolicy": {"users": ["admin"], "actions": ["Read", "detectManifestCollision"]},
                        "metrics": {"users": ["prometheus"], "anonymousPolicy": []}
                    }
                },
                "extensions": {"metrics": {"enable": true, "prometheus": {"path": "/metrics"}}}
            }"#,
        )
        .unwrap_or_else(|error| panic!("refused: {error}"));
        assert!(config.notes.is_empty(), "{:?}", config.notes);
        let options = config.access.options;
        assert_eq!(options.htpasswd.as_deref(), Some(Path::new("test/data/htpasswd")));
        assert_eq!((options.fail_delay.as_secs(), options.realm.as_deref()), (5, Some("zot")));
        assert!(options.external_url.is_some());
        let policy = options.policy.expect("a policy");
        let may = |user: &Subject, repository: &str, action| policy.actions(user, repository).contains(action);
        assert!(may(&user("ben"), "infra/x", Action::Delete) && !may(&user("cleo"), "infra/x", Action::Read));
        assert!(may(&user("ben"), "ben/x", Action::Update) && !may(&user("ben"), "ann/x", Action::Update));
        assert!(may(&Subject::anonymous(), "x", Action::Read) && !may(&Subject::anonymous(), "infra", Action::Read));
        assert!(may(&user("admin"), "infra", Action::Read) && policy.is_admin(&user("admin")));
        assert!(policy.is_fixed("infra/x", "1.0") && !policy.is_fixed("x", "1.0"));
        assert!(policy.may_see_metrics(&user("prometheus")) && !policy.may_see_metrics(&user("admin")));
    }

    #[test]
    fn nothing_said_is_nothing_allowed() {
        for text in ["{}", r#"{"repositories": {}}"#, r#"{"repositories": {"**": {}}}"#, r#"{"metrics": {}}"#] {
            let policy = policy(text);
            assert!(policy.actions(&user("a"), "a").is_empty() && !policy.is_open(), "{text}");
        }
        assert!(!parse("{}").is_ok_and(|config| config.access.is_controlled()), "but without the key all is allowed");
    }

    #[test]
    fn what_would_not_do_what_it_says_is_refused() {
        for (text, part) in [
            (r#"{"repositories": {"a/**": {"defaultPolicy": ["write"]}}}"#, r#""write" is not known, expected "read""#),
            (r#"{"repositories": {"a//b": {}}}"#, "accessControl.repositories.a//b"),
            (r#"{"repositories": {"x${username}": {}}}"#, "whole part"),
            (r#"{"repositories": {"a": {}, "a": {}}}"#, "duplicate key"),
            (r#"{"repositories": {"a": {"anonymous": []}}}"#, "anonymousPolicy"),
            (r#"{"repositories": {"a": {"policies": [{"users": "u"}]}}}"#, "policies[0].users"),
            (r#"{"repositories": {"a": {"policies": [{"users": [""]}]}}}"#, "the name is empty"),
            (r#"{"repositories": {"a": {"immutableTags": ["["]}}}"#, "immutableTags[0]"),
            (r#"{"adminPolicy": [{"users": ["a"]}]}"#, "http.accessControl.adminPolicy"),
            (r#"{"a/**": {"defaultPolicy": ["read"]}}"#, "unknown key"),
        ] {
            let Err(error) = parse(&format!(r#"{{"http": {{"accessControl": {text}}}}}"#)) else {
                panic!("accepted: {text}")
            };
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
        for (text, part) in [
            (r#"{"auth": {"failDelay": 61}}"#, "0 to 60"),
            (r#"{"auth": {"failuresMax": 1001}}"#, "0 to 1000"),
            (r#"{"auth": {"htpasswd": {"path": ""}}}"#, "the path is empty"),
            (r#"{"auth": {"htpasswd": {"file": "x"}}}"#, "http.auth.htpasswd.path"),
            (r#"{"externalUrl": "registry.example.org"}"#, "https://"),
        ] {
            let Err(error) = parse(&format!(r#"{{"http": {text}}}"#)) else { panic!("accepted: {text}") };
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }

    #[cfg(feature = "conditions")]
    #[test]
    fn conditions_are_read_and_checked() {
        let conditional = policy(
            r#"{"repositories": {"**": {"policies": [{"users": ["a"], "actions": ["read"], "conditions": [
                {"expression": "req.time.getHours() >= 8", "message": "too early"},
                {"expression": "req.client.ip.startsWith('10.')"}
            ]}]}}, "adminPolicy": {"users": ["b"], "actions": ["read"], "conditions": []}}"#,
        );
        assert!(conditional.has_conditions());
        assert!(!conditional.actions(&user("a"), "x").contains(Action::Read), "nothing is known of the request");
        assert!(conditional.actions(&user("b"), "x").contains(Action::Read), "no condition is none");
        for (condition, part) in [
            (r#"{"expression": "req."}"#, "conditions[0].expression"),
            (r#"{"expression": "request.tag"}"#, "\"request\""),
            (r#"{"expression": ""}"#, "it is empty"),
            (r#"{"expression": true}"#, "must be an expression"),
            (r#"{"message": "m"}"#, "no \"expression\""),
            (r#"{"expression": "true", "reason": "m"}"#, "conditions[0].reason"),
        ] {
            let text =
                format!(r#"{{"http": {{"accessControl": {{"adminPolicy": {{"conditions": [{condition}]}}}}}}}}"#);
            let Err(error) = parse(&text) else { panic!("accepted: {condition}") };
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
    }

    #[test]
    fn failed_logins_are_counted_unless_it_is_turned_off() {
        let failures_max = |http: &str| {
            let config = parse(&format!(r#"{{"http": {http}}}"#));
            config.unwrap_or_else(|error| panic!("refused: {error}")).access.options.failures_max
        };
        assert_eq!(failures_max("{}"), Some(orlop_auth::FAILURES_DEFAULT));
        assert_eq!(failures_max(r#"{"auth": {"failuresMax": 3}}"#), Some(3));
        assert_eq!(failures_max(r#"{"auth": {"failuresMax": 0}}"#), None);
    }

    #[test]
    fn what_has_no_effect_without_users_is_noted() {
        let config = parse(r#"{"http": {"realm": "zot", "auth": {"failDelay": 1}, "accessControl": {}}}"#);
        let notes = config.unwrap_or_else(|error| panic!("refused: {error}")).notes;
        assert_eq!(notes.len(), 3, "{notes:?}");
    }
}
