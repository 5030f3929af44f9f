//! What supervisors ask: health probes and the metrics scrape.

use http::{HeaderValue, Response, header::CACHE_CONTROL};

use super::reply;
use crate::{
    body::ResponseBody,
    health::Health,
    metrics::{self, Metrics},
    protocol::route,
};

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// `GET /livez`, `/readyz`, `/startupz`
pub fn health(health: &Health, question: route::Health) -> Response<ResponseBody> {
    let answer = match question {
        route::Health::Live => health.live(),
        route::Health::Ready => health.ready(),
        route::Health::Started => health.started(),
    };
    momentary(reply::document(answer.status, PLAIN_TEXT, answer.text))
}

/// `GET /metrics`
pub fn metrics(metrics: &Metrics) -> Response<ResponseBody> {
    let media_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    momentary(reply::document(http::StatusCode::OK, media_type, metrics.encode()))
}

/// True now, not later.
fn momentary(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}
