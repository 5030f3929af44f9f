//! What users may do: zot's `accessControl`, compiled for looking up.
//!
//! Of all patterns that match a repository the longest text counts, and no other; of equally long ones the first in
//! byte order. In its rules a user has what any policy that names him allows, what any policy that names one of his
//! groups allows, and what the default policy allows; somebody without credentials has what the anonymous policy
//! allows, and nothing else. What the administrators' policy allows comes on top, everywhere.
//!
//! Tags are fixed by any pattern that matches, not only by the longest: a rule that is narrower takes no protection
//! away.

use std::collections::{BTreeSet, HashMap};

use orlop_api::access::{Action, Actions, Subject};
use orlop_gc::retention::Glob;
use quick_cache::sync::Cache;

use crate::pattern::Pattern;
#[cfg(feature = "conditions")]
use crate::{
    condition::{Condition, Question},
    evidence::Evidence,
};

/// Repositories for which it is remembered which patterns match.
const REPOSITORIES_REMEMBERED: usize = 16 << 10;

/// Actions, and who has them.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    pub users: Vec<String>,
    pub groups: Vec<String>,
    pub actions: Actions,
    /// What has to hold for it to count.
    #[cfg(feature = "conditions")]
    pub conditions: Vec<Condition>,
}

/// What is allowed in the repositories of a pattern.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub policies: Vec<Rights>,
    /// For whoever has shown who he is.
    pub default: Actions,
    /// For whoever has not.
    pub anonymous: Actions,
    /// Tags that nobody may move or remove.
    pub fixed_tags: Vec<Glob>,
}

/// Who may see metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub users: Vec<String>,
    pub anonymous: Actions,
}

/// The rules of all repositories, by their patterns.
pub type Repositories = Vec<(Pattern, Rules)>;

/// What everybody may do.
pub struct Policy {
    /// The longest first.
    rules: Vec<Compiled>,
    /// Which rules have patterns with a prefix, ascending.
    by_prefix: HashMap<Box<str>, Vec<usize>>,
    /// The lengths of the prefixes in bytes.
    prefix_lengths: BTreeSet<usize>,
    admin: Subjects,
    /// The groups of the configuration, by user.
    groups: HashMap<Box<str>, Vec<Box<str>>>,
    metrics: Metrics,
    is_open: bool,
    matched: Cache<Box<str>, std::sync::Arc<[usize]>>,
}

struct Compiled {
    pattern: Pattern,
    subjects: Subjects,
    default: Actions,
    anonymous: Actions,
    fixed_tags: Vec<Glob>,
}

/// Users and groups with their actions.
#[derive(Default)]
struct Subjects {
    users: HashMap<Box<str>, Actions>,
    groups: HashMap<Box<str>, Actions>,
    /// What counts only sometimes.
    #[cfg(feature = "conditions")]
    conditional: Vec<Rights>,
}

