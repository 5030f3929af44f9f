//! Manifests: the pushed bytes and their Content-Type come in, a typed view comes out: what the
//! document needs, what it refers to, and how it is listed there. The bytes themselves are stored
//! as they came.
//!
//! Sources: image-spec "OCI Image Manifest Specification", "OCI Image Index Specification"; Docker
//! "Image Manifest Version 2, Schema 2". Fields nobody defined are ignored, as both ask.

use std::collections::{BTreeMap, HashMap};

use orlop_engine::digest::Digest;
use serde::Serialize;

use super::{
    descriptor::{Descriptor, DescriptorError, DescriptorList},
    json::{self, JsonError, Object, StringMap},
    media_type::{self, ManifestType},
};

/// The largest manifest in bytes. The spec asks for 4 megabytes at least.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Fields with a meaning in any document that was ever pushed as a manifest.
const FIELDS: [&str; 10] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
    "blobs",
];

/// A checked manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub kind: ManifestType,
    pub content: Content,
    /// The manifest this one is about, which need not exist.
    pub subject: Option<Descriptor>,
    /// As it stands in the document, if it is there and not empty.
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Image { config: Descriptor, layers: Vec<Descriptor> },
    Index { manifests: Vec<Descriptor> },
}

/// Content that a manifest is not complete without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub digest: Digest,
    /// In bytes, as the manifest says.
    pub size: u64,
    /// It must have been pushed as a manifest, not as a blob.
    pub is_manifest: bool,
    /// It may be absent: a layer that is not distributable. If it is there it is needed.
    pub is_optional: bool,
}

