//! Tokens that others have issued.
//!
//! ```text
//!   a token -> jws           taken apart; nothing of it is believed yet
//!           -> known         was it right before?
//!           -> distribution  of a token server, whose decision counts instead of the policies
//!           -> holder        whoever it stands for, with its claims
//!   keys     what signatures are checked with    file   where they come from
//!   claims   time, issuer, audience, access      challenge   how a client is told where to get a token
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

use http::{HeaderValue, header::AUTHORIZATION, request::Parts};
use orlop_api::access::Subject;

pub use self::{
    challenge::{Realm, RealmError},
    claims::Expected,
    distribution::DistributionOptions,
    file::FileError,
    keys::{Keys, KeysError},
};
use self::{challenge::Reason, distribution::Distribution, jws::Jws, known::Known};

/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// What can be set from outside.
#[derive(Debug, Clone, Default)]
pub struct ForeignOptions {
    /// Where clients get tokens.
    pub realm: Option<Realm>,
    pub distribution: Option<DistributionOptions>,
}

/// Knows the tokens of other issuers.
pub struct Foreign {
    realm: Option<Realm>,
    distribution: Option<Distribution>,
    known: Known,
}

impl Foreign {
    /// Errors: a file that cannot be used.
    pub fn open(options: ForeignOptions) -> Result<Self, FileError> {
        let ForeignOptions { realm, distribution } = options;
        let distribution = distribution.map(Distribution::open).transpose()?;
        Ok(Foreign { realm, distribution, known: Known::new() })
    }

    /// Whom a token stands for, if it is right.
    pub async fn subject(&self, token: &str) -> Option<Subject> {
        let now = claims::now();
        let distribution = match &self.distribution {
            Some(distribution) => Some((distribution, distribution.keys().await)),
            None => None,
        };
        let state = distribution.as_ref().map_or(0, |(_, keys)| keys.changes);
        if let Some(subject) = self.known.get(token, state, now) {
            return Some(subject);
        }
        let parts = Jws::parse(token)?;
        let (distribution, keys) = distribution?;
        let holder = distribution.holder(&parts, &keys, now)?;
        self.known.put(token, state, holder.clone());
        Some(holder.subject)
    }

    /// Where a client gets a token for this request; `None` if that is not said.
    pub fn challenge(&self, head: &Parts) -> Option<HeaderValue> {
        Some(self.realm.as_ref()?.challenge(head, self.reason(head)))
    }

    /// A token that is right was looked at a moment ago.
    fn reason(&self, head: &Parts) -> Reason {
        let value = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else { return Reason::NoToken };
        let state = self.distribution.as_ref().map_or(0, Distribution::changes);
        match self.known.get(token.trim_matches(' '), state, claims::now()) {
            Some(_) => Reason::InsufficientScope,
            None => Reason::InvalidToken,
        }
    }
}

/// Whether a text can be the name of a user: nothing that would look like something else in a log.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}
