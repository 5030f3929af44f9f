//! The answers to the API's questions.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
use orlop_api::access::{Access, Action, Actions, Exchanging, Identifying, Refusal, Subject, TokenCall, Unidentified};

#[cfg(feature = "bearer")]
use crate::bearer::Foreign;
use crate::{
    challenge::{self, Origin, TOKEN_PATH},
    credentials::{Credentials, Malformed},
    evidence::{Evidence, Extent},
    htpasswd::{Htpasswd, HtpasswdError},
    policy::Policy,
    tokens::{Bearer, Tokens},
};

/// Refusals that may be delayed at the same time; whoever comes beyond is told to come again.
const DELAYED_MAX: usize = 1024;

/// What can be set from outside.
#[derive(Default)]
pub struct Options {
    /// A file of users with the hashes of their passwords.
    pub htpasswd: Option<PathBuf>,
    /// What users may do. Without it they may do everything, and others nothing.
    pub policy: Option<Policy>,
    /// What people are shown when they are asked for a password.
    pub realm: Option<String>,
    /// How long whoever brings wrong credentials waits for the answer.
    pub fail_delay: Duration,
    /// Where clients reach the registry, if it is not where it listens.
    pub external_url: Option<Origin>,
    /// Tokens of other issuers.
    #[cfg(feature = "bearer")]
    pub foreign: Option<Foreign>,
}

/// Knows users and what they may do.
pub struct Auth {
    htpasswd: Option<Arc<Htpasswd>>,
    policy: Option<Policy>,
    realm: HeaderValue,
    fail_delay: Duration,
    delayed: AtomicUsize,
    external_url: Option<Origin>,
    /// Where some may come in without credentials and others have to show some.
    tokens: Option<Tokens>,
    #[cfg(feature = "bearer")]
    foreign: Option<Foreign>,
    #[cfg(feature = "conditions")]
    has_conditions: bool,
}

impl Auth {
    /// Errors: a file that cannot be used.
    pub fn open(options: Options) -> Result<Self, HtpasswdError> {
        #[cfg(feature = "bearer")]
        let foreign = options.foreign;
        let Options { htpasswd, policy, realm, fail_delay, external_url, .. } = options;
        let htpasswd = htpasswd.as_deref().map(Htpasswd::open).transpose()?;
        #[cfg(feature = "bearer")]
        let has_providers = foreign.as_ref().is_some_and(Foreign::has_providers);
        #[cfg(not(feature = "bearer"))]
        let has_providers = false;
        let is_mixed = has_providers || htpasswd.is_some() && policy.as_ref().is_some_and(Policy::is_open);
        let realm = realm.filter(|realm| !realm.is_empty());
        Ok(Auth {
            realm: challenge::basic(realm.as_deref().unwrap_or(challenge::REALM_DEFAULT)),
            tokens: is_mixed.then(Tokens::new),
            htpasswd,
            #[cfg(feature = "conditions")]
            has_conditions: policy.as_ref().is_some_and(Policy::has_conditions),
            policy,
            fail_delay,
            delayed: AtomicUsize::new(0),
            external_url,
            #[cfg(feature = "bearer")]
            foreign,
        })
    }

    async fn subject(&self, head: &Parts) -> Result<Subject, Unidentified> {
        if !self.knows_users() {
            return Ok(Subject::anonymous());
        }
        let subject = match Credentials::of(&head.headers) {
            Ok(Credentials::None) => Some(Subject::anonymous()),
            // The endpoint itself looks at what it is brought, which may be a token instead of a password.
            Ok(Credentials::Password { .. }) if head.uri.path() == TOKEN_PATH && self.exchanges() => {
                Some(Subject::anonymous())
            }
            Ok(Credentials::Password { user, password }) => self.by_password(&user, &password).await?,
            // A token for a token would have no end.
            Ok(Credentials::Token(_)) if head.uri.path() == TOKEN_PATH => None,
            Ok(Credentials::Token(token)) => self.by_token(&token).await?,
            Err(Malformed) => None,
        };
        match subject {
            Some(subject) => Ok(self.with_facts(subject, head)),
            // Tokens end by themselves, and their clients come back with others; nobody guesses one.
            None if brings_token(head) => Err(Unidentified::Refused),
            None => Err(self.refuse().await),
        }
    }

