//! One OCI layout, alone or as a repository of zot: `index.json` lists what was pushed, each
//! manifest once for each of its tags and at least once; `blobs/ALGORITHM/HEX` has the bytes.

use std::collections::HashMap;

use orlop_api::protocol::{ManifestType, Tag, layout};
use orlop_engine::Digest;

use super::{
    source::{Listed, Listing, Oddity},
    tree::{Tree, join, modified_ms},
};

/// The largest `oci-layout`, in bytes. It has about thirty.
const MARKER_BYTES_MAX: u64 = 4096;

pub fn is_layout(tree: &Tree, path: &str) -> bool {
    tree.read(&join(path, "oci-layout"), MARKER_BYTES_MAX).is_ok() && tree.has_file(&join(path, "index.json"))
}

pub fn blob_path(path: &str, digest: &Digest) -> String {
    join(path, &format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
}

/// What `index.json` lists. The time of a push is that of the manifest's file: neither layout nor
/// zot's index says it.
pub fn listing(tree: &Tree, path: &str) -> Result<Listing, Oddity> {
    let file = join(path, "index.json");
    let odd = |reason: String| Oddity { path: tree.shown(&file), reason };
    let text = tree.read(&file, layout::INDEX_BYTES_MAX).map_err(|error| odd(error.to_string()))?;
    let index = layout::Index::read(&text).map_err(odd)?;
    let mut listing = Listing::default();
    listing.oddities.extend(index.broken.into_iter().map(odd));
    let mut places: HashMap<Digest, usize> = HashMap::new();
    for entry in index.entries {
        let digest = match entry.digest() {
            Ok(digest) => digest,
            Err(error) => {
                listing.oddities.push(odd(format!("an entry without a usable digest: {error}")));
                continue;
            }
        };
        if ManifestType::of(&entry.media_type).is_none() {
            let found = &entry.media_type;
            listing.oddities.push(odd(format!("{digest} has the type {found:?}, which is not that of a manifest")));
            continue;
        }
        let place = *places.entry(digest).or_insert_with(|| {
            let pushed_ms = tree.file(&blob_path(path, &digest)).map_or(0, |file| modified_ms(&file));
            let media_type = Some(entry.media_type.clone());
            listing.manifests.push(Listed { digest, media_type, pushed_ms, tags: Vec::new() });
            listing.manifests.len() - 1
        });
        let Some(text) = entry.tag() else { continue };
        let listed = &mut listing.manifests[place];
        match Tag::parse(text) {
            Ok(tag) if listed.tags.iter().any(|(known, _)| *known == tag) => {}
            Ok(tag) => listed.tags.push((tag, listed.pushed_ms)),
            Err(error) => listing.oddities.push(odd(format!("{digest} is named {text:?}, which is no tag: {error}"))),
        }
    }
    Ok(listing)
}
