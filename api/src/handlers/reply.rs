//! Building blocks of answers: the header names of the distribution specification and the few
//! shapes every operation shares.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG},
};
use orlop_engine::Digest;

use crate::body::ResponseBody;

pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const ZERO: HeaderValue = HeaderValue::from_static("0");

/// How long content named by its digest may be kept: it never changes. `private`, because a shared
/// cache would go on serving what was deleted here, and to clients that may not read it.
pub const CACHE_FOREVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// What a tag names may change at any time: keep it, but ask with its ETag before each use.
pub const CACHE_REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// What must not be kept at all (RFC 9111 section 5.2.2.5).
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    // RFC 9110 section 8.6: a 204 or 304 must not announce a length of its own.
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CONTENT_LENGTH, ZERO);
    }
    response
}

/// An answer with a document in memory.
pub fn document(status: StatusCode, media_type: HeaderValue, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    document(status, JSON, body)
}

/// A header value of text this crate made: digests, repository names, tags, upload identifiers.
pub fn text(value: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(value))
        .expect("digests, parsed names and what is built from them are visible ASCII")
}

pub fn digest(digest: &Digest) -> HeaderValue {
    text(digest.to_string())
}

/// The headers that name content: its digest, and the same as a strong validator.
pub fn name_content(response: &mut Response<ResponseBody>, digest: &Digest) {
    let tag = format!("\"{digest}\"");
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, text(tag[1..tag.len() - 1].to_owned()));
    headers.insert(ETAG, text(tag));
}
