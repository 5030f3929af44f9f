//! The answers to the API's questions.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header::AUTHORIZATION, request::Parts};
use orlop_api::{
    access::{
        Access, AccountCall, Action, Actions, Answering, Exchanging, Identifying, Refusal, Subject, TokenCall,
        Unidentified, Ways,
    },
    protocol::Account,
    server::{Lasting, Peer},
};

#[cfg(feature = "bearer")]
use crate::bearer::Foreign;
#[cfg(feature = "ldap")]
use crate::ldap::Ldap;
#[cfg(feature = "openid")]
use crate::openid::Providers;
use crate::{
    browser::{Browser, is_interface},
    certificates::CertificateRules,
    challenge::{self, Origin, TOKEN_PATH},
    credentials::{Credentials, Malformed},
    evidence::{Evidence, Extent, Source, is_of_file},
    htpasswd::{Htpasswd, HtpasswdError},
    keys::{self, Key, Keys, KeysError, Mark, Voucher},
    lasting::OfFile,
    policy::Policy,
    sessions::{Session, Sessions},
    throttle::{Throttle, Turn},
    tokens::{Bearer, Tokens},
};

/// Refusals that may be delayed at the same time; whoever comes beyond is told to come again.
const DELAYED_MAX: usize = 1024;

/// What can be set from outside.
#[derive(Default)]
pub struct Options {
    /// A file of users with the hashes of their passwords.
    pub htpasswd: Option<PathBuf>,
    /// A directory that knows users.
    #[cfg(feature = "ldap")]
    pub ldap: Option<Arc<Ldap>>,
    /// Which part of a client's certificate is the name of its user.
    pub certificates: Option<CertificateRules>,
    /// Keys that users make; they need another way to log in first.
    pub keys: Option<Arc<Keys>>,
    /// What users may do. Without it they may do everything, and others nothing.
    pub policy: Option<Policy>,
    /// What people are shown when they are asked for a password.
    pub realm: Option<String>,
    /// How long whoever brings wrong credentials waits for the answer.
    pub fail_delay: Duration,
    /// Where clients reach the registry, if it is not where it listens.
    pub external_url: Option<Origin>,
    /// Sessions of browsers; those that are given here go on when the options change. Default: new ones.
    pub sessions: Option<Arc<Sessions>>,
    /// Cookies are for TLS only, also where a proxy ends it.
    pub secure_sessions: bool,
    /// Where browsers can log in.
    #[cfg(feature = "openid")]
    pub providers: Option<Providers>,
    /// The path that all routes are below, as clients see it; empty, or such as `/registry`.
    pub base_path: String,
    /// Failed logins of an address before it has to wait; `None`: it never has to.
    pub failures_max: Option<u32>,
    /// Tokens of other issuers.
    #[cfg(feature = "bearer")]
    pub foreign: Option<Foreign>,
}

