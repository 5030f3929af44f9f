//! Logins, logouts and keys of users: what the authorizer answers itself.

use http::{Method, Response, header::CACHE_CONTROL, request::Parts};

use super::{error_map::Outcome, incoming, reply};
use crate::{
    access::{Access, AccountCall, Grant},
    body::ResponseBody,
    handlers::incoming::Incoming,
    protocol::{Account, route::RouteError},
    registry::Registry,
};

/// The longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Answers a request to one of the paths of accounts; 404 if nobody knows it.
pub async fn answer(
    registry: &Registry,
    account: &Account,
    grant: &Grant,
    head: &Parts,
    body: &mut impl Incoming,
) -> Outcome {
    let access: &dyn Access = registry.access.as_deref().ok_or(RouteError::NotARoute)?;
    let (body, _share) = match head.method {
        Method::POST | Method::PUT => {
            incoming::collect(&head.headers, body, BODY_BYTES_MAX, &registry.pressure).await?
        }
        _ => Default::default(),
    };
    let subject = grant.subject();
    let call = AccountCall { account, subject: &subject, head, body };
    let answer = access.account(call).await.ok_or(RouteError::NotARoute)?;
    let (answer_head, document) = answer.into_parts();
    let mut response = reply::json(answer_head.status, document);
    for (name, value) in &answer_head.headers {
        match name {
            // What is given several times, as cookies are, stays so.
            &http::header::SET_COOKIE => drop(response.headers_mut().append(name, value.clone())),
            _ => drop(response.headers_mut().insert(name, value.clone())),
        }
    }
    // Whatever it is, it is for whoever asked, and for now (RFC 9111 section 5.2.2.5).
    response.headers_mut().insert(CACHE_CONTROL, reply::NO_STORE);
    Ok::<Response<ResponseBody>, _>(response)
}
