//! Logins of browsers at providers: OpenID Connect (OpenID Connect Core 1.0) and GitHub (RFC 6749).
//!
//! ```text
//!   /zot/auth/login?provider=P  -> state, nonce and verifier, sealed into a cookie    302 to the provider
//!   /zot/auth/callback/P?code=  -> the cookie of this browser, for P, used once
//!     v pending                    the same state                                     401 if it is another one
//!     v oidc  github               the code, for what the provider says of the user
//!     v claims                     a name and groups                                  401 if there is no name
//!     v destination                back to a page of our own, with a session          302, or 201
//! ```
//!
//! A provider is asked for the first time when somebody wants to log in with it: one that is down keeps nobody else
//! from anything. Every login has a state, a nonce and a verifier (RFC 7636), whether the provider looks at them or
//! not.

mod claims;
mod destination;
mod discovery;
mod github;
mod oidc;
mod pending;

use http::{
    HeaderValue, Response, StatusCode,
    header::{LOCATION, SET_COOKIE},
    request::Parts,
};
use openidconnect::{
    ClientId, ClientSecret,
    url::{Url, form_urlencoded},
};
use orlop_api::{access::Provider, protocol::ErrorCode};

pub use self::claims::Claims;
use self::{claims::Identity, destination::Destinations, github::GitHub, oidc::OpenId, pending::Pending};
use crate::{
    base64url,
    browser::{Browser, refusal},
    outbound::{Outbound, OutboundError},
    sessions::Login,
};

/// Where providers send browsers back to, followed by the provider's name.
const CALLBACK_PATH: &str = "/zot/auth/callback";

/// The longest query of a request that is looked at, in bytes. Codes have some hundred.
const QUERY_BYTES_MAX: usize = 16 << 10;

/// A provider as the operator describes it.
pub struct ProviderOptions {
    /// In addresses: 1 to 64 letters, digits, `-` or `_`.
    pub name: String,
    /// For people; may be empty.
    pub label: String,
    pub client_id: String,
    /// `None` for a client without one, whose codes only the verifier protects.
    pub client_secret: Option<String>,
    pub scopes: Vec<String>,
    pub kind: Kind,
}

/// How a provider is spoken to.
pub enum Kind {
    OpenId {
        /// As the provider calls itself, to the letter.
        issuer: String,
        claims: Claims,
    },
    GitHub {
        /// `None`: github.com.
        authorize: Option<String>,
        token: Option<String>,
        /// `None`: api.github.com, or `/api/v3/` where `authorize` is.
        api: Option<String>,
    },
}

/// Why providers cannot be used as they are described.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("{provider}: {text:?} is no address: expected https:// or http://, a host, and perhaps a path")]
    Address { provider: String, text: String },
    #[error("{text:?} is no origin: expected https:// or http://, a host, and perhaps a port")]
    Origin { text: String },
    #[error("no client for requests to providers: {0}")]
    Client(#[from] std::io::Error),
}

/// Why somebody is not logged in. What it says is for the log; browsers are told less.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("the answer is for no login that this browser has begun with this provider")]
    Mismatch,
    #[error("the provider refuses: {0}")]
    Refused(String),
    #[error("what the provider says cannot be believed: {0}")]
    Untrusted(String),
    #[error("the provider names no user: {0}")]
    Nobody(String),
    #[error("the provider cannot be asked: {0}")]
    Unreachable(String),
}

impl From<OutboundError> for LoginError {
    fn from(error: OutboundError) -> Self {
        LoginError::Unreachable(error.to_string())
    }
}

/// Who we are to a provider.
struct Client {
    id: ClientId,
    secret: Option<ClientSecret>,
    scopes: Vec<String>,
}

/// One provider, ready to be asked.
struct Known {
    name: String,
    label: String,
    way: Way,
}

enum Way {
    OpenId(Box<OpenId>),
    GitHub(Box<GitHub>),
}

impl Way {
    /// Who its tokens are from; `None` where they say nothing.
    fn issuer(&self) -> Option<&str> {
        match self {
            Way::OpenId(provider) => Some(provider.issuer()),
            Way::GitHub(_) => None,
        }
    }
}

/// All providers.
pub struct Providers {
    all: Vec<Known>,
    destinations: Destinations,
    outbound: Outbound,
}

impl Providers {
    /// Asks nobody anything. `origins` are those of pages that browsers may be sent to after a login, beside those of
    /// the registry itself.
    ///
    /// Errors: what is no address where one is expected.
    pub fn open(options: Vec<ProviderOptions>, origins: &[String], outbound: Outbound) -> Result<Self, ProviderError> {
        let all = options.into_iter().map(known).collect::<Result<_, _>>()?;
        Ok(Providers { all, destinations: Destinations::new(origins)?, outbound })
    }

