//! What another registry's files say: repositories, what is pushed into each, and its bytes.
//!
//! In: a root. Out: [`Place`]s, a [`Listing`] of each, open files. Nothing here is trusted: digests
//! are compared and manifests are checked by whoever takes them in.

use std::{fs::File, io, path::Path};

use clap::ValueEnum;
use orlop_api::protocol::{Repository, Tag};
use orlop_engine::Digest;
use serde::Serialize;

use super::{distribution::Distribution, layout, tree::Tree, zot};
use crate::exit::{Exit, Failure};

/// How a root is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A zot root: an OCI layout for each repository.
    Zot,
    /// A root of distribution (docker-registry): shared blobs, and links to them.
    Distribution,
    /// One OCI layout: one repository.
    OciLayout,
}

/// A repository and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub repository: Repository,
    /// Its directory, below the root.
    pub path: String,
}

/// Something that cannot be taken over, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    pub path: String,
    pub reason: String,
}

/// What a walk over the tree found.
#[derive(Debug, Default)]
pub struct Places {
    pub places: Vec<Place>,
    pub oddities: Vec<Oddity>,
}

/// What was pushed into a repository.
#[derive(Debug, Default)]
pub struct Listing {
    pub manifests: Vec<Listed>,
    pub oddities: Vec<Oddity>,
}

/// A manifest under its digest, once, with everything that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub digest: Digest,
    /// As the listing says; not every layout keeps it.
    pub media_type: Option<String>,
    /// When it was pushed, as far as files tell: milliseconds since 1970.
    pub pushed_ms: u64,
    /// Tags, and when each was pushed.
    pub tags: Vec<(Tag, u64)>,
}

/// What a digest is asked for as: some layouts keep manifests and blobs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Manifest,
    Blob,
}

/// An open root.
pub struct Source {
    tree: Tree,
    layout: Layout,
}

enum Layout {
    Zot,
    Distribution(Distribution),
    Single(Repository),
}

impl Source {
    /// Opens a root of the kind that is said, or that its files show. `name` is for a single
    /// layout, which does not have one. Errors: it cannot be read, or is something else.
    pub fn open(path: &Path, kind: Option<Kind>, name: Option<Repository>) -> Result<Self, Failure> {
        let shown = path.display();
        let unreadable = |error| Failure::new(Exit::Root, format!("cannot read {shown}: {error}"));
        let refused = |reason: &str| Failure::new(Exit::Configuration, format!("{shown} {reason}"));
        let tree = Tree::open(path).map_err(unreadable)?;
        let kind = match kind {
            Some(kind) => kind,
            None => detect(&tree).map_err(unreadable)?.ok_or_else(|| {
                refused(
                    "is neither a zot root, a distribution root nor an OCI layout: no repository is in it; \
                     name the directory that has them, or say with --as what it is",
                )
            })?,
        };
        let layout = match kind {
            Kind::Zot => Layout::Zot,
            Kind::Distribution => Layout::Distribution(
                Distribution::find(&tree)
                    .ok_or_else(|| refused("is no distribution root: docker/registry/v2/repositories is missing"))?,
            ),
            Kind::OciLayout if !layout::is_layout(&tree, "") => {
                return Err(refused("is no OCI layout: oci-layout or index.json is missing"));
            }
            Kind::OciLayout => Layout::Single(name.clone().ok_or_else(|| {
                refused("is one OCI layout, which has no name; say with --repository which repository it becomes")
            })?),
        };
        match (&layout, name) {
            (Layout::Zot | Layout::Distribution(_), Some(_)) => {
                Err(refused("has repositories with names; --repository is for a single OCI layout"))
            }
            _ => Ok(Source { tree, layout }),
        }
    }

    pub fn kind(&self) -> Kind {
        match self.layout {
            Layout::Zot => Kind::Zot,
            Layout::Distribution(_) => Kind::Distribution,
            Layout::Single(_) => Kind::OciLayout,
        }
    }

    /// Every repository. Blocks.
    pub fn places(&self) -> io::Result<Places> {
        match &self.layout {
            Layout::Zot => zot::places(&self.tree),
            Layout::Distribution(distribution) => distribution.places(&self.tree),
            Layout::Single(repository) => {
                let place = Place { repository: repository.clone(), path: String::new() };
                Ok(Places { places: vec![place], oddities: Vec::new() })
            }
        }
    }

    /// What was pushed into a repository. Blocks. Errors: it cannot be read at all.
    pub fn listing(&self, place: &Place) -> Result<Listing, Oddity> {
        match &self.layout {
            Layout::Zot | Layout::Single(_) => layout::listing(&self.tree, &place.path),
            Layout::Distribution(distribution) => distribution.listing(&self.tree, place),
        }
    }

    /// The bytes of a digest, if the repository has it. Blocks. Errors: `NotFound` if not.
    pub fn content(&self, place: &Place, digest: &Digest, part: Part) -> io::Result<File> {
        match &self.layout {
            Layout::Zot | Layout::Single(_) => self.tree.file(&layout::blob_path(&place.path, digest)),
            Layout::Distribution(distribution) => distribution.content(&self.tree, place, digest, part),
        }
    }

    /// Where the bytes of a digest should be, for people.
    pub fn content_path(&self, place: &Place, digest: &Digest) -> String {
        self.tree.shown(&match &self.layout {
            Layout::Zot | Layout::Single(_) => layout::blob_path(&place.path, digest),
            Layout::Distribution(distribution) => distribution.blob_path(digest),
        })
    }
}

/// A root that is a layout itself is one; zot keeps one in each directory below.
fn detect(tree: &Tree) -> io::Result<Option<Kind>> {
    if layout::is_layout(tree, "") {
        return Ok(Some(Kind::OciLayout));
    }
    if Distribution::find(tree).is_some() {
        return Ok(Some(Kind::Distribution));
    }
    Ok((!zot::places(tree)?.places.is_empty()).then_some(Kind::Zot))
}
