//! Tokens that others have issued.
//!
//! ```text
//!   a token -> jws           taken apart; nothing of it is believed yet
//!           -> known         was it right before?
//!           -> provider      of a provider of identities: mapping says whom it stands for, the policies decide
//!           -> distribution  of a token server, whose decision counts instead of the policies
//!           -> holder        whoever it stands for, with its claims
//!   keys     what signatures are checked with    file        where those of a token server come from
//!   claims   time, issuer, audience, access      challenge   how a client is told where to get a token
//!   upstream a token server that is asked for what is not known here
//! ```
//!
//! Signatures are checked with aws-lc directly: no library in between has a say in which algorithm is for which key.

mod challenge;
mod claims;
mod distribution;
mod file;
mod jws;
mod keys;
mod known;
mod mapping;
mod provider;
mod upstream;

use std::io;

use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
use orlop_api::access::{Bearer, Subject};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

#[cfg(feature = "conditions")]
pub use self::mapping::{Expressions, VARIABLES};
use self::{
    challenge::Reason,
    distribution::Distribution,
    jws::Jws,
    known::{Holder, Known},
    provider::Provider,
};
pub use self::{
    challenge::{Realm, RealmError},
    claims::{Expected, access},
    distribution::DistributionOptions,
    file::FileError,
    keys::{Keys, KeysError},
    mapping::Mapping,
    provider::{Authorities, ProviderOptions},
    upstream::{Upstream, UpstreamError, UpstreamOptions},
};
use crate::{challenge as own, challenge::Origin, evidence::Evidence};

/// The longest name of a user or group, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// What can be set from outside.
#[derive(Debug, Clone, Default)]
pub struct ForeignOptions {
    /// Where clients get tokens; without one, here, if there are providers.
    pub realm: Option<Realm>,
    pub distribution: Option<DistributionOptions>,
    /// Whose tokens stand for users.
    pub providers: Vec<ProviderOptions>,
    pub upstream: Option<UpstreamOptions>,
}

impl ForeignOptions {
    /// Whether no token would ever be right.
    pub fn is_empty(&self) -> bool {
        self.distribution.is_none() && self.providers.is_empty()
    }
}

/// Why tokens cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{0}")]
    Outbound(#[from] io::Error),
}

/// Knows the tokens of other issuers.
pub struct Foreign {
    realm: Option<Realm>,
    distribution: Option<Distribution>,
    providers: Vec<Provider>,
    upstream: Option<Upstream>,
    known: Known,
}

/// What becomes of a text that may be a token of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// The answer of the token endpoint.
    Taken(String),
    /// It is one that is meant for here, and not right.
    Refused,
    Unknown,
}

impl Foreign {
    /// Errors: a file that cannot be used. Providers are not asked before their first token.
    pub fn open(options: ForeignOptions) -> Result<Self, ForeignError> {
        let ForeignOptions { realm, distribution, providers, upstream } = options;
        Ok(Foreign {
            realm,
            distribution: distribution.map(Distribution::open).transpose()?,
            providers: providers.into_iter().map(Provider::open).collect::<Result<_, _>>()?,
            upstream: upstream.map(Upstream::open).transpose()?,
            known: Known::new(),
        })
    }

    pub fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Where clients are told to get tokens, unless it is here.
    pub fn place(&self) -> Option<Bearer> {
        self.realm.as_ref().map(Realm::place)
    }

    pub fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    /// Whom a token stands for, if it is right.
    pub async fn subject(&self, token: &str) -> Option<Subject> {
        self.holder(token).await.map(|holder| holder.subject)
    }

    /// Looks at what was brought to the token endpoint.
    pub async fn offer(&self, text: &str) -> Offer {
        let Some(parts) = Jws::parse(text) else { return Offer::Unknown };
        if !self.providers.iter().any(|provider| provider.is_meant_by(&parts.claims)) {
            return Offer::Unknown;
        }
        let is_of_provider = |holder: &Holder| !holder.subject.evidence::<Evidence>().is_some_and(Evidence::decides);
        let Some(holder) = self.holder(text).await.filter(is_of_provider) else { return Offer::Refused };
        let lifetime_seconds = holder.until.saturating_sub(claims::now());
        let issued_at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let document =
            json!({ "token": text, "access_token": text, "expires_in": lifetime_seconds, "issued_at": issued_at });
        Offer::Taken(document.to_string())
    }

    async fn holder(&self, token: &str) -> Option<Holder> {
        let now = claims::now();
        let keys = match &self.distribution {
            Some(distribution) => Some(distribution.keys().await),
            None => None,
        };
        for provider in &self.providers {
            provider.refresh_if_old().await;
        }
        if let Some(holder) = self.known.get(token, self.state(), now) {
            return Some(holder);
        }
        let parts = Jws::parse(token)?;
        let mut found = None;
        for provider in self.providers.iter().filter(|provider| provider.is_meant_by(&parts.claims)) {
            found = provider.holder(&parts, now).await;
            if found.is_some() {
                break;
            }
        }
        // After the providers: asking them may have changed their keys.
        let state = self.state();
        let by_server = || self.distribution.as_ref().zip(keys).and_then(|(of, keys)| of.holder(&parts, &keys, now));
        let holder = found.or_else(by_server)?;
        self.known.put(token, state, holder.clone());
        Some(holder)
    }

    /// A number that changes with the keys, and never comes back.
    fn state(&self) -> u64 {
        let of_providers: u64 = self.providers.iter().map(Provider::changes).sum();
        of_providers + self.distribution.as_ref().map_or(0, Distribution::changes)
    }

    /// Where a client gets a token for this request; `None` if that is not known.
    pub fn challenge(&self, head: &Parts, external: Option<&Origin>, base_path: &str) -> Option<HeaderValue> {
        let reason = self.reason(head);
        match &self.realm {
            Some(realm) => Some(realm.challenge(head, reason)),
            None => {
                let plain = own::bearer(head, external, base_path).filter(|_| self.has_providers())?;
                let text = [plain.to_str().ok()?, &challenge::suffix(head, reason)].concat();
                HeaderValue::from_str(&text).ok()
            }
        }
    }

    /// A token that is right was looked at a moment ago.
    fn reason(&self, head: &Parts) -> Reason {
        let value = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let parts = value.and_then(|value| value.split_once(' '));
        let Some((_, token)) = parts.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            return Reason::NoToken;
        };
        match self.known.get(token.trim_matches(' '), self.state(), claims::now()) {
            Some(_) => Reason::InsufficientScope,
            None => Reason::InvalidToken,
        }
    }
}

/// Whether a text can be the name of a user: nothing that would look like something else in a log.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}