impl Policy {
    /// `groups` are groups with their users.
    pub fn new(
        repositories: Repositories,
        admin: Rights,
        groups: Vec<(String, Vec<String>)>,
        metrics: Metrics,
    ) -> Self {
        let mut rules: Vec<Compiled> =
            repositories.into_iter().map(|(pattern, rules)| compile(pattern, rules)).collect();
        let priority =
            |rule: &Compiled| (std::cmp::Reverse(rule.pattern.as_str().len()), rule.pattern.as_str().to_owned());
        rules.sort_by_cached_key(priority);
        let mut by_prefix: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            by_prefix.entry(rule.pattern.prefix().into()).or_default().push(index);
        }
        let mut groups_of: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        for (group, users) in groups {
            for user in users {
                groups_of.entry(user.into()).or_default().push(group.as_str().into());
            }
        }
        Policy {
            prefix_lengths: by_prefix.keys().map(|prefix| prefix.len()).collect(),
            is_open: rules.iter().any(|rule| !rule.anonymous.is_empty()),
            rules,
            by_prefix,
            admin: Subjects::of(vec![admin]),
            groups: groups_of,
            metrics,
            matched: Cache::new(REPOSITORIES_REMEMBERED),
        }
    }

    pub fn actions(&self, subject: &Subject, repository: &str) -> Actions {
        let matched = self.matching(repository);
        let mut rules = matched.iter().map(|index| &self.rules[*index]);
        let rule = rules.find(|rule| rule.pattern.is_for(subject, repository));
        let Some(user) = subject.name() else { return rule.map_or(Actions::NONE, |rule| rule.anonymous) };
        let of_rule = rule.map_or(Actions::NONE, |rule| self.of(&rule.subjects, user, subject).union(rule.default));
        let all = of_rule.union(self.of(&self.admin, user, subject));
        #[cfg(feature = "conditions")]
        let all = self.conditional(rule).fold(all, |all, rights| self.with(all, rights, subject, repository));
        all
    }

    /// Why `subject` may do none of the `wanted` actions, if a condition says so.
    #[cfg(feature = "conditions")]
    pub fn reason(&self, subject: &Subject, repository: &str, wanted: Actions) -> Option<&str> {
        let facts = subject.evidence::<Evidence>()?.facts.as_ref()?;
        let matched = self.matching(repository);
        let mut rules = matched.iter().map(|index| &self.rules[*index]);
        let rule = rules.find(|rule| rule.pattern.is_for(subject, repository));
        let groups: Vec<&str> = self.groups_of(subject).collect();
        self.conditional(rule).filter(|rights| rights.are_for(subject, &groups)).find_map(|rights| {
            let action =
                Action::ALL.into_iter().find(|action| rights.actions.contains(*action) && wanted.contains(*action))?;
            let is_admin = self.is_listed(subject, &groups);
            let question = Question { action, repository, subject, groups: &groups, is_admin };
            facts.first_unmet(&rights.conditions, question)?
        })
    }

    /// Whether there is anything that counts only sometimes.
    #[cfg(feature = "conditions")]
    pub fn has_conditions(&self) -> bool {
        let mut subjects = self.rules.iter().map(|rule| &rule.subjects).chain([&self.admin]);
        subjects.any(|subjects| !subjects.conditional.is_empty())
    }

    #[cfg(feature = "conditions")]
    fn conditional<'a>(&'a self, rule: Option<&'a Compiled>) -> impl Iterator<Item = &'a Rights> {
        rule.into_iter().flat_map(|rule| &rule.subjects.conditional).chain(&self.admin.conditional)
    }

    /// With the actions of `rights` whose conditions hold. Nothing is granted to a request of which nothing is known.
    #[cfg(feature = "conditions")]
    fn with(&self, all: Actions, rights: &Rights, subject: &Subject, repository: &str) -> Actions {
        let Some(facts) = subject.evidence::<Evidence>().and_then(|evidence| evidence.facts.as_ref()) else {
            return all;
        };
        let groups: Vec<&str> = self.groups_of(subject).collect();
        if !rights.are_for(subject, &groups) {
            return all;
        }
        let is_admin = self.is_listed(subject, &groups);
        let more = Action::ALL.into_iter().filter(|action| rights.actions.contains(*action) && !all.contains(*action));
        let holds = |action: &Action| {
            let question = Question { action: *action, repository, subject, groups: &groups, is_admin };
            facts.meet(&rights.conditions, question)
        };
        all.union(more.filter(holds).collect())
    }

    pub fn is_fixed(&self, repository: &str, tag: &str) -> bool {
        let fixes = |index: &usize| self.rules[*index].fixed_tags.iter().any(|tags| tags.matches(tag));
        self.matching(repository).iter().any(fixes)
    }

    /// Whether anything is allowed without credentials.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether there may be a repository that `subject` may read.
    pub fn may_read_some(&self, subject: &Subject) -> bool {
        !subject.is_anonymous() || self.rules.iter().any(|rule| rule.anonymous.contains(Action::Read))
    }

    pub fn may_see_metrics(&self, subject: &Subject) -> bool {
        let is_named = |user: &str| self.metrics.users.iter().any(|named| named == user);
        self.metrics.anonymous.contains(Action::Read) || subject.name().is_some_and(is_named)
    }

    pub fn is_admin(&self, subject: &Subject) -> bool {
        let is_named = |user: &str| self.admin.users.contains_key(user);
        subject.name().is_some_and(is_named)
            || self.groups_of(subject).any(|group| self.admin.groups.contains_key(group))
            || self.is_admin_now(subject)
    }

    /// Whether somebody is among the administrators, whatever has to hold for that to count.
    #[cfg(feature = "conditions")]
    fn is_listed(&self, subject: &Subject, groups: &[&str]) -> bool {
        subject.name().is_some_and(|user| self.admin.users.contains_key(user))
            || groups.iter().any(|group| self.admin.groups.contains_key(*group))
            || self.admin.conditional.iter().any(|rights| rights.are_for(subject, groups))
    }

    /// Whether conditions make an administrator of somebody. What is asked is `update` of no repository.
    #[cfg(feature = "conditions")]
    fn is_admin_now(&self, subject: &Subject) -> bool {
        if self.admin.conditional.is_empty() {
            return false;
        }
        let Some(facts) = subject.evidence::<Evidence>().and_then(|evidence| evidence.facts.as_ref()) else {
            return false;
        };
        let groups: Vec<&str> = self.groups_of(subject).collect();
        let question = Question { action: Action::Update, repository: "", subject, groups: &groups, is_admin: true };
        let counts = |rights: &Rights| rights.are_for(subject, &groups) && facts.meet(&rights.conditions, question);
        self.admin.conditional.iter().any(counts)
    }

    #[cfg(not(feature = "conditions"))]
    fn is_admin_now(&self, _subject: &Subject) -> bool {
        false
    }

    /// What a user has by himself and by his groups.
    fn of(&self, subjects: &Subjects, user: &str, subject: &Subject) -> Actions {
        let own = subjects.users.get(user).copied().unwrap_or_default();
        if subjects.groups.is_empty() {
            return own;
        }
        let of_groups = self.groups_of(subject).filter_map(|group| subjects.groups.get(group));
        of_groups.fold(own, |all, actions| all.union(*actions))
    }

    /// The groups that somebody has shown, and those of the configuration.
    fn groups_of<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a str> {
        let configured = subject.name().and_then(|user| self.groups.get(user)).into_iter().flatten();
        subject.groups().iter().chain(configured).map(|group| &**group)
    }

    /// The rules whose patterns match a repository, the longest first.
    fn matching(&self, repository: &str) -> std::sync::Arc<[usize]> {
        if let Some(known) = self.matched.get(repository) {
            return known;
        }
        let lengths = self.prefix_lengths.range(..=repository.len());
        let prefixes = lengths.filter_map(|length| repository.get(..*length));
        let candidates = prefixes.filter_map(|prefix| self.by_prefix.get(prefix)).flatten().copied();
        let mut found: Vec<usize> = candidates.filter(|index| self.rules[*index].pattern.matches(repository)).collect();
        found.sort_unstable();
        let found: std::sync::Arc<[usize]> = found.into();
        self.matched.insert(repository.into(), found.clone());
        found
    }
}