    /// What [`Providers::open`] would say of these, without getting ready for anything.
    pub fn check(options: Vec<ProviderOptions>, origins: &[String]) -> Result<(), ProviderError> {
        options.into_iter().try_for_each(|options| known(options).map(drop))?;
        Destinations::new(origins).map(drop)
    }

    /// Whether a text is a token of one of these, as far as it says so itself (RFC 7519 section 4.1.1).
    pub fn have_issued(&self, text: &str) -> bool {
        let payload = text.split('.').nth(1).and_then(base64url::decode);
        let claims = payload.and_then(|payload| serde_json::from_slice::<serde_json::Value>(&payload).ok());
        let issuer = claims.as_ref().and_then(|claims| claims.get("iss")?.as_str());
        issuer.is_some_and(|issuer| self.all.iter().any(|known| known.way.issuer() == Some(issuer)))
    }

    /// What people choose from.
    pub fn labels(&self) -> Vec<Provider> {
        let label = |known: &Known| Provider { name: known.name.clone(), label: known.label.clone() };
        self.all.iter().map(label).collect()
    }

    pub fn knows(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Known> {
        self.all.iter().find(|known| known.name == name)
    }

    /// Sends a browser to a provider.
    pub async fn begin(&self, browser: &Browser, head: &Parts) -> Response<String> {
        let query = Query::of(head);
        let Some(known) = query.one("provider").and_then(|name| self.find(name)) else {
            let names: Vec<&str> = self.all.iter().map(|known| known.name.as_str()).collect();
            let message = format!("no such provider; expected ?provider= with one of {}", names.join(", "));
            return refusal(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, &message);
        };
        let Some(home) = browser.home(head) else {
            let message = "the address of the registry is not known; send a Host field";
            return refusal(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message);
        };
        let external = browser.external_url.as_ref().map(|origin| origin.as_str());
        let wanted = query.one("callback_ui").unwrap_or_default();
        let destination = self.destinations.of(wanted, external, &browser.base_path);
        let pending = Pending::new(&known.name, format!("{home}{CALLBACK_PATH}/{}", known.name), destination);
        let target = match &known.way {
            Way::OpenId(provider) => provider.authorize(&self.outbound, &pending).await,
            Way::GitHub(provider) => Ok(provider.authorize(&pending)),
        };
        match target {
            Ok(target) => {
                let mut answer = moved(target.as_str());
                let cookie = pending.cookie(browser.sessions.sealer(), browser.site(head));
                answer.headers_mut().append(SET_COOKIE, cookie);
                answer
            }
            Err(error) => failed(&known.name, &error),
        }
    }

    /// Takes in a browser that comes back from a provider.
    pub async fn complete(&self, browser: &Browser, name: &str, head: &Parts) -> Response<String> {
        let site = browser.site(head);
        let mut answer = match self.identify(browser, name, head).await {
            Ok((identity, destination)) => {
                let mut answer = match destination.as_str() {
                    "" => Response::new(String::new()),
                    place => moved(place),
                };
                if destination.is_empty() {
                    *answer.status_mut() = StatusCode::CREATED;
                }
                let Identity { user, groups } = &identity;
                let login = Login { user, groups, provider: name, password: None };
                browser.sessions.begin(login, &head.headers, site, answer.headers_mut());
                tracing::info!(user, provider = name, "logged in");
                answer
            }
            Err(error) => failed(name, &error),
        };
        answer.headers_mut().append(SET_COOKIE, pending::forgotten(site));
        answer
    }

    /// Who comes back, and to where he wants to go on.
    async fn identify(&self, browser: &Browser, name: &str, head: &Parts) -> Result<(Identity, String), LoginError> {
        let known = self.find(name).ok_or(LoginError::Mismatch)?;
        let query = Query::of(head);
        let pending = Pending::read(browser.sessions.sealer(), &head.headers).ok_or(LoginError::Mismatch)?;
        // Each provider has an address of its own, and a login is for one: what one provider has given is never
        // taken to another (RFC 9700 section 4.4).
        if pending.provider != name || !pending.is_state(query.one("state").unwrap_or_default()) {
            return Err(LoginError::Mismatch);
        }
        if !pending.spend(browser.sessions.completed()) {
            return Err(LoginError::Mismatch);
        }
        if let Some(error) = query.one("error") {
            return Err(LoginError::Refused(shown(error)));
        }
        let code = query.one("code").ok_or_else(|| LoginError::Refused("it sends no code".to_owned()))?;
        let identity = match &known.way {
            Way::OpenId(provider) => provider.identify(&self.outbound, &pending, code, query.one("iss")).await?,
            Way::GitHub(provider) => provider.identify(&self.outbound, &pending, code).await?,
        };
        Ok((identity, pending.destination))
    }

    /// Where a provider ends its own session, if it says so and was asked before.
    pub fn end_session_url(&self, name: &str, home: &str) -> Option<String> {
        match &self.find(name)?.way {
            Way::OpenId(provider) => provider.end_session_url(home).map(String::from),
            Way::GitHub(_) => None,
        }
    }
}

fn known(options: ProviderOptions) -> Result<Known, ProviderError> {
    let ProviderOptions { name, label, client_id, client_secret, scopes, kind } = options;
    let secret = client_secret.filter(|secret| !secret.is_empty()).map(ClientSecret::new);
    let client = Client { id: ClientId::new(client_id), secret, scopes };
    let unusable = |text: &str| ProviderError::Address { provider: name.clone(), text: text.to_owned() };
    let address = |text: &str| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => Ok(url),
        _ => Err(unusable(text)),
    };
    let way = match kind {
        Kind::OpenId { issuer, claims } => {
            let url = address(&issuer)?;
            Way::OpenId(Box::new(OpenId::new(client, issuer, url.scheme() == "https", claims)))
        }
        Kind::GitHub { authorize, token, api } => {
            let of = |text: Option<String>, default: &str| address(text.as_deref().unwrap_or(default));
            // A server of one's own has its interface at a path of the same host.
            let own = authorize.as_deref().map(|text| address(text)?.join("/api/v3/").map_err(|_| unusable(text)));
            let api = match (api, own.transpose()?) {
                (None, Some(own)) => own,
                (api, _) => of(api, github::API)?,
            };
            let authorize = of(authorize, github::AUTHORIZE)?;
            Way::GitHub(Box::new(GitHub::new(client, authorize, of(token, github::TOKEN)?, api)))
        }
    };
    Ok(Known { name, label, way })
}

