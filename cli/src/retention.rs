//! `orlop retention CONFIG --explain REPO`: for each tag, the rule that keeps it, or why it would be
//! deleted.
//!
//! In: the configuration and a store that no process has open. Out: a table or JSON. Nothing is
//! changed. The store's clock stands still while it is closed, so the answer is the one the service
//! would have acted on when it stopped.

use std::time::Duration;

use orlop_engine::{Error, NameUse, Namespace, Survey};
use orlop_gc::retention::{Candidate, Dropped, Kept, Retention, Rule, Span, Verdict, evaluate};
use serde_json::{Value, json};

use crate::{
    args,
    config::{
        Config,
        retention::{KEY, PULLED_COUNT, PULLED_WITHIN, PUSHED_COUNT, PUSHED_WITHIN},
    },
    exit::{Exit, Failure},
    offline,
};

/// Tags read at a time.
const PAGE: usize = 1024;

/// Prints the explanation to standard output.
/// Errors: bad configuration; no such repository; the store cannot be opened or read.
pub fn run(arguments: &args::Retention) -> Result<(), Failure> {
    let config = Config::load(Some(&arguments.config), arguments.flags())?;
    let root = &config.root;
    offline::require_root(root)?;
    let repository = arguments.explain.as_str();
    let unknown = || {
        let message = format!("the store {} has no repository {repository:?}", root.display());
        Failure::new(Exit::Configuration, message)
    };
    let namespace = Namespace::new(repository).map_err(|_| unknown())?;
    let (names, now_ms) = read(root, &namespace).map_err(|error| match error {
        Error::NotFound { .. } => unknown(),
        error => Failure::engine(root, &error),
    })?;
    let candidates: Vec<Candidate<'_>> = names.iter().map(Candidate::from).collect();
    let verdicts = evaluate(&config.retention, repository, &candidates, now_ms);
    let tags: Vec<Tag<'_>> = names.iter().zip(verdicts).map(|(used, verdict)| Tag { used, verdict, now_ms }).collect();
    let text = match arguments.json {
        true => format!("{:#}\n", document(repository, &config.retention, &tags)),
        false => table(repository, &config.retention, &tags),
    };
    offline::print(&text);
    Ok(())
}

fn read(root: &std::path::Path, namespace: &Namespace) -> orlop_engine::Result<(Vec<NameUse>, u64)> {
    let survey = Survey::open(root)?;
    let mut names: Vec<NameUse> = Vec::new();
    loop {
        let page = survey.names_used(namespace, names.last().map(|last| last.name.as_str()), PAGE)?;
        let is_last = page.len() < PAGE;
        names.extend(page);
        if is_last {
            return Ok((names, survey.clock_ms()?));
        }
    }
}

/// A tag with what becomes of it.
struct Tag<'a> {
    used: &'a NameUse,
    verdict: Verdict,
    now_ms: u64,
}

impl Tag<'_> {
    fn decision(&self) -> &'static str {
        if self.verdict.keeps() { "keep" } else { "delete" }
    }

    /// Where in the configuration the decision comes from; nothing if no policy is for it.
    fn rule(&self) -> Option<String> {
        let policy = |policy: &usize| format!("{KEY}.policies[{policy}]");
        match &self.verdict {
            Verdict::Keep(Kept::NoPolicy) => None,
            Verdict::Keep(Kept::AllNames { policy: number }) => Some(policy(number)),
            Verdict::Keep(Kept::ByRule { policy: number, entry, rule }) => {
                let key = match rule {
                    Rule::Always => "patterns",
                    Rule::PushedCount { .. } => PUSHED_COUNT,
                    Rule::PulledCount { .. } => PULLED_COUNT,
                    Rule::PushedWithin { .. } => PUSHED_WITHIN,
                    Rule::PulledWithin { .. } => PULLED_WITHIN,
                };
                Some(format!("{}.keepTags[{entry}].{key}", policy(number)))
            }
            Verdict::Drop(Dropped::NoEntry { policy: number } | Dropped::NoRule { policy: number, .. }) => {
                Some(format!("{}.keepTags", policy(number)))
            }
        }
    }

    fn reason(&self) -> String {
        match &self.verdict {
            Verdict::Keep(Kept::NoPolicy) => "no policy is for this repository".to_owned(),
            Verdict::Keep(Kept::AllNames { .. }) => "the policy has no keepTags, so all tags are kept".to_owned(),
            Verdict::Keep(Kept::ByRule { rule, .. }) => rule.to_string(),
            Verdict::Drop(Dropped::NoEntry { .. }) => "no pattern matches".to_owned(),
            Verdict::Drop(Dropped::NoRule { entries, .. }) => {
                let entries: Vec<String> = entries.iter().map(|entry| format!("keepTags[{entry}]")).collect();
                format!("no rule holds in {}", entries.join(", "))
            }
        }
    }

    fn pushed_age(&self) -> Duration {
        Duration::from_millis(self.now_ms.saturating_sub(self.used.bound.clock_ms))
    }

    fn pulled_age(&self) -> Option<Duration> {
        let pulled = self.used.usage.pulled?;
        Some(Duration::from_millis(self.now_ms.saturating_sub(pulled.clock_ms)))
    }
}

/// One object for scripts. Ages are by the store's clock, times since 1970 by the wall clock of
/// their moment, all in milliseconds.
fn document(repository: &str, retention: &Retention, tags: &[Tag<'_>]) -> Value {
    let one = |tag: &Tag<'_>| {
        json!({
            "tag": tag.used.name,
            "digest": tag.used.digest.to_string(),
            "decision": tag.decision(),
            "rule": tag.rule(),
            "reason": tag.reason(),
            "pushedUnixMs": tag.used.bound.unix_ms,
            "pushedAgeMs": millis(tag.pushed_age()),
            "lastPulledUnixMs": tag.used.usage.pulled.map(|pulled| pulled.unix_ms),
            "lastPulledAgeMs": tag.pulled_age().map(millis),
            "pulls": tag.used.usage.pulls,
        })
    };
    let policy = retention.policy_of(repository).map(|(number, _)| number);
    let tags: Vec<Value> = tags.iter().map(one).collect();
    json!({"repository": repository, "policy": policy, "dryRun": retention.dry_run, "tags": tags})
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn table(repository: &str, retention: &Retention, tags: &[Tag<'_>]) -> String {
    let head = ["TAG", "DECISION", "PUSHED", "PULLED", "PULLS", "REASON", "RULE"].map(str::to_owned);
    let row = |tag: &Tag<'_>| {
        let pulled = tag.pulled_age().map_or("never".to_owned(), |age| Span(age).to_string());
        let rule = tag.rule().unwrap_or_else(|| "-".to_owned());
        let (name, decision) = (tag.used.name.clone(), tag.decision().to_owned());
        [
            name,
            decision,
            Span(tag.pushed_age()).to_string(),
            pulled,
            tag.used.usage.pulls.to_string(),
            tag.reason(),
            rule,
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(tags.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let deleted = tags.iter().filter(|tag| !tag.verdict.keeps()).count();
    let dry_run = if retention.dry_run { " (dryRun: nothing is deleted)" } else { "" };
    text.push_str(&format!("{repository}: {} kept, {deleted} to be deleted{dry_run}\n", tags.len() - deleted));
    text
}