/// Knows users and what they may do.
pub struct Auth {
    htpasswd: Option<Arc<Htpasswd>>,
    #[cfg(feature = "ldap")]
    ldap: Option<Arc<Ldap>>,
    certificates: Option<CertificateRules>,
    keys: Option<Arc<Keys>>,
    policy: Option<Policy>,
    realm: HeaderValue,
    fail_delay: Duration,
    delayed: AtomicUsize,
    external_url: Option<Origin>,
    browser: Browser,
    base_path: String,
    throttle: Option<Arc<Throttle>>,
    /// Where some may come in without credentials and others have to show some.
    tokens: Option<Arc<Tokens>>,
    #[cfg(feature = "bearer")]
    foreign: Option<Foreign>,
    #[cfg(feature = "conditions")]
    has_conditions: bool,
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
        let realm = options.realm.filter(|realm| !realm.is_empty());
        let known = before.and_then(|before| before.htpasswd.clone());
        let htpasswd = match (options.htpasswd, known) {
            (Some(path), Some(known)) if known.path() == path => Some(known),
            (path, _) => path.as_deref().map(Htpasswd::open).transpose()?,
        };
        let sessions = match (options.sessions, before.map(|before| before.browser.sessions.clone())) {
            // Those that have ended must stay so.
            (Some(sessions), Some(known)) if known.has_key_of(&sessions) => known,
            (Some(sessions), _) | (None, Some(sessions)) => sessions,
            (None, None) => Arc::new(Sessions::fleeting()),
        };
        let browser = Browser {
            sessions,
            is_secure: options.secure_sessions,
            external_url: options.external_url.clone(),
            base_path: options.base_path.clone(),
            #[cfg(feature = "openid")]
            providers: options.providers,
        };
        // One for each file, or changes would be lost.
        let keys = match (options.keys, before.and_then(|before| before.keys.clone())) {
            (Some(_), Some(known)) => Some(known),
            (keys, _) => keys,
        };
        let throttle = match (options.failures_max, before.and_then(|before| before.throttle.clone())) {
            (Some(max), Some(known)) if known.failures_max() == max => Some(known),
            (max, _) => max.map(|max| Arc::new(Throttle::new(max))),
        };
        #[cfg(feature = "conditions")]
        let has_conditions = options.policy.as_ref().is_some_and(Policy::has_conditions);
        let mut auth = Auth {
            realm: challenge::basic(realm.as_deref().unwrap_or(challenge::REALM_DEFAULT)),
            tokens: None,
            htpasswd,
            #[cfg(feature = "ldap")]
            ldap: options.ldap,
            certificates: options.certificates,
            keys,
            policy: options.policy,
            fail_delay: options.fail_delay,
            delayed: AtomicUsize::new(0),
            browser,
            base_path: options.base_path,
            throttle,
            external_url: options.external_url,
            #[cfg(feature = "bearer")]
            foreign: options.foreign,
            #[cfg(feature = "conditions")]
            has_conditions,
        };
        #[cfg(feature = "bearer")]
        let has_issuers = auth.foreign.as_ref().is_some_and(Foreign::has_providers);
        #[cfg(not(feature = "bearer"))]
        let has_issuers = false;
        let is_open = auth.policy.as_ref().is_some_and(Policy::is_open);
        let is_mixed = is_open && (auth.has_passwords() || auth.keys.is_some());
        let tokens = before.and_then(|before| before.tokens.clone());
        auth.tokens = (has_issuers || is_mixed).then(|| tokens.unwrap_or_else(|| Arc::new(Tokens::new())));
        Ok(auth)
    }

    async fn subject(&self, head: &Parts) -> Result<Subject, Unidentified> {
        if !self.knows_users() {
            return Ok(Subject::anonymous());
        }
        let subject = match Credentials::of(&head.headers) {
            Ok(Credentials::None) => match self.by_session(head).await? {
                nobody if nobody.is_anonymous() => self.by_certificate(head),
                user => Some(user),
            },
            // The endpoint itself looks at what it is brought, which may be a token instead of a password.
            Ok(Credentials::Password { .. }) if head.uri.path() == TOKEN_PATH && self.exchanges() => {
                Some(Subject::anonymous())
            }
            Ok(Credentials::Password { user, password }) => self.by_login(head, &user, &password).await?,
            // A token for a token would have no end.
            Ok(Credentials::Token(_)) if head.uri.path() == TOKEN_PATH => None,
            Ok(Credentials::Token(token)) => self.by_token(&token).await?,
            Err(Malformed) => None,
        };
        match subject {
            Some(subject) => {
                self.note_groups(&subject).await;
                Ok(self.with_facts(subject, head))
            }
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
        let is_shown = self.keys.is_some() || self.certificates.is_some() || self.browser.has_providers();
        self.has_passwords() || is_shown
    }

    /// Whether anybody has a name and a password.
    fn has_passwords(&self) -> bool {
        #[cfg(feature = "ldap")]
        if self.ldap.is_some() {
            return true;
        }
        self.htpasswd.is_some()
    }

    /// Whose session a browser has; nobody in particular if it has none. Errors: a change that may be forged.
    async fn by_session(&self, head: &Parts) -> Result<Subject, Unidentified> {
        if let Some(htpasswd) = self.htpasswd.as_ref().filter(|_| is_interface(head)) {
            htpasswd.refresh().await;
        }
        let session = self.browser.session(head, |session| self.vouches(session))?;
        Ok(session.map_or(Subject::anonymous(), |session| {
            let source = session.source();
            let subject = Subject::user(&session.user, session.groups);
            match source {
                Some(source) => subject.with_evidence(Arc::new(Evidence { source, ..Evidence::default() })),
                None => subject,
            }
        }))
    }

    /// Whether a text is a token of a provider where browsers log in.
    #[cfg(feature = "bearer")]
    pub(crate) fn is_of_browser(&self, text: &str) -> bool {
        #[cfg(feature = "openid")]
        return self.browser.providers.as_ref().is_some_and(|providers| providers.have_issued(text));
        #[cfg(not(feature = "openid"))]
        {
            let _ = text;
            false
        }
    }

    /// Whether whoever let somebody in still would, as far as that is known without asking: the password is the same,
    /// and the directory or the provider is still one of ours.
    fn vouches(&self, session: &Session) -> bool {
        match session.source() {
            None => session.has_password(self.secret_of(&session.user).as_deref()),
            Some(Source::Elsewhere) => self.browser.knows(&session.provider),
            Some(source) => self.has_source(&source),
        }
    }

    /// Whether there are still users of this kind.
    fn has_source(&self, source: &Source) -> bool {
        match source {
            Source::File => self.htpasswd.is_some(),
            #[cfg(feature = "ldap")]
            Source::Directory => self.ldap.is_some(),
            #[cfg(not(feature = "ldap"))]
            Source::Directory => false,
            Source::Certificate => self.certificates.is_some(),
            Source::Key(key) => self.keys.as_ref().is_some_and(|keys| keys.holds(key)),
            Source::Elsewhere => self.browser.has_providers() || self.exchanges(),
        }
    }

    /// What stands for the password of a user, where that is known here.
    fn secret_of(&self, user: &str) -> Option<String> {
        self.htpasswd.as_ref()?.hash_of(user)
    }

    /// Whose name and password these are, unless too many logins have failed where they come from.
    /// Errors: too many logins at once, or too many that failed.
    pub(crate) async fn by_login(
        &self,
        head: &Parts,
        user: &str,
        password: &str,
    ) -> Result<Option<Subject>, Unidentified> {
        let (Some(throttle), Some(peer)) = (&self.throttle, head.extensions.get::<Peer>()) else {
            return self.by_password(user, password).await;
        };
        match throttle.turn(peer.client, user) {
            Turn::Now => {}
            Turn::IfKnown(_) if self.has_seen(user, password).await => return self.by_password(user, password).await,
            Turn::IfKnown(wait) | Turn::Later(wait) => return Err(throttle.refused(peer.client, user, wait)),
        }
        let subject = self.by_password(user, password).await?;
        match &subject {
            Some(_) => throttle.succeeded(peer.client, user),
            None => throttle.failed(peer.client, user),
        }
        Ok(subject)
    }

    /// Whether these were right before, as far as that is known without asking anybody.
    async fn has_seen(&self, user: &str, password: &str) -> bool {
        if let (Some(keys), Some(mark)) = (&self.keys, Mark::of(password)) {
            return keys.shown(user, mark).is_some();
        }
        #[cfg(feature = "ldap")]
        if self.ldap.as_ref().is_some_and(|ldap| ldap.has_seen(user, password)) {
            return true;
        }
        match &self.htpasswd {
            Some(htpasswd) => htpasswd.has_seen(user, password).await,
            None => false,
        }
    }

    /// Whose certificate the connection has; without one he is nobody in particular.
    fn by_certificate(&self, head: &Parts) -> Option<Subject> {
        let shown = head.extensions.get::<Peer>().and_then(|peer| peer.certificate.as_ref());
        let (Some(rules), Some(certificate)) = (&self.certificates, shown) else { return Some(Subject::anonymous()) };
        let evidence = Evidence { source: Source::Certificate, ..Evidence::default() };
        rules.user(certificate).map(|user| Subject::user(&user, Vec::new()).with_evidence(Arc::new(evidence)))
    }

    /// Whose name and password these are. The ways are tried one after the other, those on this machine first.
    /// Errors: too many logins at once.
    pub(crate) async fn by_password(&self, user: &str, password: &str) -> Result<Option<Subject>, Unidentified> {
        // What has the form of a key is nothing else: it is hashed by no file, and shown to no other server.
        if let Some(keys) = &self.keys
            && let Some(mark) = Mark::of(password)
        {
            let Some(key) = keys.shown(user, mark) else { return Ok(None) };
            return self.by_key(keys, key).await;
        }
        if let Some(htpasswd) = &self.htpasswd
            && htpasswd.is_right(user, password).await?
        {
            return Ok(Some(Subject::user(user, Vec::new())));
        }
        #[cfg(feature = "ldap")]
        if let Some(ldap) = &self.ldap
            && let Some(subject) = ldap.user(user, password).await?
        {
            return Ok(Some(subject));
        }
        Ok(None)
    }

    /// Whom a key stands for, as long as whoever vouched for him still knows him.
    async fn by_key(&self, keys: &Keys, key: Arc<Key>) -> Result<Option<Subject>, Unidentified> {
        let groups = match key.voucher() {
            Voucher::File => {
                let Some(htpasswd) = &self.htpasswd else { return Ok(None) };
                htpasswd.refresh().await;
                htpasswd.hash_of(key.owner()).map(|_| Vec::new())
            }
            #[cfg(feature = "ldap")]
            Voucher::Directory => match &self.ldap {
                Some(ldap) => ldap.groups(key.owner()).await?,
                None => None,
            },
            #[cfg(not(feature = "ldap"))]
            Voucher::Directory => None,
            Voucher::Elsewhere => Some(keys.groups(key.owner())),
        };
        let Some(groups) = groups else { return Ok(None) };
        let subject = Subject::user(key.owner(), groups);
        let extent = key.scopes().map_or(Extent::Policies, |scopes| Extent::Within(scopes.clone()));
        let evidence = Evidence { source: Source::Key(key), extent, ..Evidence::default() };
        Ok(Some(subject.with_evidence(Arc::new(evidence))))
    }

    /// Somebody who was known a while ago, if he is now.
    async fn still(&self, subject: Subject) -> Result<Option<Subject>, Unidentified> {
        match (&self.keys, subject.evidence().map(|Evidence { source, .. }| source)) {
            (_, Some(source)) if !self.has_source(source) => Ok(None),
            (Some(keys), Some(Source::Key(key))) => self.by_key(keys, key.clone()).await,
            _ => Ok(Some(subject)),
        }
    }

    /// Answers a user about his keys.
    async fn keys_of_user(&self, call: &AccountCall<'_>) -> Option<Response<String>> {
        let (keys, owner) = (self.keys.as_ref()?, call.subject.name()?);
        let voucher = match call.subject.evidence() {
            None => Voucher::File,
            Some(Evidence { extent: Extent::Within(_) | Extent::Instead(_), .. })
            | Some(Evidence { source: Source::Key(_), .. }) => return Some(keys::endpoint::refuse()),
            Some(Evidence { source: Source::File, .. }) => Voucher::File,
            Some(Evidence { source: Source::Directory, .. }) => Voucher::Directory,
            Some(Evidence { source: Source::Certificate | Source::Elsewhere, .. }) => Voucher::Elsewhere,
        };
        Some(keys::endpoint::answer(keys, call, owner, voucher).await)
    }

    /// Has the keys of somebody follow his groups, where nobody can be asked about them later.
    async fn note_groups(&self, subject: &Subject) {
        if let (Some(keys), Some(owner)) = (&self.keys, subject.name())
            && let Some(Evidence { source: Source::Elsewhere, extent: Extent::Policies, .. }) = subject.evidence()
        {
            keys.note_groups(owner, subject.groups()).await;
        }
    }

    /// Whether users may make keys.
    pub fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Reads what is kept in the store. To be called once the store is open, and before anybody is let in.
    pub fn load(&self) -> Result<(), KeysError> {
        self.keys.as_ref().map_or(Ok(()), |keys| keys.load())
    }

    /// Writes down what was only remembered. To be called while the store is open, and after everybody has gone.
    pub async fn close(&self) {
        if let Some(keys) = &self.keys
            && let Err(error) = keys.close().await
        {
            tracing::error!(%error, "when API keys were used is not written down");
        }
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
                Some(Bearer::Held(subject)) => return self.still(subject).await,
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
        let external = self.external_url.as_ref();
        #[cfg(feature = "bearer")]
        let has_place =
            self.foreign.as_ref().is_some_and(|foreign| foreign.challenge(head, external, &self.base_path).is_some());
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
        if is_interface(head) {
            // Asked like this, a browser would ask for a password itself, in a window of its own.
            return Vec::new();
        }
        #[cfg(feature = "bearer")]
        if let Some(foreign) = &self.foreign
            && head.uri.path() != TOKEN_PATH
            && !(self.has_passwords() && brings(head, "basic"))
            && let Some(challenge) = foreign.challenge(head, self.external_url.as_ref(), &self.base_path)
        {
            // Only this one: clients that know both would get a token and send a password.
            return vec![challenge];
        }
        let takes_token = head.uri.path() != TOKEN_PATH && (challenge::is_docker(head) || brings_token(head));
        let bearer = match &self.tokens {
            Some(_) if takes_token => challenge::bearer(head, self.external_url.as_ref(), &self.base_path),
            _ => None,
        };
        vec![bearer.unwrap_or_else(|| self.realm.clone())]
    }

    fn ways(&self) -> Ways {
        Ways {
            password: self.has_passwords(),
            api_keys: self.keys.is_some(),
            #[cfg(feature = "bearer")]
            bearer: self.foreign.as_ref().and_then(Foreign::place),
            #[cfg(not(feature = "bearer"))]
            bearer: None,
            #[cfg(feature = "openid")]
            providers: self.browser.providers.as_ref().map(Providers::labels).unwrap_or_default(),
            #[cfg(not(feature = "openid"))]
            providers: Vec::new(),
        }
    }

    fn settle(&self, subject: &Subject, head: &Parts, status: StatusCode, headers: &mut HeaderMap) {
        let secret_of = |user: &str| self.secret_of(user);
        self.browser.settle(subject, head, status, headers, secret_of, |session| self.vouches(session));
    }

    fn account<'a>(&'a self, call: AccountCall<'a>) -> Answering<'a> {
        Box::pin(async move {
            match call.account {
                Account::ApiKeys => self.keys_of_user(&call).await,
                Account::Login | Account::Callback { .. } | Account::Logout => self.browser.account(call).await,
            }
        })
    }

    fn token(&self, subject: &Subject) -> Option<String> {
        let tokens = self.tokens.as_ref()?;
        match subject.name() {
            // Never more than what it was asked for with.
            Some(_) if !is_of_file(subject) => Some(tokens.document_of(subject)),
            Some(user) => Some(tokens.document(Some(user), &self.htpasswd.as_ref()?.hash_of(user)?)),
            // A token for nobody opens what is open.
            None if self.policy.as_ref().is_some_and(Policy::is_open) => Some(tokens.document(None, "")),
            None => None,
        }
    }

    fn lasting(&self, subject: &Subject, head: &Parts) -> Option<Arc<dyn Lasting>> {
        // Whoever has evidence is known by more than the file of users, or is looked at more closely.
        subject.name().filter(|_| subject.evidence::<Evidence>().is_none())?;
        let Ok(Credentials::Password { user, password }) = Credentials::of(&head.headers) else { return None };
        let vouched = self.htpasswd.as_ref()?.vouch(&user, &password)?;
        Some(Arc::new(OfFile { subject: subject.clone(), vouched, throttle: self.throttle.clone() }))
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
