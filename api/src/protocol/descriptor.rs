//! Descriptors (image-spec, "OCI Content Descriptors"): an object of a manifest comes in, what the
//! registry must know of it comes out, with every field that is defined checked.
//!
//! `urls` are checked to be strings and then forgotten: the registry never fetches anything.

use orlop_engine::digest::Digest;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use std::fmt;

use super::{
    base64,
    json::{JsonError, Object, StringMap},
    media_type,
};

/// The largest size in bytes: the field is a signed 64-bit number.
pub const SIZE_BYTES_MAX: u64 = i64::MAX as u64;

const FIELDS: [&str; 8] = ["mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform"];

/// What a manifest says of content it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// In bytes, at most `SIZE_BYTES_MAX`.
    pub size: u64,
}

/// Why an object is no descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    #[error("the field '{field}' is required")]
    Missing { field: &'static str },
    #[error("the field '{field}': {error}")]
    Field { field: &'static str, error: JsonError },
    #[error("the key '{key}' differs from a field of a descriptor by case only")]
    Lookalike { key: String },
    #[error("the field '{field}' must be 1 to {} printable ASCII characters", media_type::MEDIA_TYPE_BYTES_MAX)]
    MediaType { field: &'static str },
    #[error("the field 'digest': {0}")]
    Digest(#[from] orlop_engine::digest::ParseError),
    #[error("the field 'size' must be at most {SIZE_BYTES_MAX}")]
    Size,
    #[error("the field 'data' must be base 64 with padding of exactly the content that digest and size name")]
    Data,
}

impl Descriptor {
    pub fn read(object: &Object<'_>) -> Result<Self, DescriptorError> {
        if let Some(key) = object.lookalike(&FIELDS) {
            return Err(DescriptorError::Lookalike { key: key.to_owned() });
        }
        let media_type: String = required(object, "mediaType")?;
        if !media_type::is_relayable(&media_type) {
            return Err(DescriptorError::MediaType { field: "mediaType" });
        }
        let digest: Digest = required::<String>(object, "digest")?.parse()?;
        let size = required(object, "size")?;
        if size > SIZE_BYTES_MAX {
            return Err(DescriptorError::Size);
        }
        optional::<Vec<String>>(object, "urls")?;
        optional::<StringMap>(object, "annotations")?;
        optional::<Object<'_>>(object, "platform")?;
        if let Some(artifact_type) = optional::<String>(object, "artifactType")?
            && !artifact_type.is_empty()
            && !media_type::is_relayable(&artifact_type)
        {
            return Err(DescriptorError::MediaType { field: "artifactType" });
        }
        if let Some(data) = optional::<String>(object, "data")? {
            let content = base64::decode(&data).ok_or(DescriptorError::Data)?;
            if content.len() as u64 != size || Digest::of(digest.algorithm(), &content) != digest {
                return Err(DescriptorError::Data);
            }
        }
        Ok(Descriptor { media_type, digest, size })
    }
}

/// A list of descriptors, read one after the other: the first bad one ends the reading.
#[derive(Debug)]
pub struct DescriptorList(pub Vec<Descriptor>);

impl<'de> Deserialize<'de> for DescriptorList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = DescriptorList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of descriptors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DescriptorList, A::Error> {
                let mut descriptors = Vec::new();
                while let Some(object) = list.next_element::<Object<'de>>()? {
                    let index = descriptors.len();
                    let place = |error| A::Error::custom(format_args!("descriptor {index}: {error}"));
                    descriptors.push(Descriptor::read(&object).map_err(place)?);
                }
                Ok(DescriptorList(descriptors))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

fn required<'a, T: Deserialize<'a>>(object: &Object<'a>, field: &'static str) -> Result<T, DescriptorError> {
    optional(object, field)?.ok_or(DescriptorError::Missing { field })
}

fn optional<'a, T: Deserialize<'a>>(object: &Object<'a>, field: &'static str) -> Result<Option<T>, DescriptorError> {
    object.read(field).map_err(|error| DescriptorError::Field { field, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BRACES: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn read(text: &str) -> Result<Descriptor, DescriptorError> {
        Descriptor::read(&Object::parse(text).unwrap())
    }

    fn with_size(size: &str) -> Result<u64, DescriptorError> {
        read(&format!(r#"{{"mediaType":"a/b","digest":"{EMPTY}","size":{size}}}"#)).map(|descriptor| descriptor.size)
    }

    #[test]
    fn all_fields_and_unknown_ones() {
        let text = format!(
            r#"{{"mediaType":"a/b","digest":"{BRACES}","size":2,"urls":["http://169.254.169.254/"],"data":"e30=",
               "annotations":{{"<b>":"\u001b"}},"artifactType":"","platform":{{"os":"linux"}},"org.example":[{{}}]}}"#
        );
        let digest = BRACES.parse().unwrap();
        assert_eq!(read(&text), Ok(Descriptor { media_type: "a/b".to_owned(), digest, size: 2 }));
    }

    #[test]
    fn sizes_are_integers_of_63_bits() {
        assert_eq!(with_size("0"), Ok(0));
        assert_eq!(with_size("9223372036854775807"), Ok(SIZE_BYTES_MAX));
        assert_eq!(with_size("9223372036854775808"), Err(DescriptorError::Size));
        for bad in ["-1", "-0", "1.0", "1e3", "\"1\"", "18446744073709551616", "true", "[]"] {
            assert!(matches!(with_size(bad), Err(DescriptorError::Field { field: "size", .. })), "{bad}");
        }
        assert_eq!(with_size("null"), Err(DescriptorError::Missing { field: "size" }));
    }

    #[test]
    fn broken_fields_are_named() {
        let base = format!(r#""digest":"{EMPTY}","size":0"#);
        for (text, part) in [
            (format!("{{{base}}}"), "'mediaType' is required"),
            (format!(r#"{{{base},"mediaType":""}}"#), "'mediaType' must be 1 to"),
            (format!(r#"{{{base},"mediaType":"a\nb"}}"#), "'mediaType' must be 1 to"),
            (r#"{"mediaType":"a/b","digest":"sha256:x","size":0}"#.to_owned(), "'digest': a sha256 digest has 64"),
            (format!(r#"{{{base},"mediaType":"a/b","Digest":"{BRACES}"}}"#), "'Digest' differs"),
            (format!(r#"{{{base},"mediaType":"a/b","urls":"x"}}"#), "'urls'"),
            (format!(r#"{{{base},"mediaType":"a/b","urls":[1]}}"#), "'urls'"),
            (format!(r#"{{{base},"mediaType":"a/b","annotations":{{"a":1}}}}"#), "'annotations'"),
            (format!(r#"{{{base},"mediaType":"a/b","annotations":{{"a":"","a":""}}}}"#), "'annotations'"),
            (format!(r#"{{{base},"mediaType":"a/b","platform":[]}}"#), "'platform'"),
            (format!(r#"{{{base},"mediaType":"a/b","artifactType":"\u0000"}}"#), "'artifactType'"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn embedded_content_must_be_the_content() {
        let with = |data: &str, size: u64| {
            read(&format!(r#"{{"mediaType":"a/b","digest":"{BRACES}","size":{size},"data":"{data}"}}"#))
        };
        assert!(with("e30=", 2).is_ok());
        for (data, size) in [("e30=", 3), ("e30", 2), ("e31=", 2), ("W10=", 2), ("", 2), ("", 0)] {
            assert_eq!(with(data, size), Err(DescriptorError::Data), "{data} {size}");
        }
    }
}
