//! The distribution protocol as a client speaks it: uploads, manifests, pulls, deletions.
//!
//! In: contents and names. Out: the registry has them, or a [`Problem`] says which request was
//! answered how. Every response is counted in the session's [`Tally`].

use std::sync::Arc;

use hyper::{Method, header::LOCATION};
use serde_json::Value;

use super::{
    client::{Call, Client, Problem, Reply},
    content::{Content, Digest},
    gauge::Gauge,
    image::{Image, MANIFEST_MEDIA_TYPE},
    pace::Pace,
    tally::Tally,
    upload::{Frames, Upload},
};

const BLOB_MEDIA_TYPE: &str = "application/octet-stream";

/// Bytes of an unexpected answer's body that its failure message shows.
const SHOWN_BYTES_MAX: usize = 200;

/// How a blob's bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// POST, then PUT with the bytes.
    Monolith,
    /// POST, PATCH with all bytes and their length, empty PUT.
    Chunk,
    /// POST, PATCH with all bytes and no length, empty PUT; as Docker does.
    Streamed,
    /// As a monolith, over a connection that takes so much at a time.
    Slow(Pace),
}

pub struct Session {
    client: Client,
    frames: Arc<Frames>,
    pub tally: Tally,
}

impl Session {
    pub fn new(client: Client, gauge: &Arc<Gauge>) -> Self {
        Self { client, frames: Frames::new(gauge), tally: Tally::default() }
    }

    pub fn disconnect(&mut self) {
        self.client.disconnect();
    }

    /// Whether the registry answers at all and accepts the credentials.
    pub async fn probe(&mut self) -> Result<(), Problem> {
        let path = self.path("");
        self.call("GET /v2/", Method::GET, &path, &[200]).await.map(drop)
    }

    pub async fn push_image(&mut self, repo: &str, tag: &str, image: &Image, how: Transfer) -> Result<(), Problem> {
        for layer in &image.layers {
            self.push_blob(repo, layer, how).await?;
        }
        self.push_blob(repo, &image.config, how).await?;
        self.put_manifest(repo, tag, image).await
    }

    pub async fn push_blob(&mut self, repo: &str, content: &Content, how: Transfer) -> Result<(), Problem> {
        let path = self.path(&format!("{repo}/blobs/uploads/"));
        let begun = self.call("POST upload", Method::POST, &path, &[202]).await?;
        let upload = location(&begun)?;
        self.send_blob(&upload, content, how).await
    }

    /// Asks for a blob of another repository; sends its bytes if the registry wants them. Returns
    /// whether it was mounted.
    pub async fn mount_blob(&mut self, repo: &str, from: &str, content: &Content) -> Result<bool, Problem> {
        let path = self.path(&format!("{repo}/blobs/uploads/?mount={}&from={from}", content.digest));
        let answer = self.call("POST mount", Method::POST, &path, &[201, 202]).await?;
        if answer.status == 201 {
            return Ok(true);
        }
        let upload = location(&answer)?;
        self.send_blob(&upload, content, Transfer::Monolith).await?;
        Ok(false)
    }

    pub async fn put_manifest(&mut self, repo: &str, tag: &str, image: &Image) -> Result<(), Problem> {
        let path = self.path(&format!("{repo}/manifests/{tag}"));
        let body = Upload::sized(&image.manifest, &self.frames);
        let call =
            Call { method: Method::PUT, path: &path, content_type: Some(MANIFEST_MEDIA_TYPE), accept: None, body };
        self.send("PUT manifest", call, &[201], false).await.map(drop)
    }

    /// Whether the registry has a blob.
    pub async fn has_blob(&mut self, repo: &str, digest: &Digest) -> Result<bool, Problem> {
        let path = self.path(&format!("{repo}/blobs/{digest}"));
        Ok(self.call("HEAD blob", Method::HEAD, &path, &[200, 404]).await?.status == 200)
    }

    /// HEAD of something that is there; the time to its answer is recorded under `part`.
    pub async fn head(&mut self, path: &str, part: &'static str) -> Result<(), Problem> {
        let path = self.path(path);
        let reply = self.call("HEAD", Method::HEAD, &path, &[200]).await?;
        self.tally.part(part, reply.first_byte);
        Ok(())
    }

    /// GET of something of known length; the time to its first byte is recorded under `part`.
    pub async fn get(&mut self, path: &str, bytes: u64, part: &'static str) -> Result<(), Problem> {
        let path = self.path(path);
        let reply = self.call("GET", Method::GET, &path, &[200]).await?;
        if reply.body_bytes != bytes {
            return Err(Problem(format!("GET: {} bytes came, expected {bytes}", reply.body_bytes)));
        }
        self.tally.part(part, reply.first_byte);
        Ok(())
    }

    pub async fn get_catalog(&mut self) -> Result<(), Problem> {
        let path = self.path("_catalog");
        self.call("GET catalog", Method::GET, &path, &[200]).await.map(drop)
    }