    /// What conditions look at, if there are any. Nothing has conditions that is for everybody.
    #[cfg(feature = "conditions")]
    fn with_facts(&self, subject: Subject, head: &Parts) -> Subject {
        match self.has_conditions && !subject.is_anonymous() {
            true => crate::condition::with_facts(subject, head),
            false => subject,
        }
    }

    #[cfg(not(feature = "conditions"))]
    fn with_facts(&self, subject: Subject, _head: &Parts) -> Subject {
        subject
    }

    /// As in zot: where nobody can show who he is, nobody is asked to.
    fn knows_users(&self) -> bool {
        #[cfg(feature = "bearer")]
        if self.foreign.is_some() {
            return true;
        }
        self.htpasswd.is_some()
    }

    /// Whose name and password these are. The ways are tried one after the other, those on this machine first.
    /// Errors: too many logins at once.
    pub(crate) async fn by_password(&self, user: &str, password: &str) -> Result<Option<Subject>, Unidentified> {
        if let Some(htpasswd) = &self.htpasswd
            && htpasswd.is_right(user, password).await?
        {
            return Ok(Some(Subject::user(user, Vec::new())));
        }
        Ok(None)
    }

    /// Whom a token stands for. Errors: too many logins at once.
    async fn by_token(&self, token: &str) -> Result<Option<Subject>, Unidentified> {
        if let Some(tokens) = &self.tokens {
            if let Some(htpasswd) = &self.htpasswd {
                htpasswd.refresh().await;
            }
            match tokens.read(token, |user| self.htpasswd.as_ref()?.hash_of(user)) {
                Some(Bearer::Anonymous) => return Ok(Some(Subject::anonymous())),
                Some(Bearer::User(user)) => return Ok(Some(Subject::user(&user, Vec::new()))),
                None => {}
            }
        }
        #[cfg(feature = "bearer")]
        if let Some(foreign) = &self.foreign
            && let Some(subject) = foreign.subject(token).await
        {
            return Ok(Some(subject));
        }
        Ok(None)
    }

    /// What a condition says to whoever it refuses.
    #[cfg(feature = "conditions")]
    fn reason(&self, subject: &Subject, wanted: Option<(&str, Actions)>) -> Option<String> {
        let ((repository, wanted), policy) = wanted.zip(self.policy.as_ref())?;
        policy.reason(subject, repository, wanted).map(str::to_owned)
    }

    #[cfg(not(feature = "conditions"))]
    fn reason(&self, _subject: &Subject, _wanted: Option<(&str, Actions)>) -> Option<String> {
        None
    }

    /// Whether passwords may be tokens of providers at the token endpoint.
    fn exchanges(&self) -> bool {
        #[cfg(feature = "bearer")]
        if self.foreign.as_ref().is_some_and(Foreign::has_providers) {
            return true;
        }
        false
    }

    #[cfg(feature = "bearer")]
    pub(crate) fn foreign(&self) -> Option<&Foreign> {
        self.foreign.as_ref()
    }

    /// Makes guessing slow.
    pub(crate) async fn refuse(&self) -> Unidentified {
        if self.fail_delay.is_zero() {
            return Unidentified::Refused;
        }
        let delayed = Delayed(&self.delayed);
        if self.delayed.fetch_add(1, Ordering::Relaxed) >= DELAYED_MAX {
            return Unidentified::Busy;
        }
        tokio::time::sleep(self.fail_delay).await;
        drop(delayed);
        Unidentified::Refused
    }
}

