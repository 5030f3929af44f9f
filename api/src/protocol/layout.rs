//! The files `index.json` and `oci-layout` of an image layout: bytes come in, entries come out, and
//! the other way round. Source: image-spec, "OCI Image Layout Specification".
//!
//! What other tools wrote is read with patience: a broken entry is named and the others count, and
//! fields nobody defined stay in place when an index is written again.

use std::collections::BTreeMap;

use orlop_engine::{Digest, digest::ParseError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::media_type::OCI_INDEX;

/// The largest index that is read, in bytes: a million entries.
pub const INDEX_BYTES_MAX: u64 = 256 << 20;

/// The annotation that holds a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What the file `oci-layout` says.
pub const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// One descriptor of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    #[serde(default)]
    pub media_type: String,
    digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// An index and what in it cannot be used.
#[derive(Debug, Default)]
pub struct Index {
    pub entries: Vec<Entry>,
    /// Each with its place in the list.
    pub broken: Vec<String>,
}

impl Entry {
    /// A manifest under a tag, or without one. `size` in bytes.
    pub fn new(media_type: &str, digest: &Digest, size: u64, tag: Option<&str>) -> Self {
        let annotations = tag.map(|tag| (REF_NAME.to_owned(), tag.to_owned())).into_iter().collect();
        Entry { media_type: media_type.to_owned(), digest: digest.to_string(), size, annotations, further: Map::new() }
    }

    pub fn digest(&self) -> Result<Digest, ParseError> {
        self.digest.parse()
    }

    /// The annotation as it stands: the specification allows more than a tag can be.
    pub fn tag(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

impl Index {
    /// Reads `index.json`. Errors: it is not an object with a list of manifests.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut file: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| format!("not the index of a layout: {error}"))?;
        let listed = match file.remove("manifests") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(listed)) => listed,
            Some(_) => return Err("not the index of a layout: 'manifests' is not a list".to_owned()),
        };
        let mut index = Index::default();
        for (place, entry) in listed.into_iter().enumerate() {
            match serde_json::from_value::<Entry>(entry) {
                Ok(entry) => index.entries.push(entry),
                Err(error) => index.broken.push(format!("entry {place}: {error}")),
            }
        }
        Ok(index)
    }

    /// The text of `index.json`.
    pub fn write(entries: &[Entry]) -> Vec<u8> {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
        serde_json::to_vec(&index).expect("strings and numbers always have a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use orlop_engine::Algorithm;

    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let digest = Digest::of(Algorithm::Sha256, b"content");
        let entries = [Entry::new("a/b", &digest, 7, Some("latest")), Entry::new("a/b", &digest, 7, None)];
        let index = Index::read(&Index::write(&entries)).expect("an index");
        assert_eq!(index.entries, entries);
        assert_eq!(index.entries[0].tag(), Some("latest"));
        assert_eq!(index.entries[1].tag(), None);
        assert_eq!(index.entries[1].digest(), Ok(digest));
    }

    #[test]
    fn a_broken_entry_is_named_and_the_others_count() {
        let text = r#"{"schemaVersion":2,"manifests":[{"digest":"sha384:00","size":1,"platform":{"os":"linux"}},{"size":1},7]}"#;
        let index = Index::read(text.as_bytes()).expect("an index");
        assert_eq!(index.entries.len(), 1);
        assert_eq!(index.entries[0].digest(), Err(ParseError::Algorithm));
        assert!(index.broken[0].starts_with("entry 1: missing field `digest`"), "{:?}", index.broken);
        assert_eq!(index.broken.len(), 2);
        let again = String::from_utf8(Index::write(&index.entries)).expect("JSON");
        assert!(again.contains(r#""platform":{"os":"linux"}"#), "{again}");
        for text in ["", "[]", "7", r#"{"manifests":{}}"#] {
            assert!(Index::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Index::read(br#"{"manifests":null}"#).expect("an index").entries.is_empty());
    }
}
