//! GitHub, which speaks OAuth 2.0 (RFC 6749) and has an interface of its own for the rest.

use http::{
    Method, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use openidconnect::{
    PkceCodeChallenge, PkceCodeVerifier,
    url::{Url, form_urlencoded},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{Client, LoginError, claims::Identity, pending::Pending, shown};
use crate::outbound::Outbound;

/// Where people log in.
pub const AUTHORIZE: &str = "https://github.com/login/oauth/authorize";
/// Where codes become tokens.
pub const TOKEN: &str = "https://github.com/login/oauth/access_token";
/// The rest.
pub const API: &str = "https://api.github.com/";

/// The most entries that GitHub puts on one page.
const PAGE_LEN: usize = 100;

/// The most pages of one list that are read.
const PAGES_MAX: usize = 20;

/// GitHub, or a server that speaks like it.
pub struct GitHub {
    client: Client,
    authorize: Url,
    token: Url,
    api: Url,
}

/// GitHub answers 200 in any case.
#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct Organization {
    login: String,
}

#[derive(Deserialize)]
struct Team {
    slug: String,
    organization: Organization,
}

impl GitHub {
    pub fn new(client: Client, authorize: Url, token: Url, mut api: Url) -> Self {
        // What follows is meant to be below it (RFC 3986 section 5.2.3).
        if !api.path().ends_with('/') {
            let path = format!("{}/", api.path());
            api.set_path(&path);
        }
        GitHub { client, authorize, token, api }
    }

    /// Where a browser is sent to log in.
    pub fn authorize(&self, pending: &Pending) -> Url {
        let verifier = PkceCodeVerifier::new(pending.verifier.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let mut url = self.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("scope", &self.client.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Who has logged in: his verified address; his groups are his organizations, and their teams as `org/team`.
    pub async fn identify(&self, outbound: &Outbound, pending: &Pending, code: &str) -> Result<Identity, LoginError> {
        let token = self.exchange(outbound, pending, code).await?;
        let emails: Vec<Email> = self.list(outbound, &token, "user/emails").await?.unwrap_or_default();
        let email = emails.into_iter().find(|email| email.primary && email.verified);
        let email =
            email.ok_or_else(|| LoginError::Nobody("there is no primary address that is verified".to_owned()))?;
        // Whoever may not see them has none.
        let organizations: Vec<Organization> = self.list(outbound, &token, "user/orgs").await?.unwrap_or_default();
        let teams: Vec<Team> = self.list(outbound, &token, "user/teams").await?.unwrap_or_default();
        let teams = teams.into_iter().map(|team| format!("{}/{}", team.organization.login, team.slug));
        Identity::new(&email.email, organizations.into_iter().map(|organization| organization.login).chain(teams))
    }

    /// The code for a token. GitHub takes it once.
    async fn exchange(&self, outbound: &Outbound, pending: &Pending, code: &str) -> Result<String, LoginError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.token.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, "orlop")
            .body(self.form(pending, code).into())
            .map_err(|error| LoginError::Unreachable(error.to_string()))?;
        let answer = outbound.send(request).await?;
        let said: Option<Token> = serde_json::from_slice(answer.body()).ok();
        match said {
            Some(Token { error: Some(error), .. }) => Err(LoginError::Refused(shown(&error))),
            Some(Token { access_token: Some(token), .. }) if answer.status() == StatusCode::OK => Ok(token),
            _ => Err(LoginError::Untrusted(format!("it answers the code with {} and no token", answer.status()))),
        }
    }

    /// What goes with a code (RFC 6749 section 4.1.3).
    fn form(&self, pending: &Pending, code: &str) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("client_id", &self.client.id)
            .append_pair("code", code)
            .append_pair("redirect_uri", &pending.redirect_uri)
            .append_pair("code_verifier", &pending.verifier);
        if let Some(secret) = &self.client.secret {
            form.append_pair("client_secret", secret.secret());
        }
        form.finish()
    }

    /// All pages of a list; `None` if the user may not see it.
    async fn list<T: DeserializeOwned>(
        &self,
        outbound: &Outbound,
        token: &str,
        path: &str,
    ) -> Result<Option<Vec<T>>, LoginError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let mut url = self.api.join(path).map_err(|error| LoginError::Unreachable(error.to_string()))?;
            url.query_pairs_mut().append_pair("per_page", &PAGE_LEN.to_string()).append_pair("page", &page.to_string());
            let request = Request::get(url.as_str())
                .header(ACCEPT, "application/vnd.github+json")
                .header(AUTHORIZATION, format!("Bearer {token}"))
                .header(USER_AGENT, "orlop")
                .body(Default::default())
                .map_err(|_| LoginError::Untrusted("its token is no plain text".to_owned()))?;
            let answer = outbound.send(request).await?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::FORBIDDEN => return Ok(None),
                status => return Err(LoginError::Untrusted(format!("{path} is answered with {status}"))),
            }
            let entries: Vec<T> = serde_json::from_slice(answer.body())
                .map_err(|error| LoginError::Untrusted(format!("{path} is answered with something else: {error}")))?;
            let is_last = entries.len() < PAGE_LEN;
            all.extend(entries);
            if is_last {
                break;
            }
        }
        Ok(Some(all))
    }
}