/// A refusal that waits.
struct Delayed<'a>(&'a AtomicUsize);

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Access for Auth {
    fn identify<'a>(&'a self, head: &'a Parts) -> Identifying<'a> {
        Box::pin(self.subject(head))
    }

    fn actions(&self, subject: &Subject, repository: &str) -> Actions {
        let by_policy = || match &self.policy {
            Some(policy) => policy.actions(subject, repository),
            None if subject.is_anonymous() => Actions::NONE,
            None => Actions::FULL,
        };
        match subject.evidence::<Evidence>().map(|evidence| &evidence.extent) {
            None | Some(Extent::Policies) => by_policy(),
            Some(Extent::Within(scopes)) => {
                // What only makes its holder more careful is not lost by being narrower.
                let careful = Actions::of(&[Action::DetectManifestCollision]);
                by_policy().intersection(scopes.actions(repository).union(careful))
            }
            Some(Extent::Instead(scopes)) => scopes.actions(repository),
        }
    }

    fn is_fixed(&self, repository: &str, tag: &str) -> bool {
        self.policy.as_ref().is_some_and(|policy| policy.is_fixed(repository, tag))
    }

    fn may_read_some(&self, subject: &Subject) -> bool {
        let has_scopes = subject.evidence::<Evidence>().is_some_and(Evidence::decides);
        has_scopes || self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.may_read_some(subject))
    }

    fn may_see_metrics(&self, subject: &Subject) -> bool {
        is_whole(subject)
            && self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.may_see_metrics(subject))
    }

    fn is_admin(&self, subject: &Subject) -> bool {
        is_whole(subject) && self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.is_admin(subject))
    }

    fn greets(&self, subject: &Subject, head: &Parts) -> bool {
        if !subject.is_nobody() {
            return true;
        }
        // Whoever has a token server to go to is sent there first.
        #[cfg(feature = "bearer")]
        let has_place = self.foreign.as_ref().is_some_and(|foreign| foreign.challenge(head, None).is_some());
        #[cfg(not(feature = "bearer"))]
        let has_place = false;
        // With a token for nobody it has been here before.
        let has_token = head.headers.contains_key(AUTHORIZATION);
        if has_place && !has_token {
            return false;
        }
        let is_open = !self.knows_users() || self.policy.as_ref().is_some_and(Policy::is_open);
        is_open && (self.tokens.is_none() || has_token || !challenge::is_docker(head))
    }

    fn is_user(&self, subject: &Subject) -> bool {
        !subject.is_anonymous() && is_whole(subject)
    }

    fn refusal(&self, subject: &Subject, wanted: Option<(&str, Actions)>) -> Refusal {
        match subject.evidence::<Evidence>().map(|evidence| &evidence.extent) {
            // Who has a token that says less than he needs gets another one by being asked (RFC 6750 section 3.1).
            // If it says enough, as for a tag that is fixed, another one would not help.
            Some(Extent::Instead(scopes)) => {
                let suffices = |(repository, any)| scopes.actions(repository).intersects(any);
                if wanted.is_some_and(suffices) { Refusal::Deny(None) } else { Refusal::Ask }
            }
            _ if subject.is_anonymous() => Refusal::Ask,
            _ => Refusal::Deny(self.reason(subject, wanted)),
        }
    }

    fn challenges(&self, head: &Parts) -> Vec<HeaderValue> {
        #[cfg(feature = "bearer")]
        if let Some(foreign) = &self.foreign
            && head.uri.path() != TOKEN_PATH
            && !(self.htpasswd.is_some() && brings(head, "basic"))
            && let Some(challenge) = foreign.challenge(head, self.external_url.as_ref())
        {
            // Only this one: clients that know both would get a token and send a password.
            return vec![challenge];
        }
        let takes_token = head.uri.path() != TOKEN_PATH && (challenge::is_docker(head) || brings_token(head));
        let bearer = match &self.tokens {
            Some(_) if takes_token => challenge::bearer(head, self.external_url.as_ref()),
            _ => None,
        };
        vec![bearer.unwrap_or_else(|| self.realm.clone())]
    }

    fn token(&self, subject: &Subject) -> Option<String> {
        let tokens = self.tokens.as_ref()?;
        match subject.name() {
            Some(user) => Some(tokens.document(Some(user), &self.htpasswd.as_ref()?.hash_of(user)?)),
            // A token for nobody opens what is open.
            None if self.policy.as_ref().is_some_and(Policy::is_open) => Some(tokens.document(None, "")),
            None => None,
        }
    }

    fn exchange<'a>(&'a self, call: TokenCall<'a>) -> Exchanging<'a> {
        Box::pin(self.exchanged(call))
    }
}

/// Whether the credentials go as far as their user does: what concerns no single repository is not for others.
fn is_whole(subject: &Subject) -> bool {
    subject.evidence::<Evidence>().is_none_or(|evidence| matches!(evidence.extent, Extent::Policies))
}

/// Whether a request has a token, right or wrong.
fn brings_token(head: &Parts) -> bool {
    brings(head, "bearer")
}

/// Whether a request has credentials of a scheme (RFC 9110 section 11.4), whatever else it has.
fn brings(head: &Parts, scheme: &str) -> bool {
    let is_one = |value: &HeaderValue| match value.as_bytes().split_at_checked(scheme.len()) {
        Some((found, rest)) => found.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first() == Some(&b' '),
        None => false,
    };
    head.headers.get(AUTHORIZATION).is_some_and(is_one)
}
