//! The token endpoint: a token for a password, for a token of a provider, or for nobody in particular (distribution
//! token specification, "Requesting a Token"; with POST as in its OAuth 2.0 variant).
//!
//! In: a request, whose credentials are in its head or in a form. Out: a token, as JSON. A token of a provider comes
//! back as it is: clients that only know passwords, such as Docker, can log in with one.

use http::{Method, Response, StatusCode};
use orlop_api::access::{Subject, TokenCall, Unidentified};
use serde_json::json;

#[cfg(feature = "bearer")]
use crate::bearer::{Foreign, Offer};
use crate::{
    auth::Auth,
    credentials::{Credentials, Malformed},
    form::Form,
};

/// The fields of a form that may be a token of a provider.
#[cfg(feature = "bearer")]
const OFFERS: [&str; 5] = ["password", "id_token", "access_token", "refresh_token", "token"];

impl Auth {
    /// `None` if there are no tokens. Errors: credentials that are not right.
    pub(crate) async fn exchanged(&self, call: TokenCall<'_>) -> Result<Option<Response<String>>, Unidentified> {
        let form = match call.head.method {
            Method::POST => Form::of(&call.head.headers, &call.body),
            _ => Ok(Form::default()),
        };
        let Ok(form) = form else { return Ok(Some(bad_request())) };
        let login = match Credentials::of(&call.head.headers) {
            Ok(Credentials::Password { user, password }) => Some((user, password)),
            Ok(_) => {
                form.get("username").zip(form.get("password")).map(|(user, password)| (user.into(), password.into()))
            }
            Err(Malformed) => return Err(Unidentified::Refused),
        };
        #[cfg(feature = "bearer")]
        if let Some(foreign) = self.foreign().filter(|foreign| foreign.has_providers()) {
            return self.exchanged_with(foreign, &call, &form, login).await;
        }
        let subject = match login {
            // That of the head is right already.
            Some((user, password)) if call.subject.is_nobody() => self.logged_in(&call, &user, &password).await?,
            _ => call.subject.clone(),
        };
        Ok(self.document(&subject))
    }

    #[cfg(feature = "bearer")]
    async fn exchanged_with(
        &self,
        foreign: &Foreign,
        call: &TokenCall<'_>,
        form: &Form,
        login: Option<(String, String)>,
    ) -> Result<Option<Response<String>>, Unidentified> {
        let password = login.as_ref().map(|(_, password)| password.as_str());
        for offered in password.into_iter().chain(OFFERS.iter().filter_map(|name| form.get(name))) {
            match foreign.offer(offered).await {
                Offer::Taken(document) => return Ok(Some(Response::new(document))),
                // It is meant for here: nobody else is shown it.
                Offer::Refused => return Err(Unidentified::Refused),
                // It is meant for a login of a browser, and a secret of its user.
                Offer::Unknown if self.is_of_browser(offered) => return Err(Unidentified::Refused),
                Offer::Unknown => {}
            }
        }
        if let Some((user, password)) = &login {
            // What is not known here may be known there: only who says no at the end counts it as a guess.
            let subject = match foreign.upstream() {
                Some(_) => self.by_password(user, password).await?,
                None => self.by_login(call.head, user, password).await?,
            };
            if let Some(subject) = subject {
                return Ok(self.document(&subject));
            }
        }
        match (foreign.upstream(), login) {
            (Some(upstream), _) => upstream.ask(call.head, form).await.map(Some),
            (None, Some(_)) => Err(self.refuse().await),
            (None, None) => self.document(&Subject::anonymous()).map(Some).ok_or(Unidentified::Refused),
        }
    }

    async fn logged_in(&self, call: &TokenCall<'_>, user: &str, password: &str) -> Result<Subject, Unidentified> {
        match self.by_login(call.head, user, password).await? {
            Some(subject) => Ok(subject),
            None => Err(self.refuse().await),
        }
    }

    fn document(&self, subject: &Subject) -> Option<Response<String>> {
        use orlop_api::access::Access as _;
        self.token(subject).map(Response::new)
    }
}

/// RFC 6749 section 5.2.
fn bad_request() -> Response<String> {
    let mut response = Response::new(json!({ "error": "invalid_request" }).to_string());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