/// Why bytes are refused as a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("a manifest has at most {MANIFEST_BYTES_MAX} bytes, found {found}")]
    Length { found: usize },
    #[error("the manifest is not valid JSON: {0}")]
    Json(#[from] JsonError),
    #[error("the Content-Type and the field 'mediaType' are both missing; one must say what the manifest is")]
    TypeMissing,
    #[error(
        "the type '{found}' is not supported; supported are the OCI image manifest and index \
         and the Docker manifest (schema 2) and manifest list"
    )]
    TypeUnknown { found: String },
    #[error("the Content-Type says {header}, the field 'mediaType' says {field}; they must be the same")]
    TypeMismatch { header: &'static str, field: &'static str },
    #[error("the field 'schemaVersion' must be 2")]
    SchemaVersion,
    #[error("the field '{field}' does not belong in {}", kind.media_type())]
    Mixed { field: &'static str, kind: ManifestType },
    #[error("the key '{key}' differs from a field of a manifest by case only")]
    Lookalike { key: String },
    #[error("the field '{field}' is required")]
    Missing { field: &'static str },
    #[error("the field '{field}': {error}")]
    Field { field: &'static str, error: JsonError },
    #[error("the field '{field}': {error}")]
    Descriptor { field: &'static str, error: DescriptorError },
    #[error("the field 'artifactType' must be at most {} printable ASCII characters", media_type::MEDIA_TYPE_BYTES_MAX)]
    ArtifactType,
    #[error("{digest} is listed with the sizes {one} and {other}")]
    Sizes { digest: Digest, one: u64, other: u64 },
}

impl Manifest {
    /// Parses `bytes`, pushed with the Content-Type `header` (parameters are ignored).
    pub fn parse(bytes: &[u8], header: Option<&str>) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Length { found: bytes.len() });
        }
        let object = Object::parse(json::check(bytes)?)?;
        if let Some(key) = object.lookalike(&FIELDS) {
            return Err(ManifestError::Lookalike { key: key.to_owned() });
        }
        let kind = kind(&object, header)?;
        if required::<u64>(&object, "schemaVersion")? != 2 {
            return Err(ManifestError::SchemaVersion);
        }
        let artifact_type = optional::<String>(&object, "artifactType")?.filter(|text| !text.is_empty());
        if artifact_type.as_ref().is_some_and(|text| !media_type::is_relayable(text)) {
            return Err(ManifestError::ArtifactType);
        }
        let annotations = optional::<StringMap>(&object, "annotations")?.unwrap_or_default().0;
        let subject = descriptor(&object, "subject")?;
        let content = content(&object, kind)?;
        let manifest = Manifest { kind, content, subject, artifact_type, annotations };
        manifest.check_sizes()?;
        Ok(manifest)
    }

    /// Parses `bytes` of a store that does not always keep the Content-Type. If neither it nor the
    /// field says what the document is, its parts do: a list of manifests is an OCI index, a config
    /// an OCI image manifest (image-spec, "mediaType": the field SHOULD be there, and is not in
    /// older documents).
    pub fn parse_kept(bytes: &[u8], header: Option<&str>) -> Result<Self, ManifestError> {
        match Manifest::parse(bytes, header) {
            Err(ManifestError::TypeMissing) => {}
            parsed => return parsed,
        }
        let object = Object::parse(json::check(bytes)?)?;
        let kind = match (object.contains("manifests"), object.contains("config")) {
            (true, _) => ManifestType::OciIndex,
            (false, true) => ManifestType::OciManifest,
            (false, false) => return Err(ManifestError::TypeMissing),
        };
        Manifest::parse(bytes, Some(kind.media_type()))
    }

    /// Everything the manifest is made of, each digest once, in the document's order.
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        let mut places = HashMap::new();
        for descriptor in self.parts() {
            let need = Need {
                digest: descriptor.digest,
                size: descriptor.size,
                is_manifest: self.kind.is_index() && ManifestType::of(&descriptor.media_type).is_some(),
                is_optional: media_type::is_non_distributable(&descriptor.media_type),
            };
            let place = *places.entry(need.digest).or_insert(needs.len());
            match needs.get_mut(place) {
                Some(known) => {
                    known.is_manifest |= need.is_manifest;
                    known.is_optional &= need.is_optional;
                }
                None => needs.push(need),
            }
        }
        needs
    }

    /// The type the manifest is listed and filtered by at its subject: its own, or for images that
    /// of the config (spec, "Listing Referrers").
    pub fn referrer_type(&self) -> Option<&str> {
        match (&self.artifact_type, &self.content) {
            (Some(artifact_type), _) => Some(artifact_type),
            (None, Content::Image { config, .. }) => Some(&config.media_type),
            (None, Content::Index { .. }) => None,
        }
    }

    /// The descriptor in JSON that lists this manifest at its subject. `digest` and `size` are those
    /// of its bytes. It is not longer than the manifest by more than the digest and a few names.
    pub fn referrer_descriptor(&self, digest: &Digest, size: u64) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed<'a> {
            media_type: &'a str,
            digest: String,
            size: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            artifact_type: Option<&'a str>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: &'a BTreeMap<String, String>,
        }
        let listed = Listed {
            media_type: self.kind.media_type(),
            digest: digest.to_string(),
            size,
            artifact_type: self.referrer_type(),
            annotations: &self.annotations,
        };
        serde_json::to_vec(&listed).expect("strings and numbers always have a JSON form")
    }

    fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, list) = match &self.content {
            Content::Image { config, layers } => (Some(config), layers),
            Content::Index { manifests } => (None, manifests),
        };
        config.into_iter().chain(list)
    }

    /// One digest has one size; two in a document mean that readers can be told different things.
    fn check_sizes(&self) -> Result<(), ManifestError> {
        let mut sizes = HashMap::new();
        for Descriptor { digest, size, .. } in self.parts().chain(&self.subject) {
            let one = *sizes.entry(digest).or_insert(*size);
            if one != *size {
                return Err(ManifestError::Sizes { digest: *digest, one, other: *size });
            }
        }
        Ok(())
    }
}

fn kind(object: &Object<'_>, header: Option<&str>) -> Result<ManifestType, ManifestError> {
    let unknown = |found: &str| ManifestError::TypeUnknown { found: found.chars().take(100).collect() };
    let header = match header {
        None => None,
        Some(text) => {
            let essence = media_type::essence(text).ok_or_else(|| unknown(text))?;
            Some(ManifestType::of(essence).ok_or_else(|| unknown(essence))?)
        }
    };
    let field = match optional::<String>(object, "mediaType")?.filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => {
            let known = ManifestType::ALL.into_iter().find(|known| known.media_type() == text);
            Some(known.ok_or_else(|| unknown(&text))?)
        }
    };
    match (header, field) {
        (None, None) => Err(ManifestError::TypeMissing),
        (Some(header), Some(field)) if header != field => {
            Err(ManifestError::TypeMismatch { header: header.media_type(), field: field.media_type() })
        }
        (Some(kind), _) | (None, Some(kind)) => Ok(kind),
    }
}