/// The parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(head: &Parts) -> Self {
        let text = head.uri.query().filter(|text| text.len() <= QUERY_BYTES_MAX).unwrap_or_default();
        let pairs = form_urlencoded::parse(text.as_bytes());
        Query(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value of a parameter; `None` also if there are several, of which others would take another one
    /// (RFC 6749 section 3.1).
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

fn moved(place: &str) -> Response<String> {
    let mut answer = Response::new(String::new());
    *answer.status_mut() = StatusCode::FOUND;
    let place = HeaderValue::from_str(place).expect("an address that was parsed is visible ASCII");
    answer.headers_mut().insert(LOCATION, place);
    answer
}

/// What a browser is told that could not log in. The log has the reason; what it needs from others to be of use is
/// in neither.
fn failed(provider: &str, error: &LoginError) -> Response<String> {
    tracing::warn!(provider, %error, "a login failed");
    let unauthorized = |message| refusal(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
    match error {
        LoginError::Unreachable(_) => {
            let message = "the provider cannot be reached now; try again later";
            refusal(StatusCode::BAD_GATEWAY, ErrorCode::Unavailable, message)
        }
        LoginError::Mismatch => unauthorized("this login was not begun here, or is over; begin it again"),
        LoginError::Nobody(_) => unauthorized("the provider does not say who you are; ask the operator"),
        LoginError::Refused(_) | LoginError::Untrusted(_) => unauthorized("the login has failed; begin it again"),
    }
}

/// A text of somebody else, for the log.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_there_twice_is_not_there() {
        let request = http::Request::get("/zot/auth/login?a=1&b=2&b=3&c=%2F").body(()).expect("a request");
        let query = Query::of(&request.into_parts().0);
        assert_eq!(
            (query.one("a"), query.one("b"), query.one("c"), query.one("d")),
            (Some("1"), None, Some("/"), None)
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let open = |issuer: &str, origins: &[String]| {
            let kind = Kind::OpenId { issuer: issuer.to_owned(), claims: Claims::default() };
            let options = ProviderOptions {
                name: "oidc".to_owned(),
                label: String::new(),
                client_id: "orlop".to_owned(),
                client_secret: Some("sentinel".to_owned()),
                scopes: Vec::new(),
                kind,
            };
            Providers::open(vec![options], origins, Outbound::new(None).expect("a client")).map(drop)
        };
        assert!(open("https://login.example.org/realm", &["https://ui.example.org".to_owned()]).is_ok());
        for issuer in ["login.example.org", "ftp://login", "", "https://", "data:,"] {
            let error = open(issuer, &[]).expect_err("refused").to_string();
            assert!(error.contains("expected https://") && !error.contains("sentinel"), "{error}");
        }
        for origin in ["*", "ui.example.org", "https://ui.example.org/page", "https://u@ui.example.org", "javascript:"]
        {
            let error = open("https://a", &[origin.to_owned()]).expect_err("refused").to_string();
            assert!(error.contains(origin), "{error}");
        }
    }
}
