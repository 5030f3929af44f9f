//! Stores whose files a test can change behind the engine's back, and short ways to scrub them.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use orlop_engine::{
    Digest, Engine, Error, IndexKind, Namespace, Options,
    damage::Damaged,
    io::{Backend, Disk, Pool, StorePath},
    tier::LocalTier,
};
use orlop_gc::{Flow, PassReport, ScrubOptions, scrub};

use crate::common::*;

/// A disk as its owner sees it.
pub enum Place {
    Simulated(Box<Parts>),
    Real(tempfile::TempDir),
}

/// Bytes that fill more than one chunk and more than one unit of reading.
pub const LARGE: usize = (2 << 20) + 12_345;

/// Bytes that depend on the seed at every offset.
pub fn bytes(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect::<Vec<u8>>().into()
}

impl Place {
    pub fn simulated() -> Self {
        Place::Simulated(Box::new(Parts::new(11)))
    }

    pub fn real() -> Self {
        Place::Real(tempfile::tempdir().expect("a directory"))
    }

    pub async fn open(&self) -> Engine {
        match self {
            Place::Simulated(parts) => parts.open().await,
            Place::Real(root) => {
                let options = Options { backend: Backend::Threads, index: IndexKind::Memory, ..options() };
                Engine::open(root.path(), options).await.expect("opens")
            }
        }
    }

    /// What lies under a path.
    pub async fn read(&self, path: &StorePath) -> Option<Vec<u8>> {
        match self {
            Place::Simulated(parts) => {
                let file = parts.disk.open(path, false).await.ok()?;
                let buffer = Pool::new(LARGE * 2).take(LARGE * 2).await;
                Some(parts.disk.read(&file, buffer, 0, LARGE * 2).await.expect("read").filled().to_vec())
            }
            Place::Real(root) => fs::read(root.path().join(path.as_str())).ok(),
        }
    }

    pub async fn write(&self, path: &StorePath, content: &[u8]) {
        self.remove(path).await;
        match self {
            Place::Simulated(parts) => {
                let file = parts.disk.create(0).await.expect("created");
                let mut buffer = Pool::new(LARGE * 2).take(content.len()).await;
                buffer.extend(content);
                buffer.pad_to_alignment();
                parts.disk.write(&file, buffer, 0).await.expect("written");
                orlop_engine::io::keep(&parts.disk, &file, Some(content.len() as u64), path).await.expect("kept");
            }
            Place::Real(root) => fs::write(root.path().join(path.as_str()), content).expect("written"),
        }
    }

    pub async fn remove(&self, path: &StorePath) {
        match self {
            Place::Simulated(parts) => parts.disk.unlink(path).await.expect("removed"),
            Place::Real(root) => drop(fs::remove_file(root.path().join(path.as_str()))),
        }
    }

    /// Flips a bit of what lies under a path.
    pub async fn flip(&self, path: &StorePath, at: usize) {
        match self {
            Place::Simulated(parts) => parts.disk.corrupt(path, at as u64, 0x10).expect("there is such a byte"),
            Place::Real(root) => {
                let path = root.path().join(path.as_str());
                let mut content = fs::read(&path).expect("readable");
                content[at] ^= 0x10;
                fs::write(&path, content).expect("written");
            }
        }
    }

    /// Asserts that nothing is wrong with the store; only a simulated one can be looked at.
    pub async fn check(&self, engine: Engine) {
        engine.close().await.expect("closed");
        if let Place::Simulated(parts) = self {
            parts.check().await;
        }
    }
}

pub fn file_of(digest: &Digest) -> StorePath {
    LocalTier::path(digest)
}

pub fn quarantined(damaged: &Damaged) -> Option<StorePath> {
    damaged.quarantined.as_ref().map(|name| StorePath::root().join("quarantine").join(name))
}

/// A pass from the start to its end, as fast as it goes.
pub async fn pass(engine: &Engine) -> PassReport {
    let mut on = |_: &PassReport| Flow::Continue(());
    let report = scrub(engine, &ScrubOptions::default(), false, &mut on).await.expect("scrubs");
    assert!(report.ended_unix_ms.is_some(), "{report:?}");
    report
}

/// Damaged blobs by their digest.
pub async fn listed(engine: &Engine) -> BTreeMap<Digest, Damaged> {
    let listed = engine.damaged(None, 1000).await.expect("listed");
    assert_eq!(listed.len() as u64, engine.damaged_count(), "the count is that of the list");
    listed.into_iter().map(|damaged| (damaged.digest, damaged)).collect()
}

pub async fn is_missing(engine: &Engine, ns: &Namespace, digest: &Digest) -> bool {
    let found = engine.find(ns, digest).await;
    let opened = engine.open_blob(ns, digest).await;
    match (&found, &opened) {
        (Err(Error::NotFound { .. }), Err(Error::NotFound { .. })) => true,
        (Ok(_), Ok(_)) => false,
        _ => panic!("{:?}, {:?}", found, opened.map(|_| ())),
    }
}

pub async fn pull_whole(engine: &Engine, ns: &Namespace, digest: &Digest) -> orlop_engine::Result<Bytes> {
    engine.open_blob(ns, digest).await?.bytes(LARGE * 2).await
}
