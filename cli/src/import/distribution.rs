//! A root of distribution (Docker's registry, Debian's docker-registry): `blobs/` has every content
//! once, and a repository has a file `link` for each digest it may show: one for each manifest, one
//! for each blob, one for what each tag points at. A digest without a link is not in the
//! repository, whatever `blobs/` has.

use std::{collections::HashMap, fs::File, io};

use orlop_api::protocol::{Repository, Tag};
use orlop_engine::{Algorithm, Digest};

use super::{
    source::{Listed, Listing, Oddity, Part, Place, Places},
    tree::{Tree, join, modified_ms, read},
};

/// The largest file `link`, in bytes: a SHA-512 digest and a line end fit.
const LINK_BYTES_MAX: u64 = 256;

/// Where the tree with `repositories` and `blobs` begins below the root that was named.
const BASES: [&str; 2] = ["docker/registry/v2", ""];

pub struct Distribution {
    base: &'static str,
}

impl Distribution {
    /// Looks for the two directories.
    pub fn find(tree: &Tree) -> Option<Self> {
        let has = |base: &str| {
            let names = tree.directories(base).unwrap_or_default();
            ["blobs", "repositories"].iter().all(|wanted| names.iter().any(|name| name == wanted))
        };
        BASES.into_iter().find(|base| has(base)).map(|base| Distribution { base })
    }

    /// Every directory with `_manifests` whose path is the name of a repository, in byte order.
    pub fn places(&self, tree: &Tree) -> io::Result<Places> {
        let top = join(self.base, "repositories");
        let mut found = Places::default();
        let mut waiting = vec![String::new()];
        while let Some(name) = waiting.pop() {
            let path = if name.is_empty() { top.clone() } else { join(&top, &name) };
            for directory in tree.directories(&path)? {
                if directory == "_manifests" {
                    match Repository::parse(&name) {
                        Ok(repository) => found.places.push(Place { repository, path: path.clone() }),
                        Err(error) => {
                            found.oddities.push(Oddity { path: tree.shown(&path), reason: error.to_string() });
                        }
                    }
                } else if !directory.starts_with('_') {
                    waiting.push(join(&name, &directory));
                }
            }
        }
        found.places.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Manifests and tags of a repository. Both were pushed when their links were written.
    pub fn listing(&self, tree: &Tree, place: &Place) -> Result<Listing, Oddity> {
        let manifests = join(&place.path, "_manifests");
        let odd = |path: &str, reason: String| Oddity { path: tree.shown(path), reason };
        let names = |path: &str| tree.directories(path).map_err(|error| odd(path, error.to_string()));
        let mut listing = Listing::default();
        let mut places: HashMap<Digest, usize> = HashMap::new();
        for algorithm in Algorithm::ALL {
            let directory = format!("{manifests}/revisions/{algorithm}");
            for hex in names(&directory)? {
                let path = format!("{directory}/{hex}/link");
                let Ok(link) = tree.file(&path) else { continue };
                match format!("{algorithm}:{hex}").parse::<Digest>() {
                    Ok(digest) => {
                        places.insert(digest, listing.manifests.len());
                        let pushed_ms = modified_ms(&link);
                        listing.manifests.push(Listed { digest, media_type: None, pushed_ms, tags: Vec::new() });
                    }
                    Err(error) => listing.oddities.push(odd(&path, error.to_string())),
                }
            }
        }
        let directory = format!("{manifests}/tags");
        for name in names(&directory)? {
            let path = format!("{directory}/{name}/current/link");
            match tagged(tree, &path, &name) {
                Ok((tag, digest, pushed_ms)) => match places.get(&digest) {
                    Some(place) => listing.manifests[*place].tags.push((tag, pushed_ms)),
                    None => {
                        let reason = format!("it points at {digest}, which the repository does not have");
                        listing.oddities.push(odd(&path, reason));
                    }
                },
                Err(reason) => listing.oddities.push(odd(&path, reason)),
            }
        }
        Ok(listing)
    }

    pub fn content(&self, tree: &Tree, place: &Place, digest: &Digest, part: Part) -> io::Result<File> {
        let links = match part {
            Part::Manifest => "_manifests/revisions",
            Part::Blob => "_layers",
        };
        tree.file(&format!("{}/{links}/{}/{}/link", place.path, digest.algorithm(), digest.hex()))?;
        tree.file(&self.blob_path(digest))
    }

    pub fn blob_path(&self, digest: &Digest) -> String {
        let hex = digest.hex();
        join(self.base, &format!("blobs/{}/{}/{hex}/data", digest.algorithm(), &hex[..2]))
    }
}

/// Reads the link of a tag: what it points at, and when it was pushed.
fn tagged(tree: &Tree, path: &str, name: &str) -> Result<(Tag, Digest, u64), String> {
    let tag = Tag::parse(name).map_err(|error| error.to_string())?;
    let link = tree.file(path).map_err(|error| error.to_string())?;
    let pushed_ms = modified_ms(&link);
    let text = read(link, LINK_BYTES_MAX).map_err(|error| error.to_string())?;
    let digest = String::from_utf8_lossy(&text).trim().parse::<Digest>().map_err(|error| error.to_string())?;
    Ok((tag, digest, pushed_ms))
}
