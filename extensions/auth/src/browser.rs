//! Logins of browsers: what their pages send, and what they get to keep.
//!
//! A session counts only in requests with the field that zot's web interface sends with each of its own: no page of
//! another site can make a browser send it (cross-site request forgery). A change that comes with the cookie and
//! without the field is refused.

use std::sync::Arc;

use http::{
    HeaderMap, Method, Response, StatusCode,
    header::{AUTHORIZATION, SET_COOKIE},
    request::Parts,
    uri::Scheme,
};
use orlop_api::{
    access::{AccountCall, BROWSER, Subject, Unidentified},
    protocol::{Account, ErrorCode, ProtocolError},
    server::Peer,
};
use serde_json::json;

#[cfg(feature = "openid")]
use crate::openid::Providers;
use crate::{
    challenge::Origin,
    cookie::Site,
    credentials::Credentials,
    evidence::{Evidence, Extent, Source},
    sessions::{self, Login, Session, Sessions},
};

/// The value of the field that marks requests of the web interface.
const INTERFACE: &str = "zot-ui";

/// What keys of users begin with, which are no passwords.
const KEY_PREFIX: &str = "zak_";

/// Sessions and the ways to begin one.
pub struct Browser {
    pub sessions: Arc<Sessions>,
    /// Cookies are for TLS only, also where a proxy ends it.
    pub is_secure: bool,
    pub external_url: Option<Origin>,
    /// The path that all routes are below; empty, or such as `/registry`.
    pub base_path: String,
    #[cfg(feature = "openid")]
    pub providers: Option<Providers>,
}

impl Browser {
    /// Whether anybody can log in elsewhere.
    pub fn has_providers(&self) -> bool {
        #[cfg(feature = "openid")]
        return self.providers.is_some();
        #[cfg(not(feature = "openid"))]
        false
    }

    /// Whether this is one of the providers where browsers log in.
    pub fn knows(&self, provider: &str) -> bool {
        #[cfg(feature = "openid")]
        return self.providers.as_ref().is_some_and(|providers| providers.knows(provider));
        #[cfg(not(feature = "openid"))]
        {
            let _ = provider;
            false
        }
    }

    /// The session of a request without credentials, if it still counts: `vouches` says whether whoever let its user
    /// in still would.
    ///
    /// Errors: a change that another site may have made the browser ask for.
    pub fn session(&self, head: &Parts, vouches: impl Fn(&Session) -> bool) -> Result<Option<Session>, Unidentified> {
        if !is_interface(head) {
            let is_forged = changes(&head.method) && sessions::is_brought(&head.headers);
            return if is_forged { Err(Unidentified::Forged) } else { Ok(None) };
        }
        Ok(self.sessions.read(&head.headers).filter(vouches))
    }

    /// Lets the browser keep the session that its password has begun, and forget one that is over. `secret_of` gives
    /// what stands for the password of a user, `vouches` is that of [`Browser::session`].
    pub fn settle(
        &self,
        subject: &Subject,
        head: &Parts,
        status: StatusCode,
        answer: &mut HeaderMap,
        secret_of: impl Fn(&str) -> Option<String>,
        vouches: impl Fn(&Session) -> bool,
    ) {
        if !is_interface(head) || answer.contains_key(SET_COOKIE) {
            return;
        }
        let site = self.site(head);
        let by_password = match subject.evidence::<Evidence>() {
            None => true,
            Some(evidence) => {
                matches!((&evidence.source, &evidence.extent), (Source::Directory | Source::File, Extent::Policies))
            }
        };
        let has_password = status != StatusCode::UNAUTHORIZED && by_password;
        if let Some(user) = subject.name().filter(|_| has_password && brings_password(head)) {
            let secret = secret_of(user);
            let login = Login { user, groups: subject.groups(), provider: "", password: secret.as_deref() };
            self.sessions.begin(login, &head.headers, site, answer);
        } else if sessions::is_brought(&head.headers) && matches!(self.session(head, vouches), Ok(None)) {
            sessions::forget(site, answer);
        }
    }

    /// Answers what concerns logins; `None` if there is nothing here.
    pub async fn account(&self, call: AccountCall<'_>) -> Option<Response<String>> {
        match call.account {
            Account::Logout => Some(self.log_out(call.head)),
            #[cfg(feature = "openid")]
            Account::Login => Some(self.providers.as_ref()?.begin(self, call.head).await),
            #[cfg(feature = "openid")]
            Account::Callback { provider } => Some(self.providers.as_ref()?.complete(self, provider, call.head).await),
            _ => None,
        }
    }

    fn log_out(&self, head: &Parts) -> Response<String> {
        if !is_interface(head) && sessions::is_brought(&head.headers) {
            let message = "a page that logs out has to send X-ZOT-API-CLIENT: zot-ui";
            return refusal(StatusCode::FORBIDDEN, ErrorCode::Denied, message);
        }
        let session = self.sessions.read(&head.headers);
        let end = session.as_ref().and_then(|session| self.end_session_url(session, head));
        let document = end.map_or(json!({}), |url| json!({ "endSessionUrl": url }));
        let mut answer = Response::new(document.to_string());
        if let Some(session) = session {
            self.sessions.end(&session);
        }
        sessions::forget(self.site(head), answer.headers_mut());
        answer
    }

    /// Where the provider of a session ends its own.
    #[cfg(feature = "openid")]
    fn end_session_url(&self, session: &Session, head: &Parts) -> Option<String> {
        self.providers.as_ref()?.end_session_url(&session.provider, &self.home(head)?)
    }

    #[cfg(not(feature = "openid"))]
    fn end_session_url(&self, _: &Session, _: &Parts) -> Option<String> {
        None
    }

    /// Where the browser sees the registry: the configured address, or that of the request, with the path that all
    /// of it is below.
    #[cfg(feature = "openid")]
    pub fn home(&self, head: &Parts) -> Option<String> {
        Some(crate::challenge::origin(head, self.external_url.as_ref())? + &self.base_path)
    }

    /// For whom cookies are that are given in answer to this.
    pub fn site(&self, head: &Parts) -> Site<'_> {
        let has_tls = head.extensions.get::<Peer>().is_some_and(|peer| peer.scheme == Scheme::HTTPS);
        let is_secure = self.is_secure || has_tls || self.external_url.as_ref().is_some_and(Origin::is_https);
        Site { base_path: &self.base_path, is_secure }
    }
}

/// An answer in the words of the distribution specification ("Error Codes").
pub fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response<String> {
    let body = ProtocolError::new(code, message).body();
    let mut answer = Response::new(String::from_utf8(body).expect("JSON is UTF-8"));
    *answer.status_mut() = status;
    answer
}

/// Whether the request is from zot's web interface.
pub fn is_interface(head: &Parts) -> bool {
    head.headers.get(BROWSER).is_some_and(|value| value == INTERFACE)
}

/// Whether a method may change something (RFC 9110 section 9.2.1).
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether a request logs in with a password. A key may do less than its user, and end before a session does.
fn brings_password(head: &Parts) -> bool {
    let password = |password: &str| !password.starts_with(KEY_PREFIX);
    head.headers.contains_key(AUTHORIZATION)
        && matches!(Credentials::of(&head.headers), Ok(Credentials::Password { password: text, .. }) if password(&text))
}
