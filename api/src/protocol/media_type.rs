//! Media types: a Content-Type header comes in, the bare type or one of the known manifest types
//! comes out. Parameters are ignored (spec, "Pushing Manifests").

/// The longest media type in bytes: two restricted names of RFC 6838 section 4.2 and the slash.
pub const MEDIA_TYPE_BYTES_MAX: usize = 127 + 1 + 127;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
pub const OCTET_STREAM: &str = "application/octet-stream";
pub const JSON: &str = "application/json";

/// Layers whose licence may forbid a registry to hold them: a manifest that names them is complete
/// without them (image-spec, "Non-Distributable Layers"; Docker manifest V2 schema 2).
const NON_DISTRIBUTABLE: [&str; 4] = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    DOCKER_FOREIGN_LAYER,
];

/// The documents this registry understands as manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestType {
    OciManifest,
    OciIndex,
    DockerManifest,
    DockerList,
}

impl ManifestType {
    pub const ALL: [ManifestType; 4] =
        [ManifestType::OciManifest, ManifestType::OciIndex, ManifestType::DockerManifest, ManifestType::DockerList];

    pub const fn media_type(self) -> &'static str {
        match self {
            ManifestType::OciManifest => OCI_MANIFEST,
            ManifestType::OciIndex => OCI_INDEX,
            ManifestType::DockerManifest => DOCKER_MANIFEST,
            ManifestType::DockerList => DOCKER_LIST,
        }
    }

    /// The type of a bare media type. Names are compared without regard to case (RFC 9110, 8.3.1).
    pub fn of(media_type: &str) -> Option<Self> {
        ManifestType::ALL.into_iter().find(|known| known.media_type().eq_ignore_ascii_case(media_type))
    }

    /// True if its content is a list of manifests rather than a config and layers.
    pub const fn is_index(self) -> bool {
        matches!(self, ManifestType::OciIndex | ManifestType::DockerList)
    }
}

/// True for layers that need not be pushed.
pub fn is_non_distributable(media_type: &str) -> bool {
    NON_DISTRIBUTABLE.contains(&media_type)
}

/// The bare type of a Content-Type header: what stands before the first semicolon, without the
/// space around it. `None` if that is not `type/subtype` of tokens within the length limit.
pub fn essence(header: &str) -> Option<&str> {
    let bare = header.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
    let (kind, subtype) = bare.split_once('/')?;
    (bare.len() <= MEDIA_TYPE_BYTES_MAX && is_token(kind) && is_token(subtype)).then_some(bare)
}

/// True if `text` can stand as a media type in a descriptor. Weaker than RFC 6838: what clients
/// have published is relayed, not judged; but it is printable ASCII and short.
pub fn is_relayable(text: &str) -> bool {
    (1..=MEDIA_TYPE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_space_are_ignored() {
        for header in [OCI_INDEX.to_owned(), format!("{OCI_INDEX}; charset=utf-8"), format!(" {OCI_INDEX}\t;x")] {
            assert_eq!(essence(&header), Some(OCI_INDEX));
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        let long = format!("a/{}", "b".repeat(MEDIA_TYPE_BYTES_MAX));
        for header in ["", ";", "text", "/", "a/", "/b", "a/b/c", "a/b c", "a/\u{e9}", "a/b, c/d", &long] {
            assert_eq!(essence(header), None, "{header:?}");
        }
    }

    #[test]
    fn known_types_are_found_in_any_case() {
        for known in ManifestType::ALL {
            assert_eq!(ManifestType::of(known.media_type()), Some(known));
            assert_eq!(ManifestType::of(&known.media_type().to_uppercase()), Some(known));
        }
        assert_eq!(ManifestType::of("application/json"), None);
        assert_eq!(ManifestType::of("application/vnd.oci.artifact.manifest.v1+json"), None);
    }

    #[test]
    fn only_foreign_layers_may_be_absent() {
        assert!(is_non_distributable(DOCKER_FOREIGN_LAYER));
        assert!(!is_non_distributable("application/vnd.oci.image.layer.v1.tar+gzip"));
    }
}
