//! Manifests by tag and by digest (spec, "Pulling manifests", "Pushing Manifests", "Deleting tags",
//! "Deleting Manifests"). In: a reference, and for a push the document. Out: the document byte for
//! byte as it was pushed, or a durable one. What became true after a 201: content, every tag, what
//! it needs and what it refers to, in one step.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use orlop_engine::{Algorithm, Digest, Error, Removal};

use super::{
    blob::content,
    conditional,
    error_map::{Failure, Kind, Outcome},
    incoming::{self, Incoming},
    repeat, reply,
    scope::Scope,
};
use crate::{
    access,
    body::ResponseBody,
    document::{Document, Named, Refusal, Terms},
    limits::size,
    protocol::{ErrorCode, Manifest, Query, Reference, Tag},
};

/// `HEAD /v2/<name>/manifests/<reference>`
pub async fn head(scope: &Scope<'_>, reference: &Reference, headers: &HeaderMap) -> Outcome {
    let (digest, bytes, label, grounds) = match reference {
        Reference::Digest(digest) => {
            let found = scope.engine.find(&scope.namespace, digest).await.map_err(Failure::manifest)?;
            (*digest, found.size, found.label, found.grounds)
        }
        Reference::Tag(tag) => {
            let blob = scope.engine.resolve_open(&scope.namespace, tag.as_str()).await.map_err(Failure::manifest)?;
            (*blob.digest(), blob.size(), blob.label().to_vec(), blob.grounds().clone())
        }
    };
    if label.is_empty() {
        return Err(Kind::Manifest.unknown());
    }
    if conditional::not_modified(headers, &digest) {
        let response = described(StatusCode::NOT_MODIFIED, ResponseBody::empty(), &digest, reference);
        return Ok(repeat::bodiless(scope, response, &grounds));
    }
    let mut response = described(StatusCode::OK, ResponseBody::empty(), &digest, reference);
    response.headers_mut().insert(CONTENT_TYPE, media_type(&label));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(repeat::bodiless(scope, response, &grounds))
}

/// `GET /v2/<name>/manifests/<reference>`. The Accept header changes nothing: a manifest has one
/// form, and a client that did not expect it is better served with it than with an error.
pub async fn get(scope: &Scope<'_>, reference: &Reference, headers: &HeaderMap) -> Outcome {
    let blob = match reference {
        Reference::Digest(digest) => scope.engine.open_blob(&scope.namespace, digest).await,
        Reference::Tag(tag) => scope.engine.resolve_open(&scope.namespace, tag.as_str()).await,
    }
    .map_err(Failure::manifest)?;
    // Plain content that happens to have this digest was never checked to be a manifest.
    if blob.label().is_empty() {
        return Err(Kind::Manifest.unknown());
    }
    let digest = *blob.digest();
    // A client that has the document and asks whether it still holds is going to use it.
    scope.engine.note_pull(&scope.namespace, &digest);
    if conditional::not_modified(headers, &digest) {
        let response = described(StatusCode::NOT_MODIFIED, ResponseBody::empty(), &digest, reference);
        return Ok(repeat::pull(scope, response, &digest, repeat::Content::none(scope, &blob)));
    }
    let media_type = media_type(blob.label());
    let again = repeat::Content::of(scope, &blob);
    let (body, length) = content(blob, Kind::Manifest).await?;
    let mut response = described(StatusCode::OK, body, &digest, reference);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    Ok(repeat::pull(scope, response, &digest, again))
}

/// The tags that a push is to set: the one in its path, or those of its query.
pub fn tags(reference: &Reference, query: &Query<'_>) -> Outcome<Vec<Tag>> {
    let tags = query.tags()?;
    match reference {
        Reference::Tag(tag) if tags.is_empty() => Ok(vec![tag.clone()]),
        Reference::Tag(_) => {
            let message = "the parameter 'tag' goes with a push by digest; push by digest, or drop it";
            Err(Failure::new(StatusCode::BAD_REQUEST, ErrorCode::Unsupported, message))
        }
        Reference::Digest(_) => Ok(tags),
    }
}