fn compile(pattern: Pattern, rules: Rules) -> Compiled {
    let Rules { policies, default, anonymous, fixed_tags } = rules;
    Compiled { pattern, subjects: Subjects::of(policies), default, anonymous, fixed_tags }
}

#[cfg(feature = "conditions")]
impl Rights {
    fn are_for(&self, subject: &Subject, groups: &[&str]) -> bool {
        let is_named = |user: &str| self.users.iter().any(|named| named == user);
        subject.name().is_some_and(is_named) || self.groups.iter().any(|named| groups.contains(&named.as_str()))
    }
}

impl Subjects {
    fn of(policies: Vec<Rights>) -> Self {
        let mut subjects = Subjects::default();
        for rights in policies {
            #[cfg(feature = "conditions")]
            if !rights.conditions.is_empty() {
                subjects.conditional.push(rights);
                continue;
            }
            let Rights { users, groups, actions, .. } = rights;
            for (names, all) in [(users, &mut subjects.users), (groups, &mut subjects.groups)] {
                for name in names {
                    let known: &mut Actions = all.entry(name.into()).or_default();
                    *known = known.union(actions);
                }
            }
        }
        subjects
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const READ: Actions = Actions::of(&[Action::Read]);
    const CREATE: Actions = Actions::of(&[Action::Create]);
    const DELETE: Actions = Actions::of(&[Action::Delete]);

    fn rights(users: &[&str], groups: &[&str], actions: Actions) -> Rights {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Rights { users: owned(users), groups: owned(groups), actions, ..Rights::default() }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a pattern")
    }

    fn user(name: &str) -> Subject {
        Subject::user(name, Vec::new())
    }

    fn policy(repositories: Repositories) -> Policy {
        let groups = vec![("ops".to_owned(), vec!["olga".to_owned()])];
        Policy::new(repositories, rights(&["root"], &["admins"], READ.union(DELETE)), groups, Metrics::default())
    }

    fn example() -> Policy {
        let all = Rules { default: READ, anonymous: READ, ..Rules::default() };
        let team = Rules {
            policies: vec![
                rights(&["alice"], &[], READ),
                rights(&["alice", "bob"], &["ops"], CREATE),
                rights(&[], &["login-group"], DELETE),
            ],
            fixed_tags: vec![Glob::new("v*").expect("a glob")],
            ..Rules::default()
        };
        let open = Rules { default: READ, ..Rules::default() };
        policy(vec![(pattern("**"), all), (pattern("team/**"), team), (pattern("team/open"), open)])
    }

    #[test]
    fn the_longest_pattern_counts_and_no_other() {
        let policy = example();
        assert_eq!(policy.actions(&user("alice"), "other"), READ);
        assert_eq!(policy.actions(&Subject::anonymous(), "other"), READ);
        assert_eq!(policy.actions(&Subject::anonymous(), "team/x"), Actions::NONE, "no anonymous policy of its own");
        assert_eq!(policy.actions(&user("carol"), "team/x"), Actions::NONE, "nor a default one");
        assert_eq!(policy.actions(&user("carol"), "team/open"), READ);
        assert_eq!(policy.actions(&user("alice"), "team/open"), READ, "the rules of team/** do not count there");
    }

    #[test]
    fn users_have_what_names_them_or_one_of_their_groups() {
        let policy = example();
        assert_eq!(policy.actions(&user("alice"), "team"), READ.union(CREATE));
        assert_eq!(policy.actions(&user("bob"), "team/x"), CREATE);
        assert_eq!(policy.actions(&user("olga"), "team/x"), CREATE, "by a group of the configuration");
        let shown = Subject::user("dave", vec!["login-group".into(), "other".into()]);
        assert_eq!(policy.actions(&shown, "team/x"), DELETE, "by a group of the login");
        assert_eq!(policy.actions(&user("login-group"), "team/x"), Actions::NONE);
    }

    #[test]
    fn administrators_have_theirs_everywhere() {
        let policy = example();
        assert_eq!(policy.actions(&user("root"), "team/x"), READ.union(DELETE));
        assert!(policy.is_admin(&user("root")) && !policy.is_admin(&user("alice")));
        assert!(!policy.is_admin(&Subject::anonymous()));
        assert!(policy.is_admin(&Subject::user("eve", vec!["admins".into()])));
        let nothing = self::policy(Vec::new());
        assert_eq!(nothing.actions(&user("root"), "a"), READ.union(DELETE));
        assert_eq!(nothing.actions(&user("alice"), "a"), Actions::NONE);
    }

    #[test]
    fn tags_are_fixed_by_every_pattern() {
        let policy = example();
        assert!(policy.is_fixed("team/x", "v1") && !policy.is_fixed("team/x", "latest"));
        assert!(policy.is_fixed("team/open", "v1"), "although another pattern decides who may do what");
        assert!(!policy.is_fixed("other", "v1"));
    }

    #[test]
    fn metrics_have_a_policy_of_their_own() {
        let with = |users: &[&str], anonymous| {
            let metrics = Metrics { users: users.iter().map(|user| (*user).to_owned()).collect(), anonymous };
            Policy::new(Vec::new(), rights(&["root"], &[], READ), Vec::new(), metrics)
        };
        assert!(!with(&[], Actions::NONE).may_see_metrics(&user("root")));
        assert!(with(&["m"], Actions::NONE).may_see_metrics(&user("m")));
        assert!(!with(&["m"], Actions::NONE).may_see_metrics(&Subject::anonymous()));
        assert!(with(&["m"], READ).may_see_metrics(&Subject::anonymous()));
        assert!(with(&["m"], READ).may_see_metrics(&user("other")), "nobody has less for having shown who he is");
    }

    #[test]
    fn what_is_personal_is_for_its_user() {
        let personal = Rules { default: READ.union(CREATE), ..Rules::default() };
        let rest = Rules { default: READ, ..Rules::default() };
        let policy = policy(vec![(pattern("${username}/**"), personal), (pattern("**"), rest)]);
        assert_eq!(policy.actions(&user("alice"), "alice/x"), READ.union(CREATE));
        assert_eq!(policy.actions(&user("bob"), "alice/x"), READ, "the next longest counts");
        assert_eq!(policy.actions(&Subject::anonymous(), "alice/x"), Actions::NONE);
    }

    proptest! {
        /// Against looking at every pattern, one after the other.
        #[test]
        fn looking_up_finds_the_longest(
            texts in prop::collection::btree_set(
                r"([ab]{1,2}|\*|\*\*|\?a|\{a,b\}|\[ab\]\*)(/([ab]{1,2}|\*|\*\*|a\*)){0,3}", 0..12),
            repositories in prop::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,3}", 1..8),
        ) {
            let patterns: Vec<Pattern> = texts.iter().filter_map(|text| Pattern::new(text).ok()).collect();
            let policy = policy(patterns.iter().map(|pattern| (pattern.clone(), Rules::default())).collect());
            for repository in repositories.iter().chain(&repositories) {
                let mut slow: Vec<&str> =
                    patterns.iter().filter(|pattern| pattern.matches(repository)).map(Pattern::as_str).collect();
                slow.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
                let found = policy.matching(repository);
                let found: Vec<&str> = found.iter().map(|index| policy.rules[*index].pattern.as_str()).collect();
                prop_assert_eq!(found, slow);
            }
        }
    }
}
