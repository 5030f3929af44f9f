//! A registry in this process: requests go in as values and answers come out, without a socket.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use orlop_api::{Policy, Registry, limits::Limits, server::RequestBodyError};
use orlop_engine::{Algorithm, Digest, Engine, IndexKind, Options, io::Backend};
use tempfile::TempDir;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub struct TestRegistry {
    pub registry: Registry,
    pub engine: Engine,
    pub root: TempDir,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Set if the body was cut short.
    pub cut: bool,
}

impl TestRegistry {
    pub async fn new() -> Self {
        TestRegistry::with(Limits::default(), Policy::default()).await
    }

    pub async fn with(limits: Limits, policy: Policy) -> Self {
        TestRegistry::over(Options::default(), limits, policy).await
    }

    /// Over an engine with these options, in memory as far as possible.
    pub async fn over(options: Options, limits: Limits, policy: Policy) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let options = Options { backend: Backend::Threads, index: IndexKind::Memory, ..options };
        let engine = Engine::open(root.path(), options).await.expect("an empty store opens");
        TestRegistry { root, ..TestRegistry::of(engine, limits, policy) }
    }

    /// Over an engine that is open, wherever it has its content.
    pub fn of(engine: Engine, limits: Limits, policy: Policy) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        TestRegistry { registry: Registry::new(engine.clone(), limits, policy), engine, root }
    }

    /// Sends a request whose body has a known length.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let body = body.into();
        let length = body.len().to_string();
        let mut all = headers.to_vec();
        if !body.is_empty() || matches!(method, "PUT" | "POST" | "PATCH") {
            all.push(("content-length", &length));
        }
        self.exchange(method, target, &all, Chunks::whole(body)).await
    }

    /// Sends a request whose body is streamed without an announced length.
    pub async fn stream(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Chunks) -> Answer {
        self.exchange(method, target, headers, body).await
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    pub async fn head(&self, target: &str) -> Answer {
        self.send("HEAD", target, &[], "").await
    }

    pub async fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, &[], "").await
    }

    async fn exchange(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Chunks) -> Answer {
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("a request");
        let (parts, mut body) = self.registry.answer(request).await.into_parts();
        let mut received = Vec::new();
        let mut cut = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => received.extend_from_slice(frame.data_ref().expect("answers have no trailers")),
                Err(_) => cut = true,
            }
        }
        Answer { status: parts.status, headers: parts.headers, body: received.into(), cut }
    }

    /// Pushes a blob in one request.
    pub async fn push_blob(&self, repository: &str, content: &[u8]) -> Digest {
        let digest = sha256(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self.send("POST", &target, &[], content.to_vec()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        digest
    }

    /// Opens an upload; gives its location.
    pub async fn begin(&self, repository: &str) -> String {
        let answer = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Pushes an image of one config and one layer under a tag; gives its digest and its bytes.
    pub async fn push_image(&self, repository: &str, tag: &str) -> (Digest, String) {
        let config = self.push_blob(repository, b"{\"config\":1}").await;
        let layer = self.push_blob(repository, b"layer").await;
        let manifest = image(&[(CONFIG, &config, 12), (LAYER, &layer, 5)], "");
        let digest = self.push_manifest(repository, tag, MANIFEST, &manifest).await;
        (digest, manifest)
    }

    pub async fn push_manifest(&self, repository: &str, reference: &str, media_type: &str, content: &str) -> Digest {
        let answer = self.put_manifest(repository, reference, media_type, content).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.header("docker-content-digest").parse().expect("a digest")
    }

    pub async fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, content: &str) -> Answer {
        let target = format!("/v2/{repository}/manifests/{reference}");
        self.send("PUT", &target, &[("content-type", media_type)], content.to_owned()).await
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible text"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The status and the code of the one error of the body.
    pub fn error(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["errors"].as_array().map(Vec::len), Some(1), "{json}");
        assert_eq!(self.header("content-type"), "application/json");
        (self.status.as_u16(), json["errors"][0]["code"].as_str().expect("a code").to_owned())
    }
}

pub fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

pub fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// An image manifest: the first descriptor is the config. `more` is further JSON, with its comma.
pub fn image(descriptors: &[(&str, &Digest, usize)], more: &str) -> String {
    let mut all = descriptors.iter().map(|(kind, digest, size)| descriptor(kind, digest, *size));
    let config = all.next().expect("a config");
    let layers = all.collect::<Vec<_>>().join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{layers}]{more}}}"#)
}

pub fn index(descriptors: &[(&str, &Digest, usize)], more: &str) -> String {
    let all = descriptors.iter().map(|(kind, digest, size)| descriptor(kind, digest, *size)).collect::<Vec<_>>();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]{more}}}"#, all.join(","))
}

pub fn descriptor(kind: &str, digest: &Digest, size: usize) -> String {
    format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
}

/// A request body of the given chunks, which can break off after them.
pub struct Chunks {
    chunks: VecDeque<Bytes>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Broken,
    /// Never comes.
    Pending,
}

impl Chunks {
    pub fn whole(content: Bytes) -> Self {
        let chunks = if content.is_empty() { VecDeque::new() } else { VecDeque::from([content]) };
        Chunks { chunks, end: End::Clean }
    }

    pub fn of<const N: usize>(chunks: [&'static str; N]) -> Self {
        Chunks {
            chunks: chunks.into_iter().map(|chunk| Bytes::from_static(chunk.as_bytes())).collect(),
            end: End::Clean,
        }
    }

    /// The same chunk many times.
    pub fn repeated(chunk: String, times: usize) -> Self {
        let chunk = Bytes::from(chunk);
        Chunks { chunks: vec![chunk; times].into(), end: End::Clean }
    }

    /// The client stops sending after the last chunk.
    pub fn broken(mut self) -> Self {
        self.end = End::Broken;
        self
    }

    /// Nothing more comes after the last chunk, not even the end.
    pub fn pending(mut self) -> Self {
        self.end = End::Pending;
        self
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let next = self.chunks.pop_front();
        if next.is_none() && self.end == End::Pending {
            return Poll::Pending;
        }
        Poll::Ready(match next {
            Some(chunk) => Some(Ok(Frame::data(chunk))),
            None if self.end == End::Broken => {
                self.end = End::Clean;
                Some(Err(RequestBodyError::TooSlow { bytes_min: 1024, window: Duration::from_secs(30) }))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && self.end == End::Clean
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl From<Vec<String>> for Chunks {
    fn from(chunks: Vec<String>) -> Self {
        Chunks { chunks: chunks.into_iter().map(Bytes::from).collect(), end: End::Clean }
    }
}
