//! The registry over HTTP/1 against a model: requests in sequence on a kept connection, some of them
//! broken.
//!
//! An input is a sequence of requests of three bytes: which, and two arguments. Each input has a
//! repository of its own. After a request with broken framing the connection is closed, nothing of it
//! counts, and a new connection finds everything as it was.

mod client;

use std::collections::{BTreeMap, HashMap};

use orlop_engine::digest::{Algorithm, Digest};

use crate::server;
use client::{Client, Reply};

/// Requests of one input; the rest of it is ignored.
const REQUESTS_MAX: usize = 100;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const TAGS: [&str; 3] = ["latest", "v1", "v2"];

/// What is wrong with a message: each must end its connection.
const BROKEN: [&str; 8] = [
    "content-length: 3\r\ncontent-length: 4\r\n\r\nabc",
    "content-length: +3\r\n\r\nabc",
    "content-length: 3, 4\r\n\r\nabc",
    "transfer-encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
    "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    "content-length : 3\r\n\r\nabc",
    "x: a\r\n content-length: 3\r\n\r\nabc",
];

struct Session {
    path: String,
    bytes: Vec<u8>,
}

struct Run {
    client: Client,
    repository: String,
    sessions: Vec<Session>,
    blobs: HashMap<Digest, Vec<u8>>,
    manifests: BTreeMap<String, String>,
}

pub fn run(data: &[u8]) {
    let (address, registry, number) = server::registry();
    let mut run = Run {
        client: Client::new(address),
        repository: format!("run/{number}"),
        sessions: Vec::new(),
        blobs: HashMap::new(),
        manifests: BTreeMap::new(),
    };
    for request in data.chunks_exact(3).take(REQUESTS_MAX) {
        run.step(request[0], request[1], request[2]);
    }
    server::assert_no_panic(&registry);
}

