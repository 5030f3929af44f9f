//! Reading what is there, and what is not: every byte is compared.

use http::Method;

use super::{
    Content, Key,
    worker::{Step, Worker},
};
use crate::http::{empty, request, request_with};

impl Worker {
    pub(super) async fn read_any(&mut self) -> Step {
        if self.random.below(6) == 0 {
            let count = self.facts.gone().count() as u64;
            let chosen = self.random.below(count.max(1)) as usize;
            let Some(key) = self.facts.gone().nth(chosen).cloned() else { return Ok(()) };
            return self.check(&key).await;
        }
        let Some((key, _)) = self.choose(|_| true) else { return Ok(()) };
        match &key {
            Key::Blob(repository, digest) => {
                let content = self.facts.content(digest).expect("what is present was pushed");
                match self.random.below(4) {
                    0 => self.head(repository, content).await,
                    1 | 2 => self.read_range(repository, content).await,
                    _ => self.read_blob(repository, content).await,
                }
            }
            Key::Manifest(..) | Key::Tag(..) => self.check(&key).await,
        }
    }

    /// The one right answer to a key.
    pub(super) async fn check(&mut self, key: &Key) -> Step {
        let expected = self.facts.get(key).map(str::to_owned);
        match (key, expected) {
            (Key::Blob(repository, _), Some(digest)) => {
                let content = self.facts.content(&digest).expect("what is present was pushed");
                self.read_blob(repository, content).await
            }
            (Key::Blob(repository, digest), None) => {
                self.call(Method::GET, &format!("/v2/{repository}/blobs/{digest}"), 404).await.map(drop)
            }
            (Key::Manifest(repository, digest), expected) => {
                self.check_document(repository, digest, expected.as_deref()).await?;
                self.check_subject(repository, digest).await
            }
            (Key::Tag(repository, tag), expected) => self.check_document(repository, tag, expected.as_deref()).await,
        }
    }

    async fn check_document(&mut self, repository: &str, reference: &str, expected: Option<&str>) -> Step {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let Some(digest) = expected else { return self.call(Method::GET, &path, 404).await.map(drop) };
        let answer = self.call(Method::GET, &path, 200).await?;
        let document = self.facts.document(digest).expect("what is present was pushed");
        let is_right = answer.body == document.text.as_bytes()
            && answer.header("content-type") == document.media_type
            && answer.header("docker-content-digest") == digest;
        if !is_right {
            return Err(self.broken(format!("GET {path}: {digest} expected: {answer:?}")));
        }
        self.read_bytes(answer.body.len());
        Ok(())
    }

    /// A document that refers to something is listed there as long as it is there itself.
    async fn check_subject(&mut self, repository: &str, digest: &str) -> Step {
        let Some(subject) = self.facts.document(digest).and_then(|document| document.subject.clone()) else {
            return Ok(());
        };
        let path = format!("/v2/{repository}/referrers/{subject}");
        let answer = self.call(Method::GET, &path, 200).await?;
        let listed = answer.json()["manifests"].as_array().cloned().unwrap_or_default();
        let mut listed: Vec<&str> = listed.iter().filter_map(|each| each["digest"].as_str()).collect();
        listed.sort_unstable();
        let expected = self.facts.referring(repository, &subject);
        if listed != expected {
            return Err(self.broken(format!("GET {path}: {listed:?}, expected {expected:?}")));
        }
        Ok(())
    }

    /// The tags of a repository are those that were acknowledged, no more and no fewer.
    pub(super) async fn list(&mut self) -> Step {
        let repository = self.repository();
        self.check_tags(&repository).await
    }

    pub(super) async fn check_tags(&mut self, repository: &str) -> Step {
        let path = format!("/v2/{repository}/tags/list");
        let answer = self.send(request(Method::GET, &path, empty())).await?;
        let expected = self.facts.tags(repository);
        // A repository to which nothing was ever pushed, or from which all is gone, is unknown.
        if answer.status == 404 && expected.is_empty() {
            return Ok(());
        }
        if answer.status != 200 {
            return Err(self.unexpected(&format!("GET {path}"), &answer));
        }
        let listed = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        let listed: Vec<&str> = listed.iter().filter_map(|tag| tag.as_str()).collect();
        if listed != expected {
            return Err(self.broken(format!("GET {path}: {listed:?}, expected {expected:?}")));
        }
        Ok(())
    }

    pub(super) async fn read_blob(&mut self, repository: &str, content: Content) -> Step {
        let path = format!("/v2/{repository}/blobs/{}", content.digest());
        let answer = self.call(Method::GET, &path, 200).await?;
        if answer.body.len() as u64 != content.length {
            return Err(self.broken(format!("GET {path}: {} bytes of {}", answer.body.len(), content.length)));
        }
        if let Some(at) = content.difference(0, &answer.body) {
            return Err(self.broken(format!("GET {path}: a wrong byte at {at} of {}", content.length)));
        }
        self.read_bytes(answer.body.len());
        Ok(())
    }

    async fn head(&mut self, repository: &str, content: Content) -> Step {
        let path = format!("/v2/{repository}/blobs/{}", content.digest());
        let answer = self.call(Method::HEAD, &path, 200).await?;
        if answer.header("content-length") != content.length.to_string() {
            return Err(self.broken(format!("HEAD {path}: {} bytes expected: {answer:?}", content.length)));
        }
        Ok(())
    }

    async fn read_range(&mut self, repository: &str, content: Content) -> Step {
        if content.length == 0 {
            return self.read_blob(repository, content).await;
        }
        let first = self.random.below(content.length);
        let last = first + self.random.below(content.length - first);
        let path = format!("/v2/{repository}/blobs/{}", content.digest());
        let range = format!("bytes={first}-{last}");
        let answer = self.expect(request_with(Method::GET, &path, ("range", &range), empty()), 206).await?;
        let is_placed = answer.header("content-range") == format!("bytes {first}-{last}/{}", content.length);
        if !is_placed || answer.body.len() as u64 != last - first + 1 {
            return Err(self.broken(format!("GET {path} {range}: {answer:?}")));
        }
        if let Some(at) = content.difference(first, &answer.body) {
            return Err(self.broken(format!("GET {path} {range}: a wrong byte at {at} of {}", content.length)));
        }
        self.read_bytes(answer.body.len());
        Ok(())
    }

    pub(super) fn read_bytes(&mut self, bytes: usize) {
        self.tally.reads += 1;
        self.tally.bytes_read += bytes as u64;
    }
}
