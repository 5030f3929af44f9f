//! The scrub as operators see it: begin a pass, see what is damaged.

use http::{Method, StatusCode};

use super::{
    collection::momentary,
    error_map::{Failure, Outcome},
};
use crate::{protocol::ErrorCode, registry::Registry};

/// `GET /v2/_orlop/scrub`: what the scrub does and did, and which blobs are damaged. `POST`: asks for a pass;
/// 202, or 409 while one is under way.
pub async fn answer(registry: &Registry, method: &Method) -> Outcome {
    let Some((maintenance, document)) =
        registry.maintenance.get().and_then(|maintenance| Some((maintenance, maintenance.scrub()?)))
    else {
        return Err(Failure::new(StatusCode::NOT_FOUND, ErrorCode::Unsupported, "this registry does not scrub"));
    };
    let status = match *method {
        Method::POST if maintenance.start_scrub() => StatusCode::ACCEPTED,
        Method::POST => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    };
    Ok(momentary(status, document.await.map_err(Failure::blob)?))
}
