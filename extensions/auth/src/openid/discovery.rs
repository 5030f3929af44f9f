//! What a provider says about itself (OpenID Connect Discovery 1.0), asked for when it is needed.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, Response};
use openidconnect::{AsyncHttpClient, IssuerUrl, ProviderMetadataWithLogout};
use tokio::sync::Mutex;

use super::LoginError;
use crate::outbound::{Outbound, OutboundError, chain};

/// How long what was said is good for: addresses and keys change.
pub const FRESH: Duration = Duration::from_secs(60 * 60);

/// The age at which keys are asked for again when one is missing among them.
pub const FRESH_KEYS: Duration = Duration::from_secs(60);

/// How long a provider that did not answer is left alone.
const REST: Duration = Duration::from_secs(5);

/// A provider that is asked once in a while.
pub struct Discovery {
    issuer: String,
    /// Whether everything it names has to have https as well.
    is_secure: bool,
    /// What it said last.
    last: Lock<Option<(Instant, Arc<ProviderMetadataWithLogout>)>>,
    /// Held by whoever asks; when and why that failed.
    asking: Mutex<Option<(Instant, String)>>,
}

impl Discovery {
    pub fn new(issuer: String, is_secure: bool) -> Self {
        Discovery { issuer, is_secure, last: Lock::new(None), asking: Mutex::new(None) }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What was said before, however old.
    pub fn last(&self) -> Option<Arc<ProviderMetadataWithLogout>> {
        self.younger(Duration::MAX)
    }

    fn younger(&self, age: Duration) -> Option<Arc<ProviderMetadataWithLogout>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(since, _)| since.elapsed() < age).map(|(_, said)| said.clone())
    }

    /// What the provider says about itself, at most `age` old; one of many asks. If it does not answer, what it said
    /// before is still good.
    ///
    /// Errors: it has never answered, or with something else.
    pub async fn get(&self, outbound: &Outbound, age: Duration) -> Result<Arc<ProviderMetadataWithLogout>, LoginError> {
        if let Some(said) = self.younger(age) {
            return Ok(said);
        }
        let mut failure = self.asking.lock().await;
        if let Some(said) = self.younger(age) {
            return Ok(said);
        }
        if let Some((_, reason)) = failure.as_ref().filter(|(since, _)| since.elapsed() < REST) {
            return self.last().ok_or_else(|| LoginError::Unreachable(reason.clone()));
        }
        match self.ask(outbound).await {
            Ok(said) => {
                let said = Arc::new(said);
                *failure = None;
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), said.clone()));
                Ok(said)
            }
            Err(reason) => {
                tracing::warn!(issuer = self.issuer, reason, "a provider of logins cannot be used");
                *failure = Some((Instant::now(), reason.clone()));
                self.last().ok_or(LoginError::Unreachable(reason))
            }
        }
    }

    async fn ask(&self, outbound: &Outbound) -> Result<ProviderMetadataWithLogout, String> {
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|error| error.to_string())?;
        let client = self.client(outbound);
        ProviderMetadataWithLogout::discover_async(issuer, &client).await.map_err(|error| chain(&error))
    }

    /// The client for this provider.
    pub fn client(&self, outbound: &Outbound) -> Client {
        Client { outbound: outbound.clone(), is_secure: self.is_secure }
    }
}

/// Requests to one provider, wherever it says they have to go.
pub struct Client {
    outbound: Outbound,
    is_secure: bool,
}

impl Client {
    /// Errors: as [`Outbound::send`]; an address without https of a provider that has it.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        if self.is_secure && request.uri().scheme_str() != Some("https") {
            return Err(OutboundError::Address { uri: request.uri().clone() });
        }
        Ok(self.outbound.send(request.map(Into::into)).await?.map(Into::into))
    }
}

impl<'c> AsyncHttpClient<'c> for Client {
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, OutboundError>> + Send + 'c>>;

    fn call(&'c self, request: Request<Vec<u8>>) -> Self::Future {
        Box::pin(self.send(request))
    }
}
