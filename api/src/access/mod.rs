//! Who may do what: the seam to whoever knows users and policies.
//!
//! ```text
//!   head of a request -> Access::identify   who sends it                401 for wrong credentials
//!                     -> need               what the route takes        one table, in `need`
//!                     -> Access::actions    what he may do there        401 or 403, before the body is read
//!                     -> Grant              goes with the request       asked again where names change hands
//! ```
//!
//! Without an [`Access`] everybody may do everything and nobody is asked. What has become true when a handler is
//! called: its caller has the actions of the table. What depends on what is stored (whether a tag is new, who holds a
//! blob) the [`Grant`] decides in the commit.
//!
//! Invariant: a refusal depends on the request and on the policy, never on what is stored, so that nobody learns by
//! it what exists.

mod actions;
mod grant;
mod need;
mod subject;
mod ways;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};

pub(crate) use self::grant::{Binding, Grant};
pub use self::{
    actions::{Action, Actions},
    need::{Need, Verb, need},
    subject::{Subject, SubjectSlot},
    ways::{Bearer, Provider, Ways},
};
use orlop_engine::Error;

use crate::{
    handlers::{
        error_map::{Failure, RETRY_SOON_SECONDS},
        scope::Scope,
    },
    maintenance::Operators,
    protocol::{Account, ErrorCode, Route, Tag},
    registry::Registry,
    server::Lasting,
};

/// The answer to who sends a request; it may take hashing a password.
pub type Identifying<'a> = Pin<Box<dyn Future<Output = Result<Subject, Unidentified>> + Send + 'a>>;

/// A request to one of the paths of accounts.
pub struct AccountCall<'a> {
    pub account: &'a Account,
    /// Whoever asks; nobody in particular on paths that need nothing.
    pub subject: &'a Subject,
    pub head: &'a Parts,
    /// At most 64 KiB; empty except with POST and PUT.
    pub body: Bytes,
}

/// The answer to such a request, with a body of text; `None` if there is nothing at this path.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Option<Response<String>>> + Send + 'a>>;

/// The field that marks requests of zot's web interface. A page of another origin cannot set it without being asked
/// first whether it may.
pub const BROWSER: HeaderName = HeaderName::from_static("x-zot-api-client");
/// A request to the token endpoint.
pub struct TokenCall<'a> {
    /// Whoever asks, as far as the head says.
    pub subject: &'a Subject,
    pub head: &'a Parts,
    /// At most 64 KiB; empty except with POST.
    pub body: Bytes,
}

/// The answer to such a request, with a document; `None` if there are no tokens.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Option<Response<String>>, Unidentified>> + Send + 'a>>;

/// Why nobody knows who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unidentified {
    /// Credentials that are malformed, wrong, or more than one set of them: 401.
    Refused,
    /// Too many logins at once: 429.
    Busy,
    /// Whoever knows does not answer: 503.
    Unavailable,
    /// A change that a browser was made to ask for by a page of somebody else, as far as can be told: 403.
    Forged,
    /// Too many logins from this address have failed: 429 until this has passed.
    Throttled(Duration),
}

/// What is done with somebody who may not do what he asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// He is asked for credentials, or for others: 401.
    Ask,
    /// 403, with the reason if there is one that he may know.
    Deny(Option<String>),
}