/// `PUT /v2/<name>/manifests/<reference>`, with its tags.
pub async fn put(
    scope: &Scope<'_>,
    reference: &Reference,
    tags: &[Tag],
    headers: &HeaderMap,
    body: &mut impl Incoming,
) -> Outcome {
    let bytes_max = size(scope.limits.manifest_bytes_max);
    let (document, _share) = incoming::collect(headers, body, bytes_max, scope.pressure).await?;
    let manifest = Manifest::parse(&document, content_type(headers)?)?;
    let digest = match reference {
        Reference::Digest(digest) => *digest,
        Reference::Tag(_) => Digest::of(Algorithm::Sha256, &document),
    };
    let named: Vec<Named<'_>> = tags.iter().map(|tag| Named { tag, since: None }).collect();
    let terms =
        Terms { tags: &named, since: None, may_miss: &|_| scope.policy.sparse_manifests, guard: scope.grant.guard() };
    let document = Document { manifest: &manifest, bytes: document, digest };
    document.commit(scope.engine, &scope.namespace, &terms).await.map_err(refused)?;

    let mut response = reply::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, reply::text(format!("/v2/{}/manifests/{digest}", scope.repository)));
    headers.insert(reply::DOCKER_CONTENT_DIGEST, reply::digest(&digest));
    if let Some(subject) = &manifest.subject {
        headers.insert(reply::OCI_SUBJECT, reply::digest(&subject.digest));
    }
    if matches!(reference, Reference::Digest(_)) {
        for tag in tags {
            headers.append(reply::OCI_TAG, reply::text(tag.to_string()));
        }
    }
    Ok(response)
}

/// `DELETE /v2/<name>/manifests/<reference>`. A tag is only a name: what it named stays. A digest
/// takes its tags with it, but a manifest that an index of the repository needs stays.
pub async fn delete(scope: &Scope<'_>, reference: &Reference) -> Outcome {
    let batch = scope.batch();
    let batch = match reference {
        Reference::Tag(tag) if scope.grant.keeps(tag.as_str()) => return Err(access::denied()),
        Reference::Tag(tag) => batch.unbind(tag.as_str()),
        Reference::Digest(digest) => {
            let found = scope.engine.find(&scope.namespace, digest).await.map_err(Failure::manifest)?;
            if found.label.is_empty() {
                return Err(Kind::Manifest.unknown());
            }
            batch.remove(*digest, Removal::UnlessNeeded)
        }
    };
    match scope.engine.commit(batch).await {
        Ok(_receipt) => Ok(reply::empty(StatusCode::ACCEPTED)),
        Err(Error::Forbidden { .. }) if scope.grant.has_collided() => Err(collision()),
        Err(error) => Err(Failure::manifest(error)),
    }
}

/// As zot answers who has `detectManifestCollision`.
fn collision() -> Failure {
    let message = "several tags name this manifest, and a deletion by digest would take them all; delete the tags";
    Failure::new(StatusCode::CONFLICT, ErrorCode::ManifestInvalid, message)
}

/// What a client is told of a document that was not taken.
fn refused(refusal: Refusal) -> Failure {
    let message = refusal.to_string();
    match refusal {
        Refusal::Missing { digest } | Refusal::NotManifest { digest } => {
            let failure = Failure::new(StatusCode::BAD_REQUEST, ErrorCode::ManifestBlobUnknown, message);
            failure.with_detail(digest.to_string())
        }
        Refusal::Engine(error @ Error::WrongSize { digest, .. }) => {
            Failure::manifest(error).with_detail(digest.to_string())
        }
        Refusal::Engine(error) => Failure::manifest(error),
    }
}

fn content_type(headers: &HeaderMap) -> Outcome<Option<&str>> {
    let text = headers.get(CONTENT_TYPE).map(HeaderValue::to_str).transpose();
    text.map_err(|_| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::ManifestInvalid,
            "the Content-Type of a manifest must be a media type in visible ASCII",
        )
    })
}

/// The stored label as a header. Labels are media types that were checked when they were pushed.
fn media_type(label: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(label).unwrap_or(reply::OCTETS)
}

/// An answer about the manifest with this digest, kept by clients according to how it was named.
fn described(status: StatusCode, body: ResponseBody, digest: &Digest, reference: &Reference) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    reply::name_content(&mut response, digest);
    let cache = match reference {
        Reference::Digest(_) => reply::CACHE_FOREVER,
        Reference::Tag(_) => reply::CACHE_REVALIDATE,
    };
    response.headers_mut().insert(CACHE_CONTROL, cache);
    response
}
