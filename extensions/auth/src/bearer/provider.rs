//! A provider of OpenID Connect whose tokens stand for machines (workload identity): a build, a service account.
//!
//! In: a token that was taken apart. Out: whoever holds it, by the claims. The keys come from the provider itself
//! (OpenID Connect Discovery 1.0 section 4) when the first token needs them, and again when a token names a key that
//! is not known, or they are old. A provider that cannot be reached keeps its tokens from being taken, and nothing
//! else: neither the start of the server nor tokens that were right a moment ago.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Uri;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    claims::{Claims, Expected, text},
    jws::Jws,
    keys::Keys,
    known::Holder,
    mapping::Mapping,
};
use crate::{
    evidence::{Evidence, Extent},
    outbound::Outbound,
};

/// How long to wait before a provider that has answered is asked again for a key that it did not have.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The same for one that has not answered.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// When keys are looked at again, in any case: a key that was withdrawn counts that long.
const KEYS_AGE_MAX: Duration = Duration::from_secs(600);

/// What can be set from outside.
#[derive(Debug, Clone)]
pub struct ProviderOptions {
    /// The address of the provider, as it is in `iss`.
    pub issuer: String,
    /// One of these has to be in `aud`.
    pub audiences: Vec<String>,
    pub mapping: Mapping,
    /// Certificates in PEM form that the provider may have, beside those of the system.
    pub authorities: Authorities,
    /// Takes tokens whatever their `iss` is.
    pub skip_issuer: bool,
}

/// Whom a provider's certificate may come from.
#[derive(Debug, Clone, Default)]
pub enum Authorities {
    #[default]
    System,
    File(PathBuf),
    Text(String),
}

pub struct Provider {
    issuer: String,
    expected: Expected,
    mapping: Mapping,
    outbound: Outbound,
    keys: RwLock<Option<Arc<Keys>>>,
    /// How often the keys have changed.
    changes: AtomicU64,
    /// Held while the provider is asked: by one at a time, the others wait for what that one finds.
    asked: Mutex<Asked>,
    opened: Instant,
    /// When it was last asked, in milliseconds since `opened`; before, all bits.
    asked_at_ms: AtomicU64,
}

#[derive(Default)]
struct Asked {
    at: Option<Instant>,
    has_answered: bool,
    /// What it answered last.
    text: Bytes,
}

/// What is read of the document of a provider.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Provider {
    /// Asks nobody yet. Errors: certificates that cannot be used.
    pub fn open(options: ProviderOptions) -> io::Result<Self> {
        let ProviderOptions { issuer, audiences, mapping, authorities, skip_issuer } = options;
        let outbound = match &authorities {
            Authorities::System => Outbound::new(None)?,
            Authorities::File(path) => Outbound::new(Some(path))?,
            Authorities::Text(text) => Outbound::trusting("certificateAuthority", text.as_bytes())?,
        };
        Ok(Provider {
            expected: Expected { issuer: (!skip_issuer).then(|| issuer.clone()), audiences },
            issuer,
            mapping,
            outbound,
            keys: RwLock::new(None),
            changes: AtomicU64::new(0),
            asked: Mutex::default(),
            opened: Instant::now(),
            asked_at_ms: AtomicU64::new(u64::MAX),
        })
    }

    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether a token says that it is this provider's, and for us.
    pub fn is_meant_by(&self, claims: &Claims) -> bool {
        let issuer = self.expected.issuer.as_deref();
        issuer.is_none_or(|issuer| text(claims, "iss") == Some(issuer)) && self.expected.is_for_us(claims)
    }

    /// Whoever holds a token that this provider has signed.
    pub async fn holder(&self, token: &Jws<'_>, now: u64) -> Option<Holder> {
        // Before anybody is asked for keys.
        let until = self.expected.holds_until(&token.claims, now)?;
        if !self.keys_for(token).await?.have_signed(token) {
            return None;
        }
        match self.mapping.subject(&token.claims) {
            Ok(subject) => {
                let evidence = Evidence {
                    extent: Extent::Policies,
                    claims: Some(Arc::new(token.claims.clone())),
                    ..Evidence::default()
                };
                Some(Holder { subject: subject.with_evidence(Arc::new(evidence)), until })
            }
            Err(reason) => {
                tracing::warn!(issuer = self.issuer, reason, "a token is right, and stands for nobody");
                None
            }
        }
    }

    /// Sees to it that keys are not too old, without waiting for somebody else who does.
    pub async fn refresh_if_old(&self) {
        let asked_at_ms = self.asked_at_ms.load(Ordering::Relaxed);
        let is_old = asked_at_ms != u64::MAX
            && self.opened.elapsed().saturating_sub(Duration::from_millis(asked_at_ms)) > KEYS_AGE_MAX;
        if is_old && let Ok(mut asked) = self.asked.try_lock() {
            self.ask(&mut asked).await;
        }
    }

    fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keys that may have signed this token; from the provider if none that is known may.
    async fn keys_for(&self, token: &Jws<'_>) -> Option<Arc<Keys>> {
        let known = || self.keys().filter(|keys| keys.has_one_for(token));
        if let Some(keys) = known() {
            return Some(keys);
        }
        let mut asked = self.asked.lock().await;
        if let Some(keys) = known() {
            return Some(keys);
        }
        let pause = if asked.has_answered { ASK_AGAIN_AFTER } else { RETRY_AFTER };
        if asked.at.is_none_or(|at| at.elapsed() >= pause) {
            self.ask(&mut asked).await;
        }
        known()
    }

    async fn ask(&self, asked: &mut Asked) {
        let answer = self.fetch().await;
        asked.at = Some(Instant::now());
        self.asked_at_ms.store(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(0), Ordering::Relaxed);
        asked.has_answered = answer.is_ok();
        let keys = answer.and_then(|text| match text == asked.text {
            true => Ok(None),
            false => {
                let keys = Keys::of_json(&text).map_err(|error| error.to_string());
                asked.text = text;
                keys.map(Some)
            }
        });
        match keys {
            Ok(None) => {}
            Ok(Some(keys)) => {
                tracing::info!(issuer = self.issuer, "the keys of a provider of tokens have changed");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
                self.changes.fetch_add(1, Ordering::Release);
            }
            Err(reason) => {
                tracing::error!(issuer = self.issuer, reason, "the keys of a provider of tokens stay as they were");
            }
        }
    }

    /// The set of keys as the provider gives it.
    async fn fetch(&self) -> Result<Bytes, String> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let address: Uri = address.parse().map_err(|error| format!("{address}: {error}"))?;
        let text = self.outbound.get(address.clone()).await.map_err(|error| error.to_string())?;
        let document: Document = serde_json::from_slice(&text).map_err(|error| format!("{address}: {error}"))?;
        // OpenID Connect Discovery 1.0 section 4.3.
        if self.expected.issuer.is_some() && document.issuer != self.issuer {
            return Err(format!("{address}: it is the document of {:?}", document.issuer));
        }
        let keys: Uri = document.jwks_uri.parse().map_err(|error| format!("{address}: jwks_uri: {error}"))?;
        // What was asked for over TLS is not to be believed without.
        if address.scheme_str() == Some("https") && keys.scheme_str() != Some("https") {
            return Err(format!("{address}: jwks_uri is {keys}, expected an https:// address"));
        }
        self.outbound.get(keys).await.map_err(|error| error.to_string())
    }
}