/// Reads the parts of the kind, and refuses those of the other one even if they are empty: a
/// reader that goes by the fields instead of the type would take it for that other kind.
fn content(object: &Object<'_>, kind: ManifestType) -> Result<Content, ManifestError> {
    let foreign: &[&'static str] = match kind.is_index() {
        true => &["config", "layers", "fsLayers", "blobs"],
        false => &["manifests", "fsLayers", "blobs"],
    };
    if let Some(field) = foreign.iter().find(|field| object.contains(field)) {
        return Err(ManifestError::Mixed { field, kind });
    }
    if kind.is_index() {
        return Ok(Content::Index { manifests: descriptors(object, "manifests")? });
    }
    let config = descriptor(object, "config")?.ok_or(ManifestError::Missing { field: "config" })?;
    Ok(Content::Image { config, layers: descriptors(object, "layers")? })
}

fn descriptor(object: &Object<'_>, field: &'static str) -> Result<Option<Descriptor>, ManifestError> {
    let read = |object| Descriptor::read(&object).map_err(|error| ManifestError::Descriptor { field, error });
    optional::<Object<'_>>(object, field)?.map(read).transpose()
}

/// The field must be there, but `null` is an empty list, as some clients write it.
fn descriptors(object: &Object<'_>, field: &'static str) -> Result<Vec<Descriptor>, ManifestError> {
    if !object.contains(field) {
        return Err(ManifestError::Missing { field });
    }
    Ok(optional::<DescriptorList>(object, field)?.map(|list| list.0).unwrap_or_default())
}

fn required<'a, T: serde::Deserialize<'a>>(object: &Object<'a>, field: &'static str) -> Result<T, ManifestError> {
    optional(object, field)?.ok_or(ManifestError::Missing { field })
}

