//! The store that is collected: images that are kept and images that become garbage.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Namespace, Options,
    index::{RocksIndex, RocksOptions},
    io::{Backend, open_disk},
};
use orlop_gc::{Flow, Report};
use tokio::task::JoinSet;

use crate::{Outcome, counting::Counting};

/// Blobs that an image needs.
pub const IMAGE_BLOBS: u64 = 8;

/// Images committed together while the store is filled.
const RUN_IMAGES: u64 = 32;

/// Runs under way while it is filled.
const WRITERS: usize = 16;

/// Of so many blobs one is a file, and the others lie in the index.
const FILE_EVERY: u64 = 16;
const FILE_BYTES: usize = 80 << 10;
const INLINE_BYTES: usize = 1 << 10;

const REPOSITORIES: u64 = 1000;

/// Images of garbage are numbered from here on.
const GARBAGE_FROM: u64 = 1 << 40;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub struct Store {
    pub engine: Engine,
    pub index: Arc<Counting>,
    root: PathBuf,
    next_garbage: AtomicU64,
}

impl Store {
    pub async fn open(root: &Path) -> Outcome<Self> {
        fs::create_dir_all(root)?;
        let index = Arc::new(Counting::over(RocksIndex::open(&root.join("index"), RocksOptions::default())?));
        let disk = open_disk(root, Backend::Auto)?.disk;
        // An epoch is over when the bench says so. A lease lasts for one more: clients that push while a
        // run begins are not disturbed by it.
        let options = Options { lease_epochs: 1, ..Options::default() };
        let engine = Engine::simulated(disk, index.clone(), options).await?;
        engine.waive_earlier_answers();
        let started = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?;
        // Another run of the bench must not push what an earlier one collected only half of.
        let next_garbage = AtomicU64::new(GARBAGE_FROM + (started.as_secs() << 24));
        Ok(Store { engine, index, root: root.to_owned(), next_garbage })
    }

    pub async fn close(&self) -> Outcome<()> {
        Ok(self.engine.close().await?)
    }

    /// Fills it with `blobs`, unless that was done before, and runs the collection that finds that all
    /// of them are kept.
    pub async fn fill(&self, blobs: u64) -> Outcome<()> {
        let note = self.root.join("filled");
        if fs::read_to_string(&note).is_ok_and(|filled| filled == blobs.to_string()) {
            return Ok(());
        }
        let start = Instant::now();
        push(&self.engine, 0, blobs / IMAGE_BLOBS).await?;
        println!("filled with {blobs} blobs in {:.1} s", start.elapsed().as_secs_f64());
        self.engine.advance_epoch().await?;
        let start = Instant::now();
        let report = self.collect(false).await?;
        println!("settled {} in {:.1} s", report.settled, start.elapsed().as_secs_f64());
        Ok(fs::write(note, blobs.to_string())?)
    }

    /// Pushes `blobs` in images of their own and deletes the tags. Everything of them may go.
    pub async fn make_garbage(&self, blobs: u64) -> Outcome<()> {
        let images = blobs.div_ceil(IMAGE_BLOBS);
        let first = self.next_garbage.fetch_add(images, Ordering::Relaxed);
        push(&self.engine, first, images).await?;
        for run in (first..first + images).step_by(REPOSITORIES as usize) {
            let mut deletions = JoinSet::new();
            for image in run..(run + REPOSITORIES).min(first + images) {
                let (engine, batch) = (self.engine.clone(), Batch::new(namespace(image)).unbind(tag(image)));
                deletions.spawn(async move { engine.commit(batch).await });
            }
            while let Some(deleted) = deletions.join_next().await {
                let _receipt = deleted??;
            }
        }
        self.engine.advance_epoch().await?;
        Ok(())
    }

    /// A run, as a server does it. What was pushed before the epoch that ends now may go.
    /// With `rests` as beside a service, without as fast as it can.
    pub async fn collect(&self, rests: bool) -> Outcome<Report> {
        self.engine.advance_epoch().await?;
        let options = orlop_gc::Options { delay: 0, document_delay: 0, rests, ..orlop_gc::Options::default() };
        Ok(orlop_gc::collect(&self.engine, &options, &mut |_: &Report| Flow::Continue(())).await?)
    }
}

pub fn repository(image: u64) -> String {
    let number = image % REPOSITORIES;
    format!("team-{:02}/service-{number:03}", number % 40)
}

fn namespace(image: u64) -> Namespace {
    Namespace::new(&repository(image)).expect("a valid namespace")
}

pub fn tag(image: u64) -> String {
    format!("build-{image}")
}

fn content(number: u64) -> Bytes {
    let bytes = if number.is_multiple_of(FILE_EVERY) { FILE_BYTES } else { INLINE_BYTES };
    number.to_le_bytes().iter().copied().cycle().take(bytes).collect()
}

/// A blob of an image, which may be any number below [`IMAGE_BLOBS`].
pub fn blob(image: u64, at: u64) -> Digest {
    Digest::of(Algorithm::Sha256, &content(image * IMAGE_BLOBS + at))
}

/// Pushes images with their tags.
async fn push(engine: &Engine, first: u64, images: u64) -> Outcome<()> {
    let next = Arc::new(AtomicU64::new(first));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (engine, next) = (engine.clone(), next.clone());
        writers.spawn(async move {
            loop {
                let run = next.fetch_add(RUN_IMAGES, Ordering::Relaxed);
                if run >= first + images {
                    return Ok::<(), orlop_engine::Error>(());
                }
                for image in run..(run + RUN_IMAGES).min(first + images) {
                    push_image(&engine, image).await?;
                }
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(())
}

/// One image in one change: its blobs, a document that needs them, and its tag.
async fn push_image(engine: &Engine, image: u64) -> orlop_engine::Result<()> {
    let mut batch = Batch::new(namespace(image));
    let mut edges = Vec::new();
    for at in 0..IMAGE_BLOBS {
        let digest = blob(image, at);
        batch = batch.blob(engine.seal_bytes(digest, content(image * IMAGE_BLOBS + at)).await?);
        edges.push(Edge::needs(digest));
    }
    let document = Bytes::from(format!(r#"{{"schemaVersion":2,"image":{image}}}"#));
    let digest = Digest::of(Algorithm::Sha256, &document);
    let sealed = engine.seal_bytes(digest, document).await?;
    let batch = batch.document(sealed, MANIFEST.into(), edges).bind(tag(image), digest);
    engine.commit(batch).await.map(drop)
}
