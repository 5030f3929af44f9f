//! Images to push: layers, a config that names them, a manifest.

use bytes::Bytes;
use serde_json::json;

use super::content::{Content, Digest};

pub const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Debug, Clone)]
pub struct Image {
    pub layers: Vec<Content>,
    pub config: Content,
    pub manifest: Content,
}

impl Image {
    /// An image of these layers (OCI image specification 1.1). The same layers give the same
    /// config and manifest.
    pub fn new(layers: Vec<Content>) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = document(&json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2011-01-01T00:00:00Z",
            "author": "orlop bench",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }));
        let manifest = document(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_MEDIA_TYPE,
            "config": descriptor(CONFIG_MEDIA_TYPE, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER_MEDIA_TYPE, layer)).collect::<Vec<_>>(),
        }));
        Self { layers, config, manifest }
    }

    /// The blobs that the manifest names.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.layers.iter().map(|layer| layer.digest).chain([self.config.digest])
    }
}

fn document(value: &serde_json::Value) -> Content {
    Content::held(Bytes::from(value.to_string()))
}

fn descriptor(media_type: &str, content: &Content) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": content.digest.to_string(), "size": content.bytes})
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn the_manifest_names_every_blob() {
        let image = Image::new(vec![Content::random(1, 10), Content::random(2, 20)]);
        let text = image.manifest.reader().next(&mut BytesMut::new()).expect("a document");
        let manifest: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(manifest["config"]["digest"], image.config.digest.to_string());
        assert_eq!(manifest["layers"][1]["digest"], image.layers[1].digest.to_string());
        assert_eq!(manifest["layers"][1]["size"], 20);
        assert_eq!(image.blobs().count(), 3);
        let again = Image::new(vec![Content::random(1, 10), Content::random(2, 20)]);
        assert_eq!(image.manifest.digest, again.manifest.digest);
    }
}
