//! An OCI image layout on disk (image-spec, "Image Layout"): the test image, and what clients
//! pulled.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    programs::cache,
    repository::{IMAGE_INDEX, IMAGE_MANIFEST},
    stream::sha256,
};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a tag names, in memory: everything below it, each part once.
#[derive(Debug, Clone)]
pub struct Content {
    /// Configs and layers with their digests.
    pub blobs: Vec<(String, Bytes)>,
    /// Manifests with their digests and media types, each after those it needs.
    pub manifests: Vec<(String, String, Bytes)>,
}

/// A directory with `index.json` and `blobs`.
#[derive(Debug, Clone)]
pub struct Layout {
    directory: PathBuf,
}

impl Layout {
    /// The test image that scripts/fixture built: tags `amd64`, `arm64` and `multi`.
    ///
    /// # Panics
    /// If it was not built.
    pub fn fixture() -> Self {
        let directory = cache().join("fixture/layout");
        assert!(directory.exists(), "{} is not there: run scripts/setup test", directory.display());
        Self { directory }
    }

    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    fn index(&self) -> Value {
        let path = self.directory.join("index.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The bytes under a digest, which they are asserted to have.
    ///
    /// # Panics
    /// If they are not there or have another digest.
    pub fn read(&self, digest: &str) -> Bytes {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        let path = self.directory.join("blobs").join(algorithm).join(hex);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        assert_eq!(sha256(&bytes), digest, "{}", path.display());
        bytes.into()
    }

    /// The descriptor that `tag` names; that of the only entry if nothing is tagged so.
    fn descriptor_of(&self, tag: &str) -> Value {
        let index = self.index();
        let entries = index["manifests"].as_array().expect("an index has manifests");
        let tagged = entries.iter().find(|entry| entry["annotations"][REF_NAME].as_str() == Some(tag));
        match (tagged, entries.as_slice()) {
            (Some(entry), _) | (None, [entry]) => entry.clone(),
            _ => panic!("no {tag} in {}: {index}", self.directory.display()),
        }
    }

    pub fn digest_of(&self, tag: &str) -> String {
        text(&self.descriptor_of(tag)["digest"])
    }

    /// The manifests below `tag` with their media types, each after those it needs.
    pub fn manifests_of(&self, tag: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.walk(&self.descriptor_of(tag), &mut found, &mut BTreeSet::new());
        found
    }

    /// The configs and layers below `tag`, each once.
    pub fn blobs_of(&self, tag: &str) -> BTreeSet<String> {
        let mut blobs = BTreeSet::new();
        self.walk(&self.descriptor_of(tag), &mut Vec::new(), &mut blobs);
        blobs
    }

    fn walk(&self, descriptor: &Value, manifests: &mut Vec<(String, String)>, blobs: &mut BTreeSet<String>) {
        let (digest, media_type) = (text(&descriptor["digest"]), text(&descriptor["mediaType"]));
        let manifest: Value = serde_json::from_slice(&self.read(&digest)).expect("a manifest is JSON");
        match media_type.as_str() {
            IMAGE_INDEX => {
                for child in manifest["manifests"].as_array().expect("an index has manifests") {
                    self.walk(child, manifests, blobs);
                }
            }
            IMAGE_MANIFEST => {
                let layers = manifest["layers"].as_array().expect("an image has layers");
                blobs.extend(layers.iter().chain([&manifest["config"]]).map(|blob| text(&blob["digest"])));
            }
            other => panic!("{digest} has the unknown media type {other}"),
        }
        if !manifests.iter().any(|(known, _)| *known == digest) {
            manifests.push((digest, media_type));
        }
    }

    /// Everything below `tag`.
    pub fn load(&self, tag: &str) -> Content {
        let blobs = self.blobs_of(tag).into_iter().map(|digest| (digest.clone(), self.read(&digest)));
        let manifests = self.manifests_of(tag).into_iter();
        let manifests = manifests.map(|(digest, media_type)| (digest.clone(), media_type, self.read(&digest)));
        Content { blobs: blobs.collect(), manifests: manifests.collect() }
    }

    /// A layout at `directory` with `tag` and nothing else, its blobs hard links or copies: some
    /// clients push a layout whole.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn only(&self, tag: &str, directory: &Path) -> Layout {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap_or_else(|error| panic!("cannot create {}: {error}", blobs.display()));
        let manifests = self.manifests_of(tag).into_iter().map(|(digest, _)| digest);
        for digest in self.blobs_of(tag).into_iter().chain(manifests) {
            let hex = digest.strip_prefix("sha256:").expect("the fixture uses sha256");
            let (from, to) = (self.directory.join("blobs/sha256").join(hex), blobs.join(hex));
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [self.descriptor_of(tag)] });
        let marker = json!({ "imageLayoutVersion": "1.0.0" });
        for (name, value) in [("index.json", index), ("oci-layout", marker)] {
            let path = directory.join(name);
            fs::write(&path, value.to_string())
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        }
        Layout::at(directory)
    }

    /// Asserts that `pulled` has the same thing under `pulled_tag`, byte for byte.
    ///
    /// # Panics
    /// If anything differs or is missing.
    #[track_caller]
    pub fn assert_same(&self, tag: &str, pulled: &Layout, pulled_tag: &str) {
        assert_eq!(pulled.digest_of(pulled_tag), self.digest_of(tag), "the root of {tag}");
        let manifests = self.manifests_of(tag);
        assert_eq!(pulled.manifests_of(pulled_tag), manifests, "the manifests of {tag}");
        let digests = manifests.into_iter().map(|(digest, _)| digest);
        for digest in digests.chain(self.blobs_of(tag)) {
            assert_eq!(pulled.read(&digest), self.read(&digest), "the bytes of {digest}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
