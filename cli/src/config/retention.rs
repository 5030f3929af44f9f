//! `storage.retention`, with zot's keys and meaning.
//!
//! In: the value of the key. Out: the policies as [`Retention`]; patterns compiled, so that a
//! mistake in one shows when the file is read and not when something was to be kept.

use std::time::Duration;

use orlop_gc::retention::{Glob, KeepNames, NamePattern, Policy, Retention, Rules};

use super::{
    Config,
    duration::{self, GoDuration},
    error::ErrorKind,
    tree::Node,
    value::Value,
};

/// The key, and the section of all paths in errors and explanations.
pub const KEY: &str = "storage.retention";

/// The keys of the rules, which are the same for tags and for what has none.
pub const PUSHED_COUNT: &str = "mostRecentlyPushedCount";
pub const PULLED_COUNT: &str = "mostRecentlyPulledCount";
pub const PUSHED_WITHIN: &str = "pushedWithin";
pub const PULLED_WITHIN: &str = "pulledWithin";

const RULE_KEYS: &[&str] = &[PUSHED_COUNT, PULLED_COUNT, PUSHED_WITHIN, PULLED_WITHIN];

/// Sets the policies.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let mut retention = Retention::default();
    Node::new(path, value).each_key(&["dryRun", "delay", "policies"], |key, node| {
        match key {
            "dryRun" => retention.dry_run = node.bool()?,
            "delay" => retention.delay = Some(delay(&node)?),
            _ => retention.policies = node.each("a list of policies", Retention::POLICIES_MAX, policy)?,
        }
        Ok(())
    })?;
    config.retention = retention;
    Ok(())
}

fn policy(node: Node<'_>) -> Result<Policy, ErrorKind> {
    let mut policy = Policy::default();
    let keys = &["repositories", "deleteReferrers", "deleteUntagged", "keepTags", "keepUntagged"];
    node.each_key(keys, |key, node| {
        match key {
            "repositories" => policy.namespaces = node.each("a list of patterns", Retention::PATTERNS_MAX, glob)?,
            "deleteReferrers" => policy.delete_referring = node.bool()?,
            "deleteUntagged" => policy.delete_unnamed = node.bool()?,
            "keepTags" => policy.keep_names = node.each("a list of objects", Retention::ENTRIES_MAX, keep_tags)?,
            _ => policy.keep_unnamed = Some(keep_untagged(&node)?),
        }
        Ok(())
    })?;
    if policy.namespaces.is_empty() {
        return Err(node.unusable("it has no \"repositories\", so it would never apply; \"**\" is for all"));
    }
    Ok(policy)
}

fn keep_tags(node: Node<'_>) -> Result<KeepNames, ErrorKind> {
    let mut keep = KeepNames::default();
    node.each_key(&["patterns", PUSHED_COUNT, PULLED_COUNT, PUSHED_WITHIN, PULLED_WITHIN], |key, node| match key {
        "patterns" => {
            keep.patterns = node.each("a list of regular expressions", Retention::PATTERNS_MAX, pattern)?;
            Ok(())
        }
        rule => set_rule(&mut keep.rules, rule, &node),
    })?;
    Ok(keep)
}

fn keep_untagged(node: &Node<'_>) -> Result<Rules, ErrorKind> {
    let mut rules = Rules::default();
    node.each_key(RULE_KEYS, |key, node| set_rule(&mut rules, key, &node))?;
    Ok(rules)
}

fn set_rule(rules: &mut Rules, key: &str, node: &Node<'_>) -> Result<(), ErrorKind> {
    match key {
        PUSHED_COUNT => rules.pushed_count = count(node)?,
        PULLED_COUNT => rules.pulled_count = count(node)?,
        PUSHED_WITHIN => rules.pushed_within = Some(within(node)?),
        _ => rules.pulled_within = Some(within(node)?),
    }
    Ok(())
}

/// Zero is no rule, as in zot.
fn count(node: &Node<'_>) -> Result<Option<u64>, ErrorKind> {
    Ok(Some(node.whole("a whole number")?).filter(|count| *count > 0))
}

/// A rule that keeps nothing is a mistake: the entry would delete all that its patterns match.
fn within(node: &Node<'_>) -> Result<Duration, ErrorKind> {
    duration(node)?
        .positive()
        .ok_or_else(|| node.unusable(format!("it would keep nothing, expected {} above zero", duration::EXPECTED)))
}

/// Zero is allowed: nothing waits.
fn delay(node: &Node<'_>) -> Result<Duration, ErrorKind> {
    duration(node)?.not_negative().ok_or_else(|| node.unusable("a delay cannot be negative"))
}

fn duration(node: &Node<'_>) -> Result<GoDuration, ErrorKind> {
    let text = node.text(duration::EXPECTED)?;
    GoDuration::parse(text).map_err(|reason| node.unusable(format!("{reason}; expected {}", duration::EXPECTED)))
}

fn glob(node: Node<'_>) -> Result<Glob, ErrorKind> {
    let text = node.text("a pattern as a string")?;
    Glob::new(text).map_err(|error| node.unusable(format!("{text:?}: {error}")))
}

fn pattern(node: Node<'_>) -> Result<NamePattern, ErrorKind> {
    let text = node.text("a regular expression as a string")?;
    NamePattern::new(text).map_err(|error| node.unusable(format!("{text:?}: {error}")))
}
