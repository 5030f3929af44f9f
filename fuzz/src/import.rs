//! The trees of other registries, written by somebody hostile: taken over or reported, never more than that.
//!
//! An input is a byte for the kind that the operator says, then files, each ended by the byte 255: a byte for
//! its place, and its content; see `hostile`. Nothing outside the tree is read, no content comes in
//! under a wrong digest, importing again changes nothing, and the checker finds nothing.

#[path = "../../cli/src/import/distribution.rs"]
mod distribution;
#[path = "../../cli/src/import/layout.rs"]
mod layout;
#[path = "../../cli/src/import/report.rs"]
mod report;
#[path = "../../cli/src/import/repository.rs"]
mod repository;
#[path = "../../cli/src/import/source.rs"]
#[allow(dead_code, reason = "the binary and its tests use the rest")]
mod source;
#[path = "../../cli/src/import/target.rs"]
mod target;
#[path = "../../cli/src/import/times.rs"]
#[allow(dead_code, reason = "the binary and its tests use the rest")]
mod times;
#[path = "../../cli/src/import/transfer.rs"]
mod transfer;
#[path = "../../cli/src/import/tree.rs"]
mod tree;
#[path = "../../cli/src/import/zot.rs"]
mod zot;

mod hostile;

use std::{path::Path, sync::Arc};

use orlop_api::protocol::Repository;
use orlop_engine::{
    Algorithm, Digest, Engine, Namespace, Options, check,
    index::MemoryIndex,
    io::{self, Backend},
};
use tokio::sync::watch;

use crate::{engine::RUNTIME, scratch::Scratch};
use report::Report;
use source::{Kind, Source};
use target::Target;
use times::Ages;
use transfer::{Transfer, Wishes};

/// Content up to so many bytes is inline in the store.
const INLINE_BYTES_MAX: usize = 64;

/// A file beside the tree: whoever reads it has left the tree.
const SECRET: &[u8] = b"nobody is to read this";

pub fn run(data: &[u8]) {
    let Some((choice, files)) = data.split_first() else { return };
    let scratch = Scratch::new();
    let root = scratch.path().join("root");
    std::fs::write(scratch.path().join("secret"), SECRET).expect("scratch can be written");
    hostile::write(files, &root);
    let kind = [None, Some(Kind::Zot), Some(Kind::Distribution), Some(Kind::OciLayout)][usize::from(choice % 4)];
    let name = (kind == Some(Kind::OciLayout)).then(|| Repository::parse("single").expect("a name"));
    RUNTIME.block_on(async {
        let store = scratch.path().join("store");
        std::fs::create_dir(&store).expect("scratch can be written");
        let disk = io::open_disk(&store, Backend::Threads).expect("a disk can be made").disk;
        let index = Arc::new(MemoryIndex::default());
        let options = Options { inline_bytes_max: INLINE_BYTES_MAX, ..Options::default() };
        let engine = Engine::simulated(disk.clone(), index.clone(), options).await.expect("it opens");
        let wishes =
            Wishes { ages: Ages::FromImport, overwrite_tags: choice & 4 != 0, sparse_manifests: choice & 8 != 0 };
        // A root of another kind is refused before anything is done.
        let Some(first) = import(&engine, &root, kind, name.clone(), wishes).await else { return };
        assert_nothing_came_from_outside(&engine).await;
        let again = import(&engine, &root, kind, name, wishes).await.expect("what was taken once is taken again");
        assert_eq!(again.manifests.imported, 0, "{first}\n{again}");
        assert_eq!(again.bytes.linked + again.bytes.copied + again.bytes.inlined, 0, "{first}\n{again}");
        assert_eq!(again.manifests.present, first.manifests.imported + first.manifests.present, "{first}\n{again}");
        engine.close().await.expect("it closes");
        let found = check::check_parts(index, disk).await.expect("the checker runs");
        assert!(found.is_clean(), "{found}\n{first}");
    });
}

async fn import(
    engine: &Engine,
    root: &Path,
    kind: Option<Kind>,
    name: Option<Repository>,
    wishes: Wishes,
) -> Option<Report> {
    let source = Source::open(root, kind, name).ok()?;
    let target = Target::new(Some(engine.clone()), root.to_owned(), INLINE_BYTES_MAX, true);
    let (stop, _) = watch::channel(false);
    match Transfer::new(source, target, wishes, engine.clock(), stop).run().await {
        Ok(report) => Some(report),
        Err(failure) => panic!("what is wrong with a tree is no failure: {failure}"),
    }
}

async fn assert_nothing_came_from_outside(engine: &Engine) {
    let secret = Digest::of(Algorithm::Sha256, SECRET);
    for name in engine.namespaces(None, usize::MAX).await.expect("they can be listed") {
        let namespace = Namespace::new(&name).expect("a namespace");
        assert!(engine.find(&namespace, &secret).await.is_err(), "{name} has a file from outside of the tree");
    }
}
