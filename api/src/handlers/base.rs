//! `GET /v2/`: this registry implements the specification ("Determining Support").

use http::{Response, StatusCode};

use super::reply;
use crate::body::ResponseBody;

pub fn get() -> Response<ResponseBody> {
    reply::json(StatusCode::OK, "{}")
}