fn optional<'a, T: serde::Deserialize<'a>>(
    object: &Object<'a>,
    field: &'static str,
) -> Result<Option<T>, ManifestError> {
    object.read(field).map_err(|error| ManifestError::Field { field, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orlop_engine::digest::Algorithm;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn described(media_type: &str, content: &str) -> Value {
        let digest = Digest::of(Algorithm::Sha256, content.as_bytes()).to_string();
        json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": described("application/vnd.oci.image.config.v1+json", "config"),
            "layers": [described("application/vnd.oci.image.layer.v1.tar", "layer")],
        })
    }

    fn index() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [described(media_type::OCI_MANIFEST, "child"), described("a/b", "blob")],
        })
    }

    fn with(mut document: Value, field: &str, value: Value) -> Value {
        document[field] = value;
        document
    }

    fn without(mut document: Value, field: &str) -> Value {
        document.as_object_mut().unwrap().remove(field);
        document
    }

    fn parse(document: &Value, header: Option<&str>) -> Result<Manifest, ManifestError> {
        Manifest::parse(&serde_json::to_vec(document).unwrap(), header)
    }

    fn refusal(document: &Value) -> String {
        parse(document, None).unwrap_err().to_string()
    }

    #[test]
    fn each_kind_has_its_parts() {
        for known in [ManifestType::OciManifest, ManifestType::DockerManifest] {
            let manifest = parse(&with(image(), "mediaType", json!(known.media_type())), None).unwrap();
            assert_eq!(manifest.kind, known);
            assert!(matches!(&manifest.content, Content::Image { layers, .. } if layers.len() == 1));
        }
        for known in [ManifestType::OciIndex, ManifestType::DockerList] {
            let manifest = parse(&with(index(), "mediaType", json!(known.media_type())), None).unwrap();
            assert_eq!(manifest.kind, known);
            assert!(matches!(&manifest.content, Content::Index { manifests } if manifests.len() == 2));
        }
        for empty in [json!([]), Value::Null] {
            assert!(parse(&with(image(), "layers", empty.clone()), None).unwrap().needs().len() == 1);
            assert!(parse(&with(index(), "manifests", empty), None).unwrap().needs().is_empty());
        }
    }

    #[test]
    fn content_type_and_media_type_must_agree() {
        let untyped = without(image(), "mediaType");
        let parameters = format!("{}; charset=utf-8", media_type::OCI_MANIFEST);
        for (document, header) in [
            (&image(), None),
            (&image(), Some(media_type::OCI_MANIFEST)),
            (&image(), Some(&*parameters)),
            (&untyped, Some(media_type::OCI_MANIFEST)),
            (&with(image(), "mediaType", json!("")), Some(media_type::OCI_MANIFEST)),
        ] {
            assert_eq!(parse(document, header).map(|manifest| manifest.kind), Ok(ManifestType::OciManifest));
        }
        assert_eq!(parse(&untyped, None), Err(ManifestError::TypeMissing));
        let error = parse(&image(), Some(media_type::DOCKER_MANIFEST)).unwrap_err();
        assert!(matches!(error, ManifestError::TypeMismatch { .. }));
        for header in ["application/json", "text", "", "application/vnd.docker.distribution.manifest.v1+prettyjws"] {
            assert!(matches!(parse(&image(), Some(header)), Err(ManifestError::TypeUnknown { .. })), "{header}");
        }
        let odd = with(image(), "mediaType", json!(media_type::OCI_MANIFEST.to_uppercase()));
        assert!(matches!(parse(&odd, None), Err(ManifestError::TypeUnknown { .. })));
    }

    #[test]
    fn a_kept_document_without_a_type_is_what_its_parts_say() {
        for (document, kind) in [(image(), ManifestType::OciManifest), (index(), ManifestType::OciIndex)] {
            let untyped = serde_json::to_vec(&without(document, "mediaType")).unwrap();
            assert_eq!(Manifest::parse_kept(&untyped, None).map(|manifest| manifest.kind), Ok(kind));
        }
        let docker = serde_json::to_vec(&with(image(), "mediaType", json!(media_type::DOCKER_MANIFEST))).unwrap();
        assert_eq!(Manifest::parse_kept(&docker, None).map(|manifest| manifest.kind), Ok(ManifestType::DockerManifest));
        let mixed = serde_json::to_vec(&with(without(image(), "mediaType"), "manifests", json!([]))).unwrap();
        assert!(matches!(Manifest::parse_kept(&mixed, None), Err(ManifestError::Mixed { .. })));
        let neither = Manifest::parse_kept(br#"{"schemaVersion":1,"fsLayers":[]}"#, None);
        assert_eq!(neither, Err(ManifestError::TypeMissing));
    }

    #[test]
    fn documents_with_two_meanings_are_refused() {
        for (document, part) in [
            (with(image(), "manifests", json!([])), "'manifests' does not belong"),
            (with(image(), "manifests", Value::Null), "'manifests' does not belong"),
            (with(image(), "fsLayers", json!([])), "'fsLayers' does not belong"),
            (with(image(), "blobs", json!([])), "'blobs' does not belong"),
            (with(index(), "layers", json!([])), "'layers' does not belong"),
            (with(index(), "config", Value::Null), "'config' does not belong"),
            (with(image(), "Manifests", json!([])), "'Manifests' differs"),
            (with(image(), "mediatype", json!("x")), "'mediatype' differs"),
            (with(image(), "layer\u{17f}", json!([])), "by case only"),
        ] {
            let error = refusal(&document);
            assert!(error.contains(part), "{document}: {error}");
        }
        let text = image().to_string();
        let twice = format!("{},\"config\":{{}}}}", &text[..text.len() - 1]);
        assert!(Manifest::parse(twice.as_bytes(), None).unwrap_err().to_string().contains("twice"));
        let marked = format!("\u{feff}{text}");
        assert_eq!(Manifest::parse(marked.as_bytes(), None), Err(JsonError::ByteOrderMark.into()));
        assert!(Manifest::parse(format!("{text}  \n").as_bytes(), None).is_ok());
        assert!(Manifest::parse(format!("{text}{text}").as_bytes(), None).is_err());
    }

    #[test]
    fn broken_fields_are_named() {
        for (document, part) in [
            (json!({}), "both missing"),
            (without(image(), "schemaVersion"), "'schemaVersion' is required"),
            (with(image(), "schemaVersion", json!(1)), "'schemaVersion' must be 2"),
            (with(image(), "schemaVersion", json!("2")), "'schemaVersion'"),
            (without(image(), "config"), "'config' is required"),
            (with(image(), "config", Value::Null), "'config' is required"),
            (with(image(), "config", json!({})), "'config': the field 'mediaType' is required"),
            (without(image(), "layers"), "'layers' is required"),
            (with(image(), "layers", json!({})), "'layers': invalid type"),
            (with(image(), "layers", json!([Value::Null])), "'layers'"),
            (with(image(), "layers", json!([image()["config"], {}])), "'layers': descriptor 1: the field 'mediaType'"),
            (without(index(), "manifests"), "'manifests' is required"),
            (with(image(), "subject", json!("sha256:x")), "'subject'"),
            (with(image(), "annotations", json!({ "a": 1 })), "'annotations'"),
            (with(image(), "artifactType", json!("a\nb")), "'artifactType'"),
            (with(image(), "mediaType", json!(7)), "'mediaType'"),
        ] {
            let error = refusal(&document);
            assert!(error.contains(part), "{document}: {error}");
        }
    }

    #[test]
    fn sizes_of_one_digest_must_agree() {
        let layer = described("a/b", "layer");
        let other = with(layer.clone(), "size", json!(6));
        assert!(parse(&with(image(), "layers", json!([layer, layer])), None).is_ok());
        assert!(refusal(&with(image(), "layers", json!([layer, other]))).contains("sizes 5 and 6"));
        let subject = with(image()["config"].clone(), "size", json!(0));
        assert!(refusal(&with(image(), "subject", subject)).contains("sizes 6 and 0"));
    }

    #[test]
    fn needs_are_distinct_and_typed() {
        let config = image()["config"].clone();
        let foreign = described(media_type::DOCKER_FOREIGN_LAYER, "foreign");
        let layers = json!([config, foreign, described("a/b", "x"), foreign]);
        let needs = parse(&with(image(), "layers", layers), None).unwrap().needs();
        let flags: Vec<_> = needs.iter().map(|need| (need.size, need.is_manifest, need.is_optional)).collect();
        assert_eq!(flags, [(6, false, false), (7, false, true), (1, false, false)]);

        let both = json!([foreign, with(foreign.clone(), "mediaType", json!("a/b"))]);
        let needs = parse(&with(image(), "layers", both), None).unwrap().needs();
        assert_eq!(needs.iter().filter(|need| need.is_optional).count(), 0);

        let needs = parse(&index(), None).unwrap().needs();
        assert_eq!(needs.iter().map(|need| need.is_manifest).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn referrers_are_listed_with_their_type_and_annotations() {
        let digest = Digest::of(Algorithm::Sha512, b"");
        let listed = |document: &Value| -> Value {
            serde_json::from_slice(&parse(document, None).unwrap().referrer_descriptor(&digest, 7)).unwrap()
        };
        let config_type = image()["config"]["mediaType"].clone();
        assert_eq!(
            listed(&image()),
            json!({ "mediaType": media_type::OCI_MANIFEST, "digest": digest.to_string(), "size": 7,
                    "artifactType": config_type })
        );
        assert_eq!(listed(&with(image(), "artifactType", json!("")))["artifactType"], config_type);
        let full =
            with(with(image(), "artifactType", json!("x/y")), "annotations", json!({ "b": "<>", "a": "\u{1b}" }));
        assert_eq!(listed(&full)["artifactType"], "x/y");
        assert_eq!(listed(&full)["annotations"], full["annotations"]);
        assert_eq!(listed(&index()).get("artifactType"), None);
        assert_eq!(listed(&with(index(), "artifactType", json!("x/y")))["artifactType"], "x/y");
    }

    #[test]
    fn the_largest_manifest_is_read_in_bounded_time() {
        let layer = described("a/b", "").to_string();
        let mut text = image().to_string().replace("\"layers\":[", "\"layers\":[ ");
        let room = MANIFEST_BYTES_MAX - text.len();
        text = text
            .replace("\"layers\":[ ", &format!("\"layers\":[{}", format!("{layer},").repeat(room / (layer.len() + 1))));
        text.push_str(&" ".repeat(MANIFEST_BYTES_MAX - text.len()));
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        assert_eq!(manifest.needs().len(), 3);
        text.push(' ');
        assert_eq!(
            Manifest::parse(text.as_bytes(), None),
            Err(ManifestError::Length { found: MANIFEST_BYTES_MAX + 1 })
        );
    }

    proptest! {
        /// What a plain reading of the JSON finds is what the view holds.
        #[test]
        fn agrees_with_a_plain_reading(
            layers in prop::collection::vec(("[a-c]/[d-f]", "[a-c]{0,2}"), 0..6),
            annotations in prop::collection::btree_map(".{0,4}", ".{0,4}", 0..4),
            artifact_type in prop::option::of("[a-z]{0,3}"),
        ) {
            let layers: Vec<Value> = layers.iter().map(|(kind, content)| described(kind, content)).collect();
            let mut document = with(with(image(), "layers", json!(layers)), "annotations", json!(annotations));
            if let Some(text) = &artifact_type {
                document["artifactType"] = json!(text);
            }
            let manifest = parse(&document, None).unwrap();
            let mut digests: Vec<String> = Vec::new();
            for part in std::iter::once(&document["config"]).chain(&layers) {
                let digest = part["digest"].as_str().unwrap().to_owned();
                if !digests.contains(&digest) {
                    digests.push(digest);
                }
            }
            let needs: Vec<String> = manifest.needs().iter().map(|need| need.digest.to_string()).collect();
            prop_assert_eq!(needs, digests);
            prop_assert_eq!(&manifest.annotations, &annotations);
            prop_assert_eq!(manifest.artifact_type.as_deref(), artifact_type.as_deref().filter(|text| !text.is_empty()));
        }
    }
}
