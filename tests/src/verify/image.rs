//! Images, indexes over them, and documents that refer to them, with and without tags.

use http::Method;
use serde_json::{Value, json};

use super::{
    Change, Key,
    facts::Document,
    worker::{Step, Worker},
};
use crate::{
    http::{full, request_with},
    repository::{IMAGE_CONFIG, IMAGE_INDEX, IMAGE_LAYER, IMAGE_MANIFEST},
    stream::sha256,
};

/// Tags of one repository: few enough to be moved again and again.
const TAGS: u64 = 12;

/// Layers of an image, and images of an index, at most.
const PARTS_MAX: u64 = 4;

impl Worker {
    pub(super) async fn put_image(&mut self) -> Step {
        let repository = self.repository();
        let Some(value) = self.image(&repository) else { return self.push_by_session().await };
        self.put(&repository, IMAGE_MANIFEST, value, None).await
    }

    pub(super) async fn put_index(&mut self) -> Step {
        let repository = self.repository();
        let mut manifests = Vec::new();
        for _ in 0..=self.random.below(PARTS_MAX) {
            let is_here = |key: &Key| matches!(key, Key::Manifest(within, _) if *within == repository);
            if let Some((_, digest)) = self.choose(is_here) {
                manifests.push(self.descriptor_of_document(&digest));
            }
        }
        let note = self.note_of_operation();
        let value = json!({
            "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests, "annotations": note,
        });
        self.put(&repository, IMAGE_INDEX, value, None).await
    }

    /// Half of them refer to something that is there.
    pub(super) async fn put_referrer(&mut self) -> Step {
        let repository = self.repository();
        let Some(mut value) = self.image(&repository) else { return Ok(()) };
        let is_here = |key: &Key| matches!(key, Key::Manifest(within, _) if *within == repository);
        let subject = match self.choose(is_here) {
            Some((_, digest)) if self.random.below(2) == 0 => self.descriptor_of_document(&digest),
            _ => {
                let text = format!("subject {} of {}", self.random.below(4), self.number);
                json!({ "mediaType": IMAGE_MANIFEST, "digest": sha256(text.as_bytes()), "size": text.len() })
            }
        };
        let digest = subject["digest"].as_str().map(str::to_owned);
        value["subject"] = subject;
        self.put(&repository, IMAGE_MANIFEST, value, digest).await
    }

    /// An image over blobs of a repository; `None` if it has none.
    pub(super) fn image(&mut self, repository: &str) -> Option<Value> {
        let is_here = |key: &Key| matches!(key, Key::Blob(within, _) if within == repository);
        let (_, config) = self.choose(is_here)?;
        let mut layers = Vec::new();
        for _ in 0..self.random.below(PARTS_MAX) {
            layers.extend(self.choose(is_here).map(|(_, digest)| self.descriptor_of_blob(IMAGE_LAYER, &digest)));
        }
        Some(json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": self.descriptor_of_blob(IMAGE_CONFIG, &config),
            "layers": layers,
            "annotations": self.note_of_operation(),
        }))
    }

    /// Tells one document from all others.
    fn note_of_operation(&mut self) -> Value {
        json!({ "verify": format!("{} {} {}", self.world.seed, self.number, self.operation) })
    }

    fn descriptor_of_blob(&self, media_type: &str, digest: &str) -> Value {
        let content = self.facts.content(digest).expect("what is present was pushed");
        json!({ "mediaType": media_type, "digest": digest, "size": content.length })
    }

    fn descriptor_of_document(&self, digest: &str) -> Value {
        let document = self.facts.document(digest).expect("what is present was pushed");
        json!({ "mediaType": document.media_type, "digest": digest, "size": document.text.len() })
    }

    /// Puts a document under its digest with up to two tags, or under one tag; sometimes one that is
    /// there already.
    async fn put(&mut self, repository: &str, media_type: &str, value: Value, subject: Option<String>) -> Step {
        let mut document = Document { media_type: media_type.to_owned(), text: value.to_string(), subject };
        if self.random.below(8) == 0
            && let Some((_, digest)) =
                self.choose(|key| matches!(key, Key::Manifest(within, _) if within == repository))
        {
            document = self.facts.document(&digest).expect("what is present was pushed").clone();
        }
        let mut tags: Vec<String> = (0..self.random.below(3)).map(|_| self.tag()).collect();
        tags.dedup();
        let digest = sha256(document.text.as_bytes());
        let reference = match tags.as_slice() {
            [tag] if self.random.below(2) == 0 => tag.clone(),
            [] => digest.clone(),
            tags => format!("{digest}?tag={}", tags.join("&tag=")),
        };
        let path = format!("/v2/{repository}/manifests/{reference}");
        let body = full(document.text.clone());
        let request = request_with(Method::PUT, &path, ("content-type", &document.media_type), body);
        let Document { media_type, text, subject } = document;
        let change = Change::Manifest { repository: repository.to_owned(), media_type, text, tags, subject };
        let answer = self.change(change, request, &[201], &[]).await?;
        if answer.header("docker-content-digest") != digest {
            return Err(self.broken(format!("PUT {path}: {digest} was pushed: {answer:?}")));
        }
        Ok(())
    }

    pub(super) fn tag(&mut self) -> String {
        format!("v{}", self.random.below(TAGS))
    }
}
