//! A root as zot writes it, without zot: an OCI layout for each repository, content that several of
//! them have hard-linked between them, and zot's own files beside them.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::{
    Layout,
    layout::Content,
    repository::{IMAGE_CONFIG, IMAGE_INDEX, IMAGE_MANIFEST, descriptor},
    stream::sha256,
};

/// A root in the making.
pub struct ZotRoot {
    directory: PathBuf,
    /// Where a digest was written first: further repositories get links to it.
    originals: BTreeMap<String, PathBuf>,
    /// The descriptors of each repository's `index.json`.
    entries: BTreeMap<String, Vec<Value>>,
}

impl ZotRoot {
    /// # Panics
    /// If the directory cannot be written.
    pub fn new(directory: PathBuf) -> Self {
        let root = Self { directory, originals: BTreeMap::new(), entries: BTreeMap::new() };
        for (path, content) in [
            ("cache.db", "not a database"),
            ("meta.db", "not a database"),
            ("_sessions/session_ABC", "a session"),
            ("_trivy/db/trivy.db", "a database"),
            ("_notation/trustpolicy.json", "{}"),
        ] {
            root.write(path, content.as_bytes());
        }
        root
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    pub fn repository(&self, name: &str) -> Layout {
        Layout::at(self.directory.join(name))
    }

    pub fn blob_path(&self, repository: &str, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        self.directory.join(repository).join("blobs").join(algorithm).join(hex)
    }

    /// Puts content under a digest, a link if another repository has it.
    pub fn put_as(&mut self, repository: &str, digest: &str, content: &[u8]) {
        let path = self.blob_path(repository, digest);
        if path.exists() {
            return;
        }
        fs::create_dir_all(path.parent().expect("a blob has a directory")).expect("the directory can be made");
        match self.originals.get(digest) {
            Some(original) => fs::hard_link(original, &path).expect("content can be linked"),
            None => {
                fs::write(&path, content).expect("content can be written");
                self.originals.insert(digest.to_owned(), path);
            }
        }
    }

    pub fn put(&mut self, repository: &str, content: &[u8]) -> String {
        let digest = sha256(content);
        self.put_as(repository, &digest, content);
        digest
    }

    /// Puts a manifest and lists it, under a tag or without one. Its digest.
    pub fn push(&mut self, repository: &str, media_type: &str, manifest: &[u8], tag: Option<&str>) -> String {
        let digest = self.put(repository, manifest);
        let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": manifest.len() });
        if let Some(tag) = tag {
            entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        }
        self.list(repository, entry);
        digest
    }

    /// Adds an entry to a repository's `index.json`.
    pub fn list(&mut self, repository: &str, entry: Value) {
        self.entries.entry(repository.to_owned()).or_default().push(entry);
    }

    /// An image of one config and these layers. Its digest.
    pub fn push_image(&mut self, repository: &str, name: &str, layers: &[&[u8]], tag: Option<&str>) -> String {
        let config = json!({ "architecture": "amd64", "os": "linux", "created_by": name }).to_string();
        self.put(repository, config.as_bytes());
        let layer = |layer: &&[u8]| {
            self.put(repository, layer);
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)
        };
        let layers: Vec<Value> = layers.iter().map(layer).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE_MANIFEST,
            "config": descriptor(IMAGE_CONFIG, config.as_bytes()), "layers": layers,
        });
        self.push(repository, IMAGE_MANIFEST, manifest.to_string().as_bytes(), tag)
    }

    /// An index over manifests of the repository. Its digest.
    pub fn push_index(&mut self, repository: &str, children: &[(&str, &str)], tag: Option<&str>) -> String {
        let child = |(media_type, digest): &(&str, &str)| {
            let size = fs::metadata(self.blob_path(repository, digest)).expect("a child is there").len();
            json!({ "mediaType": media_type, "digest": digest, "size": size })
        };
        let children: Vec<Value> = children.iter().map(child).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": children });
        self.push(repository, IMAGE_INDEX, index.to_string().as_bytes(), tag)
    }

    /// A whole image or index; the last manifest gets the tag, the others are listed without one.
    pub fn push_content(&mut self, repository: &str, content: &Content, tag: &str) {
        for (digest, bytes) in &content.blobs {
            self.put_as(repository, digest, bytes);
        }
        let last = content.manifests.len() - 1;
        for (place, (_, media_type, bytes)) in content.manifests.iter().enumerate() {
            self.push(repository, media_type, bytes, (place == last).then_some(tag));
        }
    }

    /// Sets when a manifest was pushed, in milliseconds since 1970.
    pub fn set_pushed(&self, repository: &str, digest: &str, unix_ms: u64) {
        let file = File::options().write(true).open(self.blob_path(repository, digest)).expect("the manifest opens");
        let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_millis(unix_ms));
        file.set_times(times).expect("its time can be set");
    }

    /// Writes what lists the content, and leftovers of work in progress.
    pub fn finish(&self) {
        for (repository, entries) in &self.entries {
            let index = json!({ "schemaVersion": 2, "manifests": entries });
            self.write(&format!("{repository}/index.json"), index.to_string().as_bytes());
            self.write(&format!("{repository}/oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
            self.write(&format!("{repository}/.uploads/0f5a"), b"half an upload");
            for file in ["index.json", "oci-layout"] {
                self.write(&format!("{repository}/.sync/0f5a/{repository}/{file}"), b"{}");
            }
        }
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.directory.join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("the directory can be made");
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}
