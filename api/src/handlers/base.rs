//! `GET /v2/`: this registry implements the specification ("Determining Support").

use http::{Response, StatusCode, header::WWW_AUTHENTICATE, request::Parts};

use super::reply;
use crate::{access::Grant, body::ResponseBody};

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