fn content(number: u8) -> Vec<u8> {
    (0..usize::from(number) * 23).map(|at| (at as u8) ^ number).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

impl Run {
    fn step(&mut self, request: u8, first: u8, second: u8) {
        match request % 13 {
            0 => self.begin(),
            1 => self.append(first, second, false),
            2 => self.append(first, second, true),
            3 => self.misplace(first, second),
            4 => self.finish(first, true),
            5 => self.finish(first, false),
            6 => self.push(second),
            7 => self.pull(first, second),
            8 => self.delete(second),
            9 => self.put_manifest(first, second),
            10 => self.get_manifest(first),
            11 => self.cut(first, second),
            _ => self.send_broken(first, second),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repository)
    }

    fn session(&self, which: u8) -> Option<usize> {
        usize::from(which).checked_rem(self.sessions.len())
    }

    fn begin(&mut self) {
        let reply = self.client.send("POST", &self.path("blobs/uploads/"), "", b"").expect(202);
        self.sessions.push(Session { path: reply.header("location").to_owned(), bytes: Vec::new() });
    }

    fn append(&mut self, which: u8, number: u8, is_chunked: bool) {
        let Some(at) = self.session(which) else { return };
        let (path, bytes) = (self.sessions[at].path.clone(), content(number));
        if is_chunked {
            self.client.send_chunked("PATCH", &path, &bytes, usize::from(which) + 1).expect(202);
        } else {
            self.client.send("PATCH", &path, "", &bytes).expect(202);
        }
        self.sessions[at].bytes.extend(bytes);
        self.check_offset(at);
    }

    fn check_offset(&mut self, at: usize) {
        let path = self.sessions[at].path.clone();
        let told = self.client.send("GET", &path, "", b"").expect(204);
        let last = self.sessions[at].bytes.len().saturating_sub(1);
        assert_eq!(told.header("range"), format!("0-{last}"));
    }

    /// A chunk for a place that is not the next one.
    fn misplace(&mut self, which: u8, number: u8) {
        let Some(at) = self.session(which) else { return };
        let Session { path, bytes } = &self.sessions[at];
        let (start, path) = (bytes.len() + 1 + usize::from(number), path.clone());
        let range = format!("content-range: {start}-{}\r\n", start + 2);
        self.client.send("PATCH", &path, &range, b"abc").expect(416);
        self.check_offset(at);
    }

    fn finish(&mut self, which: u8, is_right: bool) {
        let Some(at) = self.session(which) else { return };
        let Session { path, bytes } = self.sessions.remove(at);
        let digest = sha256(if is_right { &bytes } else { b"something else" });
        let status = if is_right { 201 } else { 400 };
        self.client.send("PUT", &format!("{path}?digest={digest}"), "", b"").expect(status);
        self.client.send("GET", &path, "", b"").expect(404);
        if is_right {
            self.blobs.insert(digest, bytes);
        }
    }

    fn push(&mut self, number: u8) {
        let bytes = content(number);
        let digest = sha256(&bytes);
        self.client.send("POST", &self.path(&format!("blobs/uploads/?digest={digest}")), "", &bytes).expect(201);
        self.blobs.insert(digest, bytes);
    }

    fn pull(&mut self, first: u8, number: u8) {
        let digest = sha256(&content(number));
        let path = self.path(&format!("blobs/{digest}"));
        let whole = self.client.send("GET", &path, "", b"");
        let Some(bytes) = self.blobs.get(&digest) else {
            whole.expect(404);
            return;
        };
        assert_eq!(&whole.expect(200).body, bytes);
        let start = usize::from(first);
        let part = self.client.send("GET", &path, &format!("range: bytes={start}-{}\r\n", start + 9), b"");
        match bytes.get(start..) {
            Some(rest) if !rest.is_empty() => assert_eq!(part.expect(206).body, rest[..rest.len().min(10)]),
            // A blob without bytes has no range to refuse.
            _ if bytes.is_empty() => assert!(matches!(part.status, 200 | 416), "{}", part.status),
            _ => drop(part.expect(416)),
        }
    }

    fn delete(&mut self, number: u8) {
        let digest = sha256(&content(number));
        let status = if self.blobs.remove(&digest).is_some() { 202 } else { 404 };
        self.client.send("DELETE", &self.path(&format!("blobs/{digest}")), "", b"").expect(status);
    }

    fn put_manifest(&mut self, first: u8, number: u8) {
        let tag = TAGS[usize::from(first) % TAGS.len()];
        let document = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"number":"{number}"}}}}"#
        );
        let headers = format!("content-type: {INDEX}\r\n");
        self.client.send("PUT", &self.path(&format!("manifests/{tag}")), &headers, document.as_bytes()).expect(201);
        self.manifests.insert(tag.to_owned(), document);
        let listed = self.client.send("GET", &self.path("tags/list"), "", b"").expect(200);
        let listed: serde_json::Value = serde_json::from_slice(&listed.body).expect("JSON");
        assert_eq!(listed["tags"], serde_json::json!(self.manifests.keys().collect::<Vec<_>>()));
    }

    fn get_manifest(&mut self, first: u8) {
        let tag = TAGS[usize::from(first) % TAGS.len()];
        let reply = self.client.send("GET", &self.path(&format!("manifests/{tag}")), "", b"");
        match self.manifests.get(tag) {
            Some(document) => assert_eq!(reply.expect(200).body, document.as_bytes()),
            None => drop(reply.expect(404)),
        }
    }

    /// The connection breaks in the middle of a chunk. When the server comes to it nobody can tell, so
    /// that the session is given up; everything else is as it was.
    fn cut(&mut self, which: u8, number: u8) {
        let Some(at) = self.session(which) else { return };
        let (path, bytes) = (self.sessions[at].path.clone(), content(number));
        self.client.cut("PATCH", &path, bytes.len() + 1, &bytes[..bytes.len() / 2]);
        self.settle(at);
    }

    fn send_broken(&mut self, which: u8, number: u8) {
        let broken = BROKEN[usize::from(number) % BROKEN.len()];
        let path = self.session(which).map_or_else(|| self.path("blobs/uploads/"), |at| self.sessions[at].path.clone());
        let hidden = format!("DELETE {} HTTP/1.1\r\nhost: a\r\n\r\n", self.path("manifests/latest"));
        let method = if self.session(which).is_some() { "PATCH" } else { "POST" };
        let received = self.client.send_raw(&format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{broken}{hidden}"));
        let answers = received.windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
        assert!(answers <= 1, "{}", received.escape_ascii());
        assert!(!received.starts_with(b"HTTP/1.1 5"), "{}", received.escape_ascii());
        if let Some(at) = self.session(which) {
            self.settle(at);
        }
    }

    /// A body that broke may have brought whole frames before, and holds the session until it is ended.
    fn settle(&mut self, at: usize) {
        let Session { path, .. } = self.sessions.remove(at);
        while self.client.send("DELETE", &path, "", b"").status == 409 {}
    }
}

impl Reply {
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body.escape_ascii());
        self
    }
}
