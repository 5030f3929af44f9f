//! `/zot/auth/token`: a token for the credentials of the request, or for none (distribution token specification).
//! Clients that were asked for a token bring it instead of the password, and come without one as nobody in particular.
//! With POST the credentials may be in a form, as in the variant of the specification for OAuth 2.0.

use http::{
    HeaderValue, Method,
    header::{CACHE_CONTROL, PRAGMA},
    request::Parts,
};

use super::{error_map::Outcome, incoming, incoming::Incoming, reply};
use crate::{
    access::{self, Grant, TokenCall},
    protocol::route::RouteError,
    registry::Registry,
};

/// The longest form, in bytes.
const FORM_BYTES_MAX: usize = 64 << 10;

pub async fn answer(registry: &Registry, grant: &Grant, head: &Parts, body: &mut impl Incoming) -> Outcome {
    let access = grant.access().ok_or(RouteError::NotARoute)?;
    let (body, _share) = match head.method {
        Method::POST => incoming::collect(&head.headers, body, FORM_BYTES_MAX, &registry.pressure).await?,
        _ => Default::default(),
    };
    let subject = grant.subject();
    let answer = access.exchange(TokenCall { subject: &subject, head, body }).await;
    let answer = answer.map_err(|reason| access::unidentified(access, head, reason))?.ok_or(RouteError::NotARoute)?;
    let status = answer.status();
    let mut response = reply::json(status, answer.into_body());
    response.headers_mut().insert(CACHE_CONTROL, reply::NO_STORE);
    // For caches that know nothing newer (RFC 6749 section 5.1).
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}
