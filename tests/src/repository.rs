//! The distribution protocol as a careful client speaks it, one repository at a time.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::{
    Answer, Client,
    http::{Failure, empty, full, request, request_with},
    layout::Content,
    stream::sha256,
};

pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";

/// One repository of one registry.
#[derive(Clone)]
pub struct Repository {
    pub client: Client,
    name: String,
}

impl Repository {
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }

    /// The path of something in this repository: `/v2/<name>/<rest>`.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.name)
    }

    pub fn blob_path(&self, digest: &str) -> String {
        self.path(&format!("blobs/{digest}"))
    }

    pub fn manifest_path(&self, reference: &str) -> String {
        self.path(&format!("manifests/{reference}"))
    }

    pub async fn blob(&self, digest: &str) -> Answer {
        self.client.get(&self.blob_path(digest)).await
    }

    pub async fn blob_head(&self, digest: &str) -> Answer {
        self.client.head(&self.blob_path(digest)).await
    }

    pub async fn manifest(&self, reference: &str) -> Answer {
        self.client.get(&self.manifest_path(reference)).await
    }

    /// Opens an upload session; its path, to which a query may be added.
    pub async fn open_upload(&self) -> String {
        self.client.post(&self.path("blobs/uploads/"), "").await.expect(202).location()
    }

    /// Pushes a blob by POST and PUT, as the answer to the PUT.
    pub async fn try_push(&self, digest: &str, content: Bytes) -> Result<Answer, Failure> {
        let opened = self.client.try_send(request(Method::POST, &self.path("blobs/uploads/"), empty())).await?;
        let session = opened.expect(202).location();
        let close = with_query(&session, &format!("digest={digest}"));
        self.client.try_send(request(Method::PUT, &close, full(content))).await
    }

    /// Pushes a blob; its digest.
    ///
    /// # Panics
    /// If the registry does not answer 201.
    pub async fn push(&self, content: impl Into<Bytes>) -> String {
        let content = content.into();
        let digest = sha256(&content);
        self.push_as(&digest, content).await;
        digest
    }

    /// Pushes a blob whose digest is known.
    ///
    /// # Panics
    /// If the registry does not answer 201.
    pub async fn push_as(&self, digest: &str, content: Bytes) {
        let answer =
            self.try_push(digest, content).await.unwrap_or_else(|failure| panic!("push of {digest}: {failure}"));
        assert_eq!(answer.expect(201).header("docker-content-digest"), digest);
    }

    /// PUT of a manifest under a tag or a digest, as it is.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> Answer {
        let header = ("content-type", media_type);
        self.client.send(request_with(Method::PUT, &self.manifest_path(reference), header, full(bytes))).await
    }

    /// Pushes a config, one layer and the image over both under `tag`; the image.
    ///
    /// # Panics
    /// If the registry refuses any of it.
    pub async fn push_image(&self, tag: &str, layer: impl Into<Bytes>) -> Manifest {
        let layer = layer.into();
        let config = image_config(tag);
        self.push(config.clone()).await;
        self.push(layer.clone()).await;
        let manifest = Manifest::image(&config, &[&layer], &json!({}));
        self.put_manifest(tag, IMAGE_MANIFEST, manifest.bytes.clone()).await.expect(201);
        manifest
    }

    /// Pushes an image or an index: blobs, then manifests, the last under `tag`.
    ///
    /// # Panics
    /// If the registry refuses any of it.
    pub async fn push_content(&self, content: &Content, tag: &str) {
        for (digest, blob) in &content.blobs {
            self.push_as(digest, blob.clone()).await;
        }
        let last = content.manifests.len() - 1;
        for (at, (digest, media_type, manifest)) in content.manifests.iter().enumerate() {
            let reference = if at == last { tag } else { digest };
            self.put_manifest(reference, media_type, manifest.clone()).await.expect(201);
        }
    }

    /// Asserts that an image or an index is served byte for byte, by digest and by tag.
    ///
    /// # Panics
    /// If anything differs.
    pub async fn assert_serves(&self, content: &Content, tag: &str) {
        for (digest, blob) in &content.blobs {
            assert_eq!(self.blob(digest).await.expect(200).body, blob, "blob {digest}");
        }
        for (digest, media_type, manifest) in &content.manifests {
            let answer = self.manifest(digest).await.expect(200);
            assert_eq!(answer.body, manifest, "manifest {digest}");
            assert_eq!(answer.header("content-type"), media_type);
        }
        let (last, _, _) = content.manifests.last().expect("at least one manifest");
        assert_eq!(self.manifest(tag).await.expect(200).header("docker-content-digest"), last, "tag {tag}");
    }
}

/// A manifest's bytes and their digest.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub bytes: Bytes,
    pub digest: String,
}

impl Manifest {
    pub fn new(value: &Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        Self { digest: sha256(&bytes), bytes }
    }

    /// An image over a config and layers; `further` fields are put on top.
    pub fn image(config: &[u8], layers: &[&[u8]], further: &Value) -> Self {
        let layers: Vec<Value> = layers.iter().map(|layer| descriptor(IMAGE_LAYER, layer)).collect();
        let mut value = json!({
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": descriptor(IMAGE_CONFIG, config),
            "layers": layers,
        });
        for (key, field) in further.as_object().expect("further fields are an object") {
            value[key] = field.clone();
        }
        Self::new(&value)
    }

    /// An index over image manifests.
    pub fn index(manifests: &[&Manifest], further: &Value) -> Self {
        let manifests: Vec<Value> = manifests.iter().map(|each| each.descriptor(IMAGE_MANIFEST)).collect();
        let mut value = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests });
        for (key, field) in further.as_object().expect("further fields are an object") {
            value[key] = field.clone();
        }
        Self::new(&value)
    }

    pub fn descriptor(&self, media_type: &str) -> Value {
        descriptor(media_type, &self.bytes)
    }
}

/// A small image config that differs for each `name`.
pub fn image_config(name: &str) -> Bytes {
    let config = json!({
        "architecture": "amd64", "os": "linux", "author": name, "rootfs": { "type": "layers", "diff_ids": [] }
    });
    Bytes::from(config.to_string())
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

/// Adds to the query of a path that may have one.
pub fn with_query(path: &str, query: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{query}")
}
