//! `GET /v2/`: this registry implements the specification ("Determining Support"); and OPTIONS, for every route.

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, WWW_AUTHENTICATE},
    request::Parts,
};

use super::reply;
use crate::{access::Grant, body::ResponseBody, protocol::Route};

/// `GET /v2/`. Somebody who may come in without credentials is told how to send some all the same, as zot does:
/// there are clients that send theirs only if they were told here.
pub fn get(grant: &Grant, head: &Parts) -> Response<ResponseBody> {
    let mut response = reply::json(StatusCode::OK, "{}");
    if let Some(access) = grant.access().filter(|_| grant.subject().is_anonymous()) {
        for challenge in access.challenges(head) {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
    }
    response
}

/// `OPTIONS`: which methods a path answers (RFC 9110 section 9.3.7). Browsers ask before a request to another origin,
/// and without credentials; that is the same for everybody and says nothing of what is stored.
pub fn options(route: &Route) -> Response<ResponseBody> {
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.allow()));
    response
}
