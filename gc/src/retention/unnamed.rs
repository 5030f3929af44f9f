//! Documents without a name: what collection asks before it drops one.
//!
//! Collection knows which documents have no name, and since when. Before a run it makes a [`Keeper`],
//! which has judged all of them by the rules of their namespaces, because counts are over a whole
//! namespace; during the run it asks the keeper about single ones, which answers from memory. A
//! document that a rule keeps stays for as long as the rule holds; the delay is for the others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use orlop_engine::{Digest, DocumentUse, Engine, Namespace, Result};

use super::{Retention, Rule, Rules, Times, evaluate::judge};

/// Namespaces read at a time.
const NAMESPACES_PAGE: usize = 256;

/// Members looked at at a time.
const MEMBERS_PAGE: usize = 1024;

/// What happens to the documents of a namespace that have no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed {
    /// Whether they are dropped at all.
    pub delete: bool,
    /// Whether documents that refer to a document that is gone are dropped.
    pub delete_referring: bool,
    keep: Option<Rules>,
}

impl Retention {
    /// What happens to the documents of a namespace that have no name. Without a policy they are
    /// dropped, and documents that refer to others are not.
    pub fn unnamed(&self, namespace: &str) -> Unnamed {
        match self.policy_of(namespace) {
            Some((_, policy)) => Unnamed {
                delete: policy.delete_unnamed,
                delete_referring: policy.delete_referring,
                keep: policy.keep_unnamed,
            },
            None => Unnamed { delete: true, delete_referring: false, keep: None },
        }
    }
}

impl Unnamed {
    /// Whether [`Unnamed::keeps`] looks at times; if not, there is no need to find them.
    pub fn needs_times(&self) -> bool {
        self.delete && self.keep.is_some_and(|rules| !rules.is_empty())
    }

    /// For each of all unnamed documents of the namespace, in the order of their digests, the rule
    /// that keeps it, if there is one. `now_ms` is the store's clock.
    pub fn keeps(&self, documents: &[Times], now_ms: u64) -> Vec<Option<Rule>> {
        let mut kept = vec![None; documents.len()];
        let all: Vec<usize> = (0..documents.len()).collect();
        let times: Vec<Times> = documents.iter().map(|times| times.until(now_ms)).collect();
        let judged = match (self.delete, &self.keep) {
            (false, _) => judge(&Rules::default(), &all, &times, now_ms),
            (true, Some(rules)) => judge(rules, &all, &times, now_ms),
            (true, None) => Vec::new(),
        };
        for (at, rule) in judged {
            kept[at].get_or_insert(rule);
        }
        kept
    }
}

/// Which unnamed documents rules keep, judged at one moment. Make a new one for every run of
/// collection. Takes some 100 bytes for each document that no rule keeps in a namespace with rules
/// for such documents, and nothing for other namespaces.
pub struct Keeper {
    retention: Arc<Retention>,
    /// Namespaces with rules, and what these do not keep.
    unkept: HashMap<Namespace, HashSet<Digest>>,
}

impl Keeper {
    /// Judges all unnamed documents. Errors: those of reading.
    pub async fn new(engine: &Engine, retention: Arc<Retention>) -> Result<Keeper> {
        let mut unkept = HashMap::new();
        if retention.policies.iter().any(|policy| policy.keep_unnamed.is_some()) {
            engine.record_pulls().await?;
            let mut after: Option<String> = None;
            loop {
                let page = engine.namespaces(after.as_deref(), NAMESPACES_PAGE).await?;
                for namespace in page.iter().filter_map(|text| Namespace::new(text).ok()) {
                    let unnamed = retention.unnamed(namespace.as_str());
                    if unnamed.needs_times() {
                        let digests = unkept_in(engine, &namespace, &unnamed).await?;
                        unkept.insert(namespace, digests);
                    }
                }
                if page.len() < NAMESPACES_PAGE {
                    break;
                }
                after = page.into_iter().next_back();
            }
        }
        Ok(Keeper { retention, unkept })
    }

    /// What happens to the unnamed documents of a namespace.
    pub fn rules(&self, namespace: &Namespace) -> Unnamed {
        self.retention.unnamed(namespace.as_str())
    }

    /// Whether a document without a name stays although its kind may go. One that lost its name
    /// after this was made stays until the next run.
    pub fn keeps(&self, namespace: &Namespace, digest: &Digest) -> bool {
        match self.unkept.get(namespace) {
            Some(unkept) => !unkept.contains(digest),
            // No rules, or a namespace that is younger than this.
            None => self.rules(namespace).needs_times(),
        }
    }
}

async fn unkept_in(engine: &Engine, namespace: &Namespace, unnamed: &Unnamed) -> Result<HashSet<Digest>> {
    // Before anything is read: what comes in between is not older than now.
    let now_ms = engine.clock().clock_ms;
    let mut documents: Vec<DocumentUse> = Vec::new();
    let mut after: Option<Digest> = None;
    loop {
        let (page, more) = engine.unnamed_documents(namespace, after.as_ref(), MEMBERS_PAGE).await?;
        documents.extend(page);
        if more.is_none() {
            break;
        }
        after = more;
    }
    let times = |document: &DocumentUse| Times {
        pushed_ms: document.since_clock_ms,
        pulled_ms: document.usage.pulled.map(|pulled| pulled.clock_ms),
    };
    let times: Vec<Times> = documents.iter().map(times).collect();
    let kept = unnamed.keeps(&times, now_ms);
    let unkept = documents.into_iter().zip(kept).filter(|(_, rule)| rule.is_none());
    Ok(unkept.map(|(document, _)| document.digest).collect())
}
