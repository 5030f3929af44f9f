//! Conditions of policies: expressions about a request that have to hold for a policy to count.
//!
//! In: the head of a request, looked at once, when it is known who sends it. Out: the values that the expressions see;
//! the same ones however often and however late they are asked, so that the head and the commit of a request never
//! decide differently. What cannot be said does not hold.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use cel::Value;
use chrono::DateTime;
use http::{
    HeaderMap,
    header::{HeaderName, USER_AGENT},
    request::Parts,
    uri::Scheme,
};
use orlop_api::{
    access::{Action, Subject},
    protocol::{Reference, Route},
    server::Peer,
};

use crate::{
    evidence::{Evidence, Source},
    expression::{Expression, map, of_json},
};

/// The variable of the expressions.
pub const REQUEST: &str = "req";

/// The most addresses of proxies that an expression sees.
const FORWARDED_MAX: usize = 16;

/// The longest text of a request that an expression sees, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 10;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What has to hold, and what somebody is told for whom it does not.
#[derive(Debug, Clone)]
pub struct Condition {
    pub expression: Expression,
    pub message: String,
}

/// What a request is, beside who sends it.
#[derive(Debug)]
pub struct Facts {
    seconds: i64,
    method: String,
    user_agent: String,
    address: String,
    forwarded_for: Vec<String>,
    is_tls: bool,
    tls_version: &'static str,
    route: Option<Route>,
    /// What does not depend on the question.
    values: OnceLock<Vec<(&'static str, Value)>>,
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    pub action: Action,
    pub repository: &'q str,
    pub subject: &'q Subject,
    /// With those of the configuration.
    pub groups: &'q [&'q str],
    pub is_admin: bool,
}

impl Facts {
    pub fn of(head: &Parts) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let peer = head.extensions.get::<Peer>();
        Facts {
            seconds: i64::try_from(now).unwrap_or(i64::MAX),
            method: head.method.as_str().to_owned(),
            user_agent: text(&head.headers, &USER_AGENT).next().unwrap_or_default(),
            address: peer.map_or(String::new(), |peer| peer.client.to_string()),
            forwarded_for: text(&head.headers, &FORWARDED_FOR)
                .flat_map(|line| line.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>())
                .take(FORWARDED_MAX)
                .collect(),
            is_tls: peer.is_some_and(|peer| peer.scheme == Scheme::HTTPS),
            tls_version: peer.and_then(|peer| peer.tls_version).unwrap_or_default(),
            route: Route::parse(head.uri.path()).ok(),
            values: OnceLock::new(),
        }
    }

    /// Whether all conditions hold.
    pub fn meet(&self, conditions: &[Condition], question: Question<'_>) -> bool {
        self.first_unmet(conditions, question).is_none()
    }

    /// The message of the first condition that does not hold. One that cannot be evaluated has none: what went wrong
    /// in it is for the log.
    pub fn first_unmet<'c>(&self, conditions: &'c [Condition], question: Question<'_>) -> Option<Option<&'c str>> {
        let request = [(REQUEST, self.request(question))];
        conditions.iter().find_map(|condition| match condition.expression.holds(&request) {
            Ok(true) => None,
            Ok(false) => Some(Some(condition.message.as_str()).filter(|message| !message.is_empty())),
            Err(error) => {
                tracing::debug!(condition = ?condition.expression, error, "a condition cannot be evaluated");
                Some(None)
            }
        })
    }

    fn request(&self, question: Question<'_>) -> Value {
        let Question { action, repository, subject, groups, is_admin } = question;
        let constant = self.values.get_or_init(|| self.constant(subject));
        let list = |texts: &[&str]| Value::from(texts.iter().map(|text| Value::from(*text)).collect::<Vec<_>>());
        // A tag is one of the repository that the request is about, and of no other.
        let is_there = self.route.as_ref().and_then(Route::repository).is_some_and(|name| name.as_str() == repository);
        let (kind, tag, digest) = match self.route.as_ref().filter(|_| is_there) {
            Some(Route::Manifest { reference: Reference::Tag(tag), .. }) => ("tag", tag.to_string(), String::new()),
            Some(Route::Manifest { reference: Reference::Digest(digest), .. }) => {
                ("digest", String::new(), digest.to_string())
            }
            Some(Route::Blob { digest, .. } | Route::Referrers { digest, .. }) => {
                ("", String::new(), digest.to_string())
            }
            _ => ("", String::new(), String::new()),
        };
        let reference = match kind {
            "tag" => tag.clone(),
            "digest" => digest.clone(),
            _ => String::new(),
        };
        let user = [("username", Value::from(subject.name().unwrap_or_default())), ("groups", list(groups))];
        let auth = [("anonymous", Value::Bool(subject.is_anonymous())), ("admin", Value::Bool(is_admin))];
        let of_question = [
            ("action", Value::from(action.as_str())),
            ("repository", Value::from(repository)),
            ("reference", Value::from(reference)),
            ("referenceType", Value::from(kind)),
            ("tag", Value::from(tag)),
            ("digest", Value::from(digest)),
            ("user", map(user)),
            ("auth", map(auth)),
        ];
        map(constant.iter().cloned().chain(of_question))
    }

    fn constant(&self, subject: &Subject) -> Vec<(&'static str, Value)> {
        let time = DateTime::from_timestamp(self.seconds, 0).unwrap_or_default();
        let forwarded: Vec<Value> = self.forwarded_for.iter().map(|text| Value::from(text.as_str())).collect();
        let client = [("ip", Value::from(self.address.as_str())), ("forwardedFor", Value::from(forwarded))];
        let tls = [("enabled", Value::Bool(self.is_tls)), ("version", Value::from(self.tls_version))];
        let claims = subject.evidence::<Evidence>().and_then(|evidence| evidence.claims.as_ref());
        let claims = claims.into_iter().flat_map(|claims| claims.iter());
        vec![
            ("time", Value::Timestamp(time.into())),
            ("method", Value::from(self.method.as_str())),
            ("userAgent", Value::from(self.user_agent.as_str())),
            ("client", map(client)),
            ("tls", map(tls)),
            ("claims", map(claims.map(|(name, value)| (name.as_str(), of_json(value))))),
        ]
    }
}

/// A subject with what its request is.
pub fn with_facts(subject: Subject, head: &Parts) -> Subject {
    let of_file = || Evidence { source: Source::File, ..Evidence::default() };
    let evidence = subject.evidence::<Evidence>().cloned().unwrap_or_else(of_file);
    let evidence = Evidence { facts: Some(Arc::new(Facts::of(head))), ..evidence };
    subject.with_evidence(Arc::new(evidence))
}

/// The values of a field, as far as they are text.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'h {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.map(|value| value.get(..TEXT_BYTES_MAX).unwrap_or(value).to_owned())
}
