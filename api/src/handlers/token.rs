//! `GET /zot/auth/token`: a token for the credentials of the request, or for none (distribution token specification).
//! Clients that were asked for a token bring it instead of the password, and come without one as nobody in particular.

use http::{StatusCode, header::CACHE_CONTROL};

use super::{error_map::Outcome, reply};
use crate::{access::Grant, protocol::route::RouteError};

pub fn get(grant: &Grant) -> Outcome {
    let token = grant.access().and_then(|access| access.token(&grant.subject())).ok_or(RouteError::NotARoute)?;
    let mut response = reply::json(StatusCode::OK, token);
    response.headers_mut().insert(CACHE_CONTROL, reply::NO_STORE);
    Ok(response)
}
