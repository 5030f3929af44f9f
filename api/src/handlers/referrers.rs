//! `GET /v2/<name>/referrers/<digest>` (spec, "Listing Referrers"). In: a subject and filters. Out:
//! an image index of the descriptors that were stored with the referring manifests. A filter is
//! applied before the page is cut, so a page is never thinner than it must be; what one request
//! looks through is bounded all the same.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::LINK};
use orlop_engine::{Digest, Error, What};
use serde::Deserialize;

use super::{
    error_map::{Failure, Outcome},
    reply,
    scope::Scope,
};
use crate::{
    limits::size,
    protocol::{Query, link, media_type, reference::ReferenceError},
};

const INDEX_TYPE: HeaderValue = HeaderValue::from_static(media_type::OCI_INDEX);
const OPENING: &[u8] = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#;
const CLOSING: &[u8] = b"]}";

/// Referrers looked up in one step. Each can carry annotations, so this many of them are held.
const STEP_ENTRIES: usize = 256;
/// Referrers one request looks through with a filter before it answers with what it has and a link
/// to the rest: a few milliseconds of work.
const SCANNED_MAX: usize = 16 << 10;

pub async fn list(scope: &Scope<'_>, subject: &Digest, query: &Query<'_>) -> Outcome {
    let types = query.artifact_types()?;
    let asked = query.page()?;
    let after = asked.last.map(|last| last.parse().map_err(ReferenceError::Digest)).transpose()?;
    let entries_max = asked.entries.min(size(scope.limits.referrers_page_max));
    let mut page = Page::new(entries_max, size(scope.limits.referrers_bytes_max));
    page.fill(scope, subject, &types, after).await?;

    let mut response = reply::document(StatusCode::OK, INDEX_TYPE, page.body());
    if !types.is_empty() {
        response.headers_mut().insert(reply::OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(last) = page.next_after {
        let last = last.to_string();
        let entries = entries_max.to_string();
        let mut parameters: Vec<(&str, &str)> = types.iter().map(|kind| ("artifactType", *kind)).collect();
        parameters.extend([("n", entries.as_str()), ("last", last.as_str())]);
        let path = format!("/v2/{}/referrers/{subject}", scope.repository);
        response.headers_mut().insert(LINK, reply::text(link::next(&path, &parameters)));
    }
    Ok(response)
}

/// The descriptors of one answer, as JSON separated by commas.
struct Page {
    descriptors: Vec<u8>,
    entries: usize,
    entries_max: usize,
    bytes_max: usize,
    /// Set if there may be more after this one.
    next_after: Option<Digest>,
}

impl Page {
    fn new(entries_max: usize, bytes_max: usize) -> Self {
        Page { descriptors: Vec::new(), entries: 0, entries_max, bytes_max, next_after: None }
    }

    async fn fill(
        &mut self,
        scope: &Scope<'_>,
        subject: &Digest,
        types: &[&str],
        mut after: Option<Digest>,
    ) -> Outcome<()> {
        let mut scanned = 0;
        loop {
            let found = match scope.engine.referring(&scope.namespace, subject, after.as_ref(), STEP_ENTRIES).await {
                Ok(found) => found,
                // The spec forbids a 404 here: nothing refers to what is not known.
                Err(Error::NotFound { what: What::Namespace | What::Blob }) => return Ok(()),
                Err(error) => return Err(Failure::manifest(error)),
            };
            let last_step = found.len() < STEP_ENTRIES;
            for referring in found {
                if matches(types, &referring.payload) && !self.push(&referring.payload) {
                    self.next_after = after;
                    return Ok(());
                }
                after = Some(referring.digest);
                scanned += 1;
            }
            if last_step {
                return Ok(());
            }
            if scanned >= SCANNED_MAX {
                self.next_after = after;
                return Ok(());
            }
        }
    }

    /// False if the page is full. The first descriptor always fits: a page must lead on.
    fn push(&mut self, descriptor: &[u8]) -> bool {
        let bytes = OPENING.len() + self.descriptors.len() + 1 + descriptor.len() + CLOSING.len();
        let full = self.entries >= self.entries_max || bytes > self.bytes_max;
        if full && self.entries > 0 {
            return false;
        }
        if self.entries > 0 {
            self.descriptors.push(b',');
        }
        self.descriptors.extend_from_slice(descriptor);
        self.entries += 1;
        true
    }

    fn body(&self) -> Bytes {
        [OPENING, &self.descriptors, CLOSING].concat().into()
    }
}

/// The one field of a stored descriptor a filter looks at.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "artifactType", default)]
    artifact_type: String,
}

/// True without a filter. An empty filter matches the indexes that have no artifact type.
fn matches(types: &[&str], descriptor: &[u8]) -> bool {
    types.is_empty()
        || serde_json::from_slice::<Typed>(descriptor).is_ok_and(|typed| types.contains(&typed.artifact_type.as_str()))
}