/// Knows users and what they may do. It is asked for every request, so that its answers have to be quick; only
/// [`Access::identify`] may wait.
///
/// Answers to requests without credentials are given again by the server without asking. What everybody may do must
/// therefore not depend on anything of a request but its repository, and not change by itself, but with an exchange
/// ([`Current::exchange`](crate::Current::exchange)), which forgets them.
pub trait Access: Send + Sync + 'static {
    /// Who sends a request, by its head. Credentials that are not there are no mistake: that is
    /// [`Subject::anonymous`].
    fn identify<'a>(&'a self, head: &'a Parts) -> Identifying<'a>;

    /// What `subject` may do in a repository, whether it exists or not.
    fn actions(&self, subject: &Subject, repository: &str) -> Actions;

    /// Whether nobody may move or remove this tag once it is there.
    fn is_fixed(&self, repository: &str, tag: &str) -> bool;

    /// Whether there is any repository that `subject` may read.
    fn may_read_some(&self, subject: &Subject) -> bool;

    fn may_see_metrics(&self, subject: &Subject) -> bool;

    /// Whether `subject` may ask for what concerns all repositories, such as collection.
    fn is_admin(&self, subject: &Subject) -> bool;

    /// Whether `/v2/` is 200 for `subject`. Clients take 401 as the request for their credentials, and some send
    /// none before it.
    fn greets(&self, subject: &Subject, head: &Parts) -> bool;

    /// Whether `subject` is a user with all that this means: one who may make credentials for himself.
    fn is_user(&self, subject: &Subject) -> bool {
        !subject.is_anonymous()
    }

    /// What is done with `subject`, who may do none of the `wanted` actions in a repository, or not what he asked for
    /// where there is none. It must not depend on what is stored.
    fn refusal(&self, subject: &Subject, _wanted: Option<(&str, Actions)>) -> Refusal {
        match subject.is_anonymous() {
            true => Refusal::Ask,
            false => Refusal::Deny(None),
        }
    }

    /// The values of `WWW-Authenticate` for an answer to this request, the preferred one first; at least one
    /// (RFC 9110 section 11.6.1), except for the pages of zot's web interface, which ask for passwords themselves.
    fn challenges(&self, head: &Parts) -> Vec<HeaderValue>;

    /// A token that stands for `subject` for a while, as the JSON document of the token endpoint (distribution
    /// token specification). `None` if there are no tokens.
    fn token(&self, subject: &Subject) -> Option<String>;

    /// The ways to log in, as far as everybody may know them.
    fn ways(&self) -> Ways {
        Ways::default()
    }

    /// Adds to the answer of a browser's request, which is one with the field [`BROWSER`], what is to be kept there.
    /// `subject` is whoever was identified, if anybody was.
    fn settle(&self, _subject: &Subject, _head: &Parts, _status: StatusCode, _headers: &mut HeaderMap) {}

    /// How long it holds what was found out about `subject` by the name and the password of this request: a client
    /// that brings the same ones is then answered as before, without being looked up. `None` if more than these
    /// decides what `subject` may do, or if that is not known without asking. What the rules allow needs no word here:
    /// answers end with the rules that they were made by ([`Live::advance`](crate::server::Live::advance)).
    fn lasting(&self, _subject: &Subject, _head: &Parts) -> Option<Arc<dyn Lasting>> {
        None
    }

    /// Answers a request for a token, whose credentials may be in its body.
    fn exchange<'a>(&'a self, call: TokenCall<'a>) -> Exchanging<'a> {
        let document = self.token(call.subject);
        Box::pin(async move { Ok(document.map(Response::new)) })
    }

    /// Answers a login, a logout, or what concerns the keys of a user.
    fn account<'a>(&'a self, _call: AccountCall<'a>) -> Answering<'a> {
        Box::pin(async { None })
    }
}

/// Decides about a request by its head alone, and gives what its handler may do.
pub(crate) async fn admit(registry: &Registry, head: &Parts, route: &Route) -> Result<Grant, Failure> {
    let Some(access) = &registry.access else { return Ok(Grant::everything()) };
    // The route knows the method: everything else was answered with 405.
    let Some(need) = Verb::of(&head.method).map(|verb| need(route, verb)) else { return Err(denied()) };
    if need == Need::Nothing {
        return Ok(Grant::everything());
    }
    let subject = match access.identify(head).await {
        Ok(subject) => subject,
        Err(reason) => return Err(unidentified(&**access, head, reason)),
    };
    if let Some(slot) = head.extensions.get::<SubjectSlot>() {
        slot.set(&subject);
    }
    let actions = route.repository().map(|repository| access.actions(&subject, repository.as_str()));
    let is_admitted = match need {
        Need::Nothing => true,
        Need::Greeting => access.greets(&subject, head),
        Need::Token => true,
        Need::User => access.is_user(&subject),
        Need::Listing => !subject.is_anonymous() || access.may_read_some(&subject),
        Need::AnyOf(any) => actions.is_some_and(|actions| actions.intersects(any)),
        Need::Metrics => access.may_see_metrics(&subject),
        Need::Admin => access.is_admin(&subject) && registry.policy.operators != Operators::Nowhere,
    };
    match is_admitted {
        true => Ok(Grant::of(access.clone(), subject, actions.unwrap_or(Actions::NONE), route)),
        false => {
            let wanted = match need {
                Need::AnyOf(any) => route.repository().map(|repository| (repository.as_str(), any)),
                _ => None,
            };
            Err(refused(&**access, &subject, head, wanted))
        }
    }
}

