//! Manifests against a plain reading of the same JSON.
//!
//! An input is one byte that chooses the Content-Type, and the document.

use std::collections::HashSet;

use orlop_api::protocol::{Manifest, ManifestType, manifest::Content};
use orlop_engine::digest::{Algorithm, Digest};
use serde_json::Value;

/// What a listed descriptor has beyond the texts of the manifest: the names of its fields, a digest
/// and a number.
const DESCRIPTOR_OVERHEAD_BYTES_MAX: usize = 512;

pub fn run(data: &[u8]) {
    let Some((choice, document)) = data.split_first() else { return };
    let header = match usize::from(*choice) {
        index @ 0..=3 => Some(ManifestType::ALL[index].media_type()),
        4 => Some("application/json"),
        _ => None,
    };
    match Manifest::parse(document, header) {
        Ok(manifest) => check(&manifest, document, header),
        Err(error) => assert!(error.to_string().len() <= document.len() + 1000, "an error must not outgrow its input"),
    }
}

fn check(manifest: &Manifest, document: &[u8], header: Option<&str>) {
    let value: Value = serde_json::from_slice(document).expect("an accepted manifest is JSON");
    let kind = manifest.kind.media_type();
    assert!(header.is_none_or(|header| header == kind));
    let media_type = value["mediaType"].as_str().unwrap_or_default();
    assert!(media_type == kind || (media_type.is_empty() && header.is_some()));
    assert_eq!(value["schemaVersion"], 2);
    // One kind only: the other kind's fields are absent, not just empty.
    let absent: &[&str] = match manifest.content {
        Content::Image { .. } => &["manifests"],
        Content::Index { .. } => &["config", "layers"],
    };
    assert!(absent.iter().all(|field| value.get(field).is_none()));
    check_needs(manifest, &value);
    check_listing(manifest, &value, document.len());
    let spaced = [b" \n", document, b"\t "].concat();
    assert_eq!(Manifest::parse(&spaced, header).as_ref(), Ok(manifest));
}

fn check_needs(manifest: &Manifest, value: &Value) {
    let lists = [&value["layers"], &value["manifests"]];
    let parts = lists.into_iter().filter_map(Value::as_array).flatten().chain(value.get("config"));
    let expected: HashSet<(String, u64)> = parts
        .map(|part| {
            let digest = part["digest"].as_str().expect("an accepted descriptor has a digest");
            (digest.to_owned(), part["size"].as_u64().expect("an accepted descriptor has a size"))
        })
        .collect();
    let needs = manifest.needs();
    let found: HashSet<_> = needs.iter().map(|need| (need.digest.to_string(), need.size)).collect();
    assert_eq!(found.len(), needs.len(), "each digest is needed once");
    assert_eq!(found, expected);
}

fn check_listing(manifest: &Manifest, value: &Value, document_bytes: usize) {
    let digest = Digest::of(Algorithm::Sha256, b"");
    let listed = manifest.referrer_descriptor(&digest, 7);
    // Escapes of control characters are as long as they can be in the document already.
    assert!(listed.len() <= document_bytes + DESCRIPTOR_OVERHEAD_BYTES_MAX, "{} bytes", listed.len());
    let listed: Value = serde_json::from_slice(&listed).expect("a descriptor is JSON");
    assert_eq!(listed["digest"], digest.to_string());
    assert_eq!(listed["size"], 7);
    assert_eq!(listed["mediaType"], manifest.kind.media_type());
    let own = value["artifactType"].as_str().filter(|text| !text.is_empty());
    assert_eq!(listed.get("artifactType").and_then(Value::as_str), own.or(value["config"]["mediaType"].as_str()));
    let empty = serde_json::json!({});
    let annotations = value.get("annotations").filter(|value| !value.is_null());
    assert_eq!(listed.get("annotations").unwrap_or(&empty), annotations.unwrap_or(&empty));
}
