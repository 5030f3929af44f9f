//! Blobs by digest (spec, "Pulling blobs", "Deleting Blobs"). In: a digest and the conditions of the
//! request. Out: the content, or the parts of it that were asked for. A blob damaged on disk never
//! reaches a clean end: it is a 404, or a body that is cut short.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE},
};
use orlop_engine::{Blob, Digest, Removal};

use super::{
    conditional,
    error_map::{Failure, Kind, Outcome},
    incoming, repeat, reply,
    scope::Scope,
};
use crate::{
    body::{Part, ResponseBody},
    protocol::{ByteRange, ErrorCode, Selection, media_type, multipart::Multipart, range},
};

/// `HEAD /v2/<name>/blobs/<digest>`: the headers of the whole content.
pub async fn head(scope: &Scope<'_>, digest: &Digest, headers: &HeaderMap) -> Outcome {
    let found = scope.engine.find(&scope.namespace, digest).await.map_err(Failure::blob)?;
    if conditional::not_modified(headers, digest) {
        let response = described(StatusCode::NOT_MODIFIED, ResponseBody::empty(), digest);
        return Ok(repeat::bodiless(scope, response, &found.grounds));
    }
    let mut response = described(StatusCode::OK, ResponseBody::empty(), digest);
    response.headers_mut().insert(CONTENT_TYPE, reply::OCTETS);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(found.size));
    Ok(repeat::bodiless(scope, response, &found.grounds))
}

/// `GET /v2/<name>/blobs/<digest>`
pub async fn get(scope: &Scope<'_>, digest: &Digest, headers: &HeaderMap) -> Outcome {
    let blob = scope.engine.open_blob(&scope.namespace, digest).await.map_err(Failure::blob)?;
    if conditional::not_modified(headers, digest) {
        let response = described(StatusCode::NOT_MODIFIED, ResponseBody::empty(), digest);
        return Ok(repeat::bodiless(scope, response, blob.grounds()));
    }
    let selection = match headers.get(RANGE) {
        Some(value) if conditional::range_applies(headers, digest) => {
            value.to_str().map_or(Selection::Whole, |value| range::select(value, blob.size()))
        }
        _ => Selection::Whole,
    };
    let response = match selection {
        Selection::Whole => whole(scope, blob).await,
        Selection::Single(range) => single(blob, range).await,
        Selection::Multiple(ranges) => multiple(blob, &ranges).await,
        Selection::Unsatisfiable => Err(unsatisfiable(blob.size())),
    }?;
    // Once more: of a crowd that comes at once nobody had anything yet when he was let in.
    incoming::require_memory_to_pull(scope.pressure)?;
    Ok(response)
}

/// `DELETE /v2/<name>/blobs/<digest>`. A blob that a manifest of the repository needs stays, and so
/// does a manifest, which has an operation of its own: otherwise a pull could find half an image.
pub async fn delete(scope: &Scope<'_>, digest: &Digest) -> Outcome {
    let found = scope.engine.find(&scope.namespace, digest).await.map_err(Failure::blob)?;
    if !found.label.is_empty() {
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Denied,
            "this is a manifest; delete it under /manifests/",
        )
        .with(ALLOW, Kind::Blob.remaining()));
    }
    let batch = scope.batch().remove(*digest, Removal::UnlessNeeded);
    let _receipt = scope.engine.commit(batch).await.map_err(Failure::blob)?;
    Ok(reply::empty(StatusCode::ACCEPTED))
}

/// Opens all of a blob for a 200, with its length.
pub async fn content(blob: Blob, kind: Kind) -> Outcome<(ResponseBody, HeaderValue)> {
    let size = blob.size();
    let parts = if size == 0 { VecDeque::new() } else { VecDeque::from([Part::Range(0..size)]) };
    let body = ResponseBody::blob(blob, parts).await.map_err(|error| Failure::of(kind, error))?;
    Ok((body, HeaderValue::from(size)))
}

async fn whole(scope: &Scope<'_>, blob: Blob) -> Outcome {
    let digest = *blob.digest();
    let again = repeat::Content::of(scope, &blob);
    let (body, length) = content(blob, Kind::Blob).await?;
    let mut response = described(StatusCode::OK, body, &digest);
    response.headers_mut().insert(CONTENT_TYPE, reply::OCTETS);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    Ok(repeat::whole(scope, response, again))
}

async fn single(blob: Blob, range: ByteRange) -> Outcome {
    let (digest, size) = (*blob.digest(), blob.size());
    let parts = VecDeque::from([Part::Range(range.start..range.end)]);
    let body = ResponseBody::blob(blob, parts).await.map_err(Failure::blob)?;
    let mut response = described(StatusCode::PARTIAL_CONTENT, body, &digest);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, reply::OCTETS);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.len()));
    headers.insert(CONTENT_RANGE, reply::text(range.content_range(size)));
    Ok(response)
}

async fn multiple(blob: Blob, ranges: &[ByteRange]) -> Outcome {
    let digest = *blob.digest();
    let multipart = Multipart::new(random(), media_type::OCTET_STREAM, blob.size());
    let mut parts = VecDeque::with_capacity(2 * ranges.len() + 1);
    for (index, range) in ranges.iter().enumerate() {
        parts.push_back(Part::Literal(multipart.part_header(range, index == 0).into()));
        parts.push_back(Part::Range(range.start..range.end));
    }
    parts.push_back(Part::Literal(multipart.end().into()));
    let body = ResponseBody::blob(blob, parts).await.map_err(Failure::blob)?;
    let mut response = described(StatusCode::PARTIAL_CONTENT, body, &digest);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, reply::text(multipart.content_type()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(multipart.content_length(ranges)));
    Ok(response)
}

fn unsatisfiable(size: u64) -> Failure {
    Failure::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::Unsupported,
        format!("the range is not within the {size} bytes of the blob"),
    )
    .with(CONTENT_RANGE, reply::text(range::unsatisfied(size)))
}

/// An answer about the content with this digest, whatever part of it is sent.
fn described(status: StatusCode, body: ResponseBody, digest: &Digest) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    reply::name_content(&mut response, digest);
    response.headers_mut().insert(CACHE_CONTROL, reply::CACHE_FOREVER);
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// 128 bits for the boundary between parts, from the seeds the standard library takes from the
/// operating system for its hash maps.
fn random() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
