//! A provider of OpenID Connect: the code flow (OpenID Connect Core, section 3.1).

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, CsrfToken, LogoutRequest, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreJwsSigningAlgorithm,
        CoreTokenResponse,
    },
    url::Url,
};
use serde_json::{Map, Value};

use super::{
    Client, LoginError,
    claims::{Claims, Identity},
    discovery::{Discovery, FRESH, FRESH_KEYS},
    pending::Pending,
    shown,
};
use crate::{
    base64url,
    outbound::{Outbound, chain},
};

/// How a provider may sign. Not with our own secret, and never not at all (RFC 8725 section 3.1).
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// The scope that makes it OpenID Connect; the library adds it.
const OPENID: &str = "openid";

/// A provider of OpenID Connect.
pub struct OpenId {
    client: Client,
    discovery: Discovery,
    claims: Claims,
}

impl OpenId {
    pub fn new(client: Client, issuer: String, is_secure: bool, claims: Claims) -> Self {
        OpenId { client, discovery: Discovery::new(issuer, is_secure), claims }
    }

    /// Where a browser is sent to log in. Errors: the provider cannot be asked.
    pub async fn authorize(&self, outbound: &Outbound, pending: &Pending) -> Result<Url, LoginError> {
        let said = self.discovery.get(outbound, FRESH).await?;
        let client = CoreClient::from_provider_metadata(
            ProviderMetadataWithLogout::clone(&said),
            self.client.id.clone(),
            self.client.secret.clone(),
        );
        let redirect = redirect(pending)?;
        let verifier = PkceCodeVerifier::new(pending.verifier.clone());
        let (state, nonce) = (pending.state.clone(), pending.nonce.clone());
        let scopes = self.client.scopes.iter().filter(|scope| *scope != OPENID);
        let (url, _, _) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .set_redirect_uri(Cow::Borrowed(&redirect))
            .add_scopes(scopes.cloned().map(Scope::new))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url)
    }

    /// As the provider calls itself.
    pub fn issuer(&self) -> &str {
        self.discovery.issuer()
    }

    /// Who has logged in. `issuer` is who the answer says it is from, if it does (RFC 9207).
    pub async fn identify(
        &self,
        outbound: &Outbound,
        pending: &Pending,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<Identity, LoginError> {
        let said = self.discovery.get(outbound, FRESH).await?;
        if issuer.is_some_and(|issuer| issuer != said.issuer().as_str()) {
            return Err(LoginError::Mismatch);
        }
        let tokens = self.exchange(outbound, &said, pending, code).await?;
        let untrusted = |reason: &str| LoginError::Untrusted(reason.to_owned());
        let token = tokens.id_token().ok_or_else(|| untrusted("it sends no ID token"))?;
        let subject = self.verify(outbound, said.clone(), token, &pending.nonce).await?;
        let payload = token.to_string().split('.').nth(1).and_then(base64url::decode);
        let payload = payload.and_then(|bytes| serde_json::from_slice::<Map<_, _>>(&bytes).ok());
        let signed = payload.ok_or_else(|| untrusted("its ID token has no claims"))?;
        let info = self.info(outbound, &said, &tokens).await?;
        // OpenID Connect Core, section 5.3.2: otherwise it may be about somebody else.
        if info.as_ref().is_some_and(|info| info.get("sub").and_then(Value::as_str) != Some(&subject)) {
            return Err(untrusted("it answers about another user than it signed for"));
        }
        self.claims.identity(&signed, &info.unwrap_or_default())
    }

    /// The code for tokens. The provider takes it once.
    async fn exchange(
        &self,
        outbound: &Outbound,
        said: &ProviderMetadataWithLogout,
        pending: &Pending,
        code: &str,
    ) -> Result<CoreTokenResponse, LoginError> {
        let (id, secret) = (self.client.id.clone(), self.client.secret.clone());
        let client = CoreClient::from_provider_metadata(said.clone(), id, secret).set_auth_type(auth_type(said));
        let redirect = redirect(pending)?;
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| LoginError::Unreachable(error.to_string()))?
            .set_redirect_uri(Cow::Borrowed(&redirect))
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        request.request_async(&self.discovery.client(outbound)).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(answer) => LoginError::Refused(shown(&answer.to_string())),
            RequestTokenError::Request(error) => LoginError::Unreachable(error.to_string()),
            // What it sent instead may have secrets.
            RequestTokenError::Parse(error, _) => LoginError::Untrusted(error.to_string()),
            RequestTokenError::Other(reason) => LoginError::Untrusted(shown(&reason)),
        })
    }

    /// Whom an ID token is about: signed by this provider, for us, for this login, in its time. Errors: it is not.
    async fn verify(
        &self,
        outbound: &Outbound,
        said: Arc<ProviderMetadataWithLogout>,
        token: &CoreIdToken,
        nonce: &str,
    ) -> Result<String, LoginError> {
        let nonce = Nonce::new(nonce.to_owned());
        let claims = |said: &ProviderMetadataWithLogout| {
            let (id, secret) = (self.client.id.clone(), self.client.secret.clone());
            let client = CoreClient::from_provider_metadata(said.clone(), id, secret);
            let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
            token.claims(&verifier, &nonce).map(|claims| claims.subject().to_string())
        };
        match claims(&said) {
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                // Providers change their keys, and sign with new ones at once.
                claims(&*self.discovery.get(outbound, FRESH_KEYS).await?)
            }
            subject => subject,
        }
        .map_err(|error| LoginError::Untrusted(chain(&error)))
    }

    /// What the provider says of the user when it is asked (OpenID Connect Core, section 5.3); `None` if it cannot be
    /// asked.
    async fn info(
        &self,
        outbound: &Outbound,
        said: &ProviderMetadataWithLogout,
        tokens: &CoreTokenResponse,
    ) -> Result<Option<Map<String, Value>>, LoginError> {
        let Some(endpoint) = said.userinfo_endpoint() else { return Ok(None) };
        let token = HeaderValue::from_str(&format!("Bearer {}", tokens.access_token().secret()));
        let token = token.map_err(|_| LoginError::Untrusted("its access token is no plain text".to_owned()))?;
        let request = Request::get(endpoint.as_str()).header(ACCEPT, "application/json").header(AUTHORIZATION, token);
        let request = request.body(Vec::new()).map_err(|error| LoginError::Untrusted(error.to_string()))?;
        let answer = self.discovery.client(outbound).send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(LoginError::Untrusted(format!("asked about the user it answers {}", answer.status())));
        }
        let info = serde_json::from_slice(answer.body());
        info.map(Some).map_err(|error| LoginError::Untrusted(format!("what it says of the user is no JSON: {error}")))
    }

    /// Where the provider ends its own session (OpenID Connect RP-Initiated Logout 1.0), if it was ever asked.
    pub fn end_session_url(&self, home: &str) -> Option<Url> {
        let end = self.discovery.last()?.additional_metadata().end_session_endpoint.clone()?;
        let back = PostLogoutRedirectUrl::new(format!("{home}/login")).ok()?;
        let request = LogoutRequest::from(end).set_client_id(self.client.id.clone());
        Some(request.set_post_logout_redirect_uri(back).http_get_url())
    }
}

fn redirect(pending: &Pending) -> Result<RedirectUrl, LoginError> {
    RedirectUrl::new(pending.redirect_uri.clone()).map_err(|_| LoginError::Mismatch)
}

/// In the header, as every provider has to take it (RFC 6749 section 2.3.1), unless it says that it does not.
fn auth_type(said: &ProviderMetadataWithLogout) -> AuthType {
    let methods = said.token_endpoint_auth_methods_supported();
    let takes = |method| methods.is_some_and(|methods| methods.contains(&method));
    match takes(CoreClientAuthMethod::ClientSecretPost) && !takes(CoreClientAuthMethod::ClientSecretBasic) {
        true => AuthType::RequestBody,
        false => AuthType::BasicAuth,
    }
}