/// Decides about the tags of a push, which takes `create` for those that are new and `update` for those that are
/// there. It looks at the store only if that makes a difference; the commit asks again.
pub(crate) async fn admit_tags(grant: &Grant, scope: &Scope<'_>, head: &Parts, tags: &[Tag]) -> Result<(), Failure> {
    let wanted = (scope.namespace.as_str(), Actions::of(&[Action::Create, Action::Update]));
    let refused = || grant.access().map_or_else(denied, |access| refused(access, &grant.subject(), head, Some(wanted)));
    for tag in tags {
        let is_allowed = match grant.binding(tag.as_str()) {
            Binding::Allowed => true,
            Binding::Denied => false,
            if_there => match scope.engine.resolve(&scope.namespace, tag.as_str()).await {
                Ok(_) => if_there == Binding::IfThere,
                Err(Error::NotFound { .. }) => if_there == Binding::IfNew,
                Err(error) => return Err(Failure::manifest(error)),
            },
        };
        if !is_allowed {
            return Err(refused());
        }
    }
    match tags.is_empty() && !grant.may(Action::Create) {
        true => Err(refused()),
        false => Ok(()),
    }
}

/// What somebody is told who may not do what he asked for: who he is, if he has not said; or no.
pub(crate) fn refused(
    access: &dyn Access,
    subject: &Subject,
    head: &Parts,
    wanted: Option<(&str, Actions)>,
) -> Failure {
    match access.refusal(subject, wanted) {
        Refusal::Ask => unauthorized(access, head),
        Refusal::Deny(None) => denied(),
        Refusal::Deny(Some(reason)) => denied().with_reason(reason),
    }
}

/// The same words for everything that is denied: what exists and what does not.
pub(crate) fn denied() -> Failure {
    let message = "you may not do this here; ask for the right to, or use another account";
    Failure::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message)
}

/// What whoever brought credentials is told that are not right.
pub(crate) fn unidentified(access: &dyn Access, head: &Parts, reason: Unidentified) -> Failure {
    match reason {
        Unidentified::Refused => unauthorized(access, head),
        Unidentified::Busy => too_many_logins(),
        Unidentified::Unavailable => logins_unavailable(),
        Unidentified::Forged => denied(),
        Unidentified::Throttled(wait) => Failure::too_many_failures(wait),
    }
}

fn unauthorized(access: &dyn Access, head: &Parts) -> Failure {
    let message = "this needs credentials that the registry knows; log in first";
    let failure = Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
    failure.with_headers(|headers| {
        for challenge in access.challenges(head) {
            headers.append(WWW_AUTHENTICATE, challenge);
        }
    })
}

fn too_many_logins() -> Failure {
    let message = "too many logins are being checked at once; try again soon";
    let failure = Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message);
    failure.with(RETRY_AFTER, RETRY_SOON_SECONDS)
}

/// No refusal: whoever is told that his credentials are wrong looks for others instead of coming again.
fn logins_unavailable() -> Failure {
    let message = "the server that knows the users does not answer; try again soon";
    let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message);
    failure.with(RETRY_AFTER, RETRY_SOON_SECONDS)
}

/// Access control of a registry, if it has any.
pub(crate) type Shared = Arc<dyn Access>;