    /// The tags of a repository, of the first page.
    pub async fn tags(&mut self, repo: &str) -> Result<Vec<String>, Problem> {
        let path = self.path(&format!("{repo}/tags/list"));
        let call = Call { method: Method::GET, path: &path, content_type: None, accept: None, body: Upload::empty() };
        let reply = self.send("GET tags", call, &[200], true).await?;
        let list: Value = serde_json::from_slice(&reply.kept)
            .map_err(|error| Problem(format!("GET tags: the list is no JSON: {error}")))?;
        let tags = list["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(tags.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    pub async fn get_manifest(&mut self, repo: &str, reference: &str) -> Result<(), Problem> {
        let path = self.path(&format!("{repo}/manifests/{reference}"));
        self.call("GET manifest", Method::GET, &path, &[200]).await.map(drop)
    }

    pub async fn delete_manifest(&mut self, repo: &str, digest: &Digest) -> Result<(), Problem> {
        let path = self.path(&format!("{repo}/manifests/{digest}"));
        self.call("DELETE manifest", Method::DELETE, &path, &[202]).await.map(drop)
    }

    pub async fn delete_blob(&mut self, repo: &str, digest: &Digest) -> Result<(), Problem> {
        let path = self.path(&format!("{repo}/blobs/{digest}"));
        self.call("DELETE blob", Method::DELETE, &path, &[202]).await.map(drop)
    }

    async fn send_blob(&mut self, upload: &str, content: &Content, how: Transfer) -> Result<(), Problem> {
        let (patch, closing) = match how {
            Transfer::Monolith => (None, Upload::sized(content, &self.frames)),
            Transfer::Slow(pace) => (None, Upload::slow(content, &self.frames, pace)),
            Transfer::Chunk => (Some(Upload::sized(content, &self.frames)), Upload::empty()),
            Transfer::Streamed => (Some(Upload::streamed(content, &self.frames)), Upload::empty()),
        };
        let mut path = with_digest(upload, &content.digest);
        if let Some(body) = patch {
            let call =
                Call { method: Method::PATCH, path: upload, content_type: Some(BLOB_MEDIA_TYPE), accept: None, body };
            let patched = self.send("PATCH blob", call, &[202], false).await?;
            path = with_digest(&location(&patched)?, &content.digest);
        }
        let call =
            Call { method: Method::PUT, path: &path, content_type: Some(BLOB_MEDIA_TYPE), accept: None, body: closing };
        self.send("PUT blob", call, &[201], false).await.map(drop)
    }

    async fn call(&mut self, what: &str, method: Method, path: &str, expected: &[u16]) -> Result<Reply, Problem> {
        let accept = path.contains("/manifests/").then_some(MANIFEST_MEDIA_TYPE);
        let call = Call { method, path, content_type: None, accept, body: Upload::empty() };
        self.send(what, call, expected, false).await
    }

    async fn send(&mut self, what: &str, call: Call<'_>, expected: &[u16], keep: bool) -> Result<Reply, Problem> {
        let body_bytes = call.body.bytes_left();
        let reply = self.client.exchange(call, keep).await.map_err(|problem| Problem(format!("{what}: {problem}")))?;
        self.tally.response(&reply);
        if !expected.contains(&reply.status) {
            return Err(unexpected(what, &reply, expected));
        }
        self.tally.bytes_sent += body_bytes;
        Ok(reply)
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/v2/{rest}", self.client.target().prefix)
    }
}

/// The path of an upload session, from `Location`, which may be a whole URL.
fn location(reply: &Reply) -> Result<String, Problem> {
    let problem = |why: &str| Problem(format!("the answer to an upload has {why} Location"));
    let value = reply.headers.get(LOCATION).ok_or_else(|| problem("no"))?;
    let text = value.to_str().map_err(|_| problem("an unreadable"))?;
    let path = match text.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|slash| &rest[slash..]),
        None => text.starts_with('/').then_some(text),
    };
    path.map(str::to_owned).ok_or_else(|| problem("an unusable"))
}

fn with_digest(upload: &str, digest: &Digest) -> String {
    let separator = if upload.contains('?') { '&' } else { '?' };
    format!("{upload}{separator}digest={digest}")
}

fn unexpected(what: &str, reply: &Reply, expected: &[u16]) -> Problem {
    let body = &reply.kept[..reply.kept.len().min(SHOWN_BYTES_MAX)];
    let body = String::from_utf8_lossy(body).trim().replace(['\n', '\r'], " ");
    let expected: Vec<String> = expected.iter().map(u16::to_string).collect();
    Problem(format!("{what}: status {}, expected {}: {body}", reply.status, expected.join(" or ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::HeaderMap;

    use super::*;

    fn reply(location: &str) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().expect("a header value"));
        Reply { status: 202, headers, body_bytes: 0, kept: Vec::new(), first_byte: Duration::ZERO }
    }

    #[test]
    fn locations_are_paths_or_urls() {
        for text in ["/v2/a/blobs/uploads/1?_state=x", "http://host:5000/v2/a/blobs/uploads/1?_state=x"] {
            assert_eq!(location(&reply(text)), Ok("/v2/a/blobs/uploads/1?_state=x".to_owned()));
        }
        for text in ["", "relative", "http://host"] {
            assert!(location(&reply(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_digest_joins_a_query_that_is_there() {
        let digest = Content::random(1, 1).digest;
        assert_eq!(with_digest("/u", &digest), format!("/u?digest={digest}"));
        assert_eq!(with_digest("/u?a=b", &digest), format!("/u?a=b&digest={digest}"));
    }

    #[test]
    fn an_unexpected_answer_is_shown() {
        let mut answer = reply("/");
        answer.kept = b"{\"errors\":\n1}".to_vec();
        let problem = unexpected("PUT blob", &answer, &[201, 204]);
        assert_eq!(problem.0, "PUT blob: status 202, expected 201 or 204: {\"errors\": 1}");
    }
}
