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
use orlop_api::access::{Access, Action, Actions, Identifying, Subject, Unidentified};

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
    tokens: Option<Arc<Tokens>>,
}

impl Auth {
    /// Errors: a file that cannot be used.
    pub fn open(options: Options) -> Result<Self, HtpasswdError> {
        Auth::with(options, None)
    }

    /// The same with other options. Tokens go on standing for their users, and who is known from the same file is
    /// known still. Errors: a file that cannot be used.
    pub fn renewed(&self, options: Options) -> Result<Self, HtpasswdError> {
        Auth::with(options, Some(self))
    }

    /// Takes over from `before` what is not options.
    fn with(options: Options, before: Option<&Auth>) -> Result<Self, HtpasswdError> {
        let Options { htpasswd, policy, realm, fail_delay, external_url } = options;
        let known = before.and_then(|before| before.htpasswd.clone());
        let htpasswd = match (htpasswd, known) {
            (Some(path), Some(known)) if known.path() == path => Some(known),
            (path, _) => path.as_deref().map(Htpasswd::open).transpose()?,
        };
        let tokens = before.and_then(|before| before.tokens.clone());
        let is_mixed = htpasswd.is_some() && policy.as_ref().is_some_and(Policy::is_open);
        let realm = realm.filter(|realm| !realm.is_empty());
        Ok(Auth {
            realm: challenge::basic(realm.as_deref().unwrap_or(challenge::REALM_DEFAULT)),
            tokens: is_mixed.then(|| tokens.unwrap_or_else(|| Arc::new(Tokens::new()))),
            htpasswd,
            policy,
            fail_delay,
            delayed: AtomicUsize::new(0),
            external_url,
        })
    }

    async fn subject(&self, head: &Parts) -> Result<Subject, Unidentified> {
        if !self.knows_users() {
            return Ok(Subject::anonymous());
        }
        let subject = match Credentials::of(&head.headers) {
            Ok(Credentials::None) => Some(Subject::anonymous()),
            Ok(Credentials::Password { user, password }) => self.by_password(&user, &password).await?,
            // A token for a token would have no end.
            Ok(Credentials::Token(_)) if head.uri.path() == TOKEN_PATH => None,
            Ok(Credentials::Token(token)) => self.by_token(&token).await?,
            Err(Malformed) => None,
        };
        match subject {
            Some(subject) => Ok(subject),
            None => Err(self.refuse().await),
        }
    }

    /// As in zot: where nobody can show who he is, nobody is asked to.
    fn knows_users(&self) -> bool {
        self.htpasswd.is_some()
    }

    /// Whose name and password these are. The ways are tried one after the other, those on this machine first.
    /// Errors: too many logins at once.
    async fn by_password(&self, user: &str, password: &str) -> Result<Option<Subject>, Unidentified> {
        if let Some(htpasswd) = &self.htpasswd
            && htpasswd.is_right(user, password).await?
        {
            return Ok(Some(Subject::user(user, Vec::new())));
        }
        Ok(None)
    }

    /// Whom a token stands for. Errors: too many logins at once.
    async fn by_token(&self, token: &str) -> Result<Option<Subject>, Unidentified> {
        if let (Some(tokens), Some(htpasswd)) = (&self.tokens, &self.htpasswd) {
            htpasswd.refresh().await;
            match tokens.read(token, |user| htpasswd.hash_of(user)) {
                Some(Bearer::Anonymous) => return Ok(Some(Subject::anonymous())),
                Some(Bearer::User(user)) => return Ok(Some(Subject::user(&user, Vec::new()))),
                None => {}
            }
        }
        Ok(None)
    }

    /// Makes guessing slow.
    async fn refuse(&self) -> Unidentified {
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
        self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.may_read_some(subject))
    }

    fn may_see_metrics(&self, subject: &Subject) -> bool {
        is_whole(subject)
            && self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.may_see_metrics(subject))
    }

    fn is_admin(&self, subject: &Subject) -> bool {
        is_whole(subject) && self.policy.as_ref().map_or(!subject.is_anonymous(), |policy| policy.is_admin(subject))
    }

    fn greets(&self, subject: &Subject, head: &Parts) -> bool {
        if !subject.is_anonymous() {
            return true;
        }
        let is_open = self.htpasswd.is_none() || self.policy.as_ref().is_some_and(Policy::is_open);
        // With a token for nobody it has been here before.
        let has_token = head.headers.contains_key(AUTHORIZATION);
        is_open && (self.tokens.is_none() || has_token || !challenge::is_docker(head))
    }

    fn challenges(&self, head: &Parts) -> Vec<HeaderValue> {
        let takes_token = head.uri.path() != TOKEN_PATH && (challenge::is_docker(head) || brings_token(head));
        let bearer = match &self.tokens {
            Some(_) if takes_token => challenge::bearer(head, self.external_url.as_ref()),
            _ => None,
        };
        vec![bearer.unwrap_or_else(|| self.realm.clone())]
    }

    fn token(&self, subject: &Subject) -> Option<String> {
        let (tokens, htpasswd) = (self.tokens.as_ref()?, self.htpasswd.as_ref()?);
        match subject.name() {
            Some(user) => Some(tokens.document(Some(user), &htpasswd.hash_of(user)?)),
            None => Some(tokens.document(None, "")),
        }
    }
}

/// Whether the credentials go as far as their user does: what concerns no single repository is not for others.
fn is_whole(subject: &Subject) -> bool {
    subject.evidence::<Evidence>().is_none_or(|evidence| matches!(evidence.extent, Extent::Policies))
}

/// Whether a request has a token, right or wrong.
fn brings_token(head: &Parts) -> bool {
    let is_token =
        |value: &HeaderValue| value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    head.headers.get(AUTHORIZATION).is_some_and(is_token)
}
