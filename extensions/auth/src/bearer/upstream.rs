//! A token server behind this one: what is not known here is asked there.
//!
//! In: a request for a token. Out: the answer of the other server. Where it is comes from the configuration, never
//! from a client or an answer.

use std::io;

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use orlop_api::access::Unidentified;

use crate::{form::Form, outbound::Outbound};

/// What can be set from outside.
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Where the server gives out tokens.
    realm: Uri,
    /// What it is told the tokens are for, instead of what the client says.
    service: Option<String>,
}

/// Why passwords cannot be shown to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an https:// address, or an http:// one with \"allowInsecureHttp\"")]
pub struct UpstreamError;

impl UpstreamOptions {
    pub fn new(realm: &str, service: Option<String>, allows_http: bool) -> Result<Self, UpstreamError> {
        let realm: Uri = realm.parse().map_err(|_| UpstreamError)?;
        let is_safe = match realm.scheme_str() {
            Some("https") => true,
            Some("http") => allows_http,
            _ => false,
        };
        if is_safe && realm.host().is_some() { Ok(UpstreamOptions { realm, service }) } else { Err(UpstreamError) }
    }
}

pub struct Upstream {
    options: UpstreamOptions,
    outbound: Outbound,
}

impl Upstream {
    pub fn open(options: UpstreamOptions) -> io::Result<Self> {
        Ok(Upstream { options, outbound: Outbound::new(None)? })
    }

    /// Asks with the credentials of a request, in its head or in its form. Errors: the server does not know them.
    pub async fn ask(&self, head: &Parts, form: &Form) -> Result<Response<String>, Unidentified> {
        let answer = match self.request(head, form) {
            Some(request) => self.outbound.send(request).await.map_err(|error| error.to_string()),
            None => Err("the request cannot be passed on".to_owned()),
        };
        let reason = match answer {
            Ok(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(Unidentified::Refused);
            }
            Ok(answer) if answer.status() == StatusCode::OK => match String::from_utf8(answer.into_body().into()) {
                Ok(document) => return Ok(Response::new(document)),
                Err(_) => "the answer is not UTF-8".to_owned(),
            },
            Ok(answer) => format!("answered {}, expected 200", answer.status()),
            Err(reason) => reason,
        };
        tracing::error!(realm = %self.options.realm, reason, "the token server behind this one gives no token");
        let document = r#"{"errors":[{"code":"UNAVAILABLE","message":"the token server gives no answer"}]}"#;
        let mut response = Response::new(document.to_owned());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok(response)
    }

    fn request(&self, head: &Parts, form: &Form) -> Option<Request<Bytes>> {
        let service = self.options.service.as_deref();
        let query = Form::parse(head.uri.query().unwrap_or_default()).ok()?;
        let is_form = head.method == Method::POST;
        let query = if is_form { query.with("service", None) } else { query.with("service", service) };
        let realm = self.options.realm.to_string();
        let separator = if realm.contains('?') { '&' } else { '?' };
        let address = if query.is_empty() { realm } else { format!("{realm}{separator}{query}") };
        let mut request = Request::builder().uri(address);
        if let Some(credentials) = head.headers.get(AUTHORIZATION) {
            request = request.header(AUTHORIZATION, credentials);
        }
        let request = match is_form {
            true => {
                let request = request.method(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                request.body(Bytes::from(form.with("service", service)))
            }
            false => request.body(Bytes::new()),
        };
        request.ok()
    }
}
