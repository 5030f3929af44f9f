//! Collection as operators see it: begin a run, see the last one.

use http::{HeaderMap, Method, Response, StatusCode, header::CACHE_CONTROL};

use super::{
    error_map::{Failure, Outcome},
    reply,
};
use crate::{body::ResponseBody, protocol::ErrorCode, registry::Registry, server::Peer};

/// `GET /v2/_orlop/gc`: what collection does and did. `POST`: asks for a run; 202, or 409 while one
/// is under way.
pub fn answer(registry: &Registry, method: &Method) -> Outcome {
    let Some(maintenance) = registry.maintenance.get() else {
        return Err(Failure::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "this registry does not collect"));
    };
    let status = match *method {
        Method::POST if maintenance.start_collection() => StatusCode::ACCEPTED,
        Method::POST => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    };
    Ok(momentary(status, maintenance.collection()))
}

/// Whether the request may be an operator's; with access control that was decided before. Errors: 403.
pub fn admit(registry: &Registry, peer: Option<&Peer>, headers: &HeaderMap) -> Result<(), Failure> {
    if registry.access.is_some() || registry.policy.operators.admit(peer.map(|peer| peer.address.ip()), headers) {
        return Ok(());
    }
    let message = "operators ask from the machine itself; \"http.operators\" can allow more";
    Err(Failure::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message))
}

/// A document that is true now, not later.
pub fn momentary(status: StatusCode, document: String) -> Response<ResponseBody> {
    let mut response = reply::json(status, document);
    response.headers_mut().insert(CACHE_CONTROL, reply::NO_STORE);
    response
}
