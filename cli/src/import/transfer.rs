//! An import under way: several repositories at a time, and within each several manifests.
//!
//! In: a [`Source`] and a [`Target`]. Out: a [`Report`]. What has become true for each manifest that
//! is reported as imported: its content, then itself with its tags, came in as by a push. Whatever
//! ends the process in between, running it again does the rest.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    thread::available_parallelism,
};

use orlop_engine::{Digest, Moment};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinSet, spawn_blocking},
};

use super::{
    report::Report,
    repository::Repository,
    source::{Place, Source},
    target::Target,
    times::Ages,
};
use crate::{
    exit::{Exit, Failure},
    progress::Progress,
};

/// Repositories under way at the same time: enough that the commits of small ones come in groups.
const REPOSITORIES_MAX: usize = 16;

/// Manifests under way at the same time, over all repositories.
const MANIFESTS_MAX: usize = 128;

/// Blobs under way at the same time, over all manifests. Each has an open file.
const BLOBS_MAX: usize = 256;

/// Files that are read at the same time for each core: one is hashed while another is fetched.
const READING_PER_CORE: usize = 2;

/// Locks for digests, so that content two repositories have is read once.
const CONTENT_LOCKS: usize = 4096;

/// What the operator asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub ages: Ages,
    /// Tags of the source win over newer ones of the store.
    pub overwrite_tags: bool,
    /// Manifests may miss parts, as the configuration says for pushes.
    pub sparse_manifests: bool,
}

pub struct Transfer {
    pub source: Source,
    pub target: Target,
    pub wishes: Wishes,
    pub started: Moment,
    pub progress: Arc<Progress>,
    report: Mutex<Report>,
    manifests: Arc<Semaphore>,
    blobs: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    contents: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    stop: watch::Sender<bool>,
}

impl Transfer {
    pub fn new(
        source: Source,
        target: Target,
        wishes: Wishes,
        started: Moment,
        stop: watch::Sender<bool>,
    ) -> Arc<Self> {
        Arc::new(Transfer {
            source,
            target,
            wishes,
            started,
            progress: Arc::default(),
            report: Mutex::default(),
            manifests: Arc::new(Semaphore::new(MANIFESTS_MAX)),
            blobs: Arc::new(Semaphore::new(BLOBS_MAX)),
            reading: Arc::new(Semaphore::new(READING_PER_CORE * available_parallelism().map_or(1, usize::from))),
            contents: (0..CONTENT_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
            stop,
        })
    }

    /// Takes everything over. Errors: the source cannot be listed; the store failed.
    pub async fn run(self: Arc<Self>) -> Result<Report, Failure> {
        let places = self.clone().look_around().await?;
        let _telling = self.progress.tell();
        let mut under_way = JoinSet::new();
        let mut failure = None;
        for place in places {
            if under_way.len() == REPOSITORIES_MAX {
                self.join(&mut under_way, &mut failure).await;
            }
            if self.is_stopped() {
                break;
            }
            under_way.spawn(Repository::import(self.clone(), place));
        }
        while !under_way.is_empty() {
            self.join(&mut under_way, &mut failure).await;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let mut report = std::mem::take(&mut *self.report());
        report.stopped = self.is_stopped();
        Ok(report)
    }

    /// Finds the repositories and counts what is in them.
    async fn look_around(self: Arc<Self>) -> Result<Vec<Place>, Failure> {
        let found = spawn_blocking(move || {
            let places = self.source.places()?;
            for place in &places.places {
                // What cannot be listed is reported when its turn comes.
                let count = self.source.listing(place).map_or(0, |listing| listing.manifests.len());
                self.progress.expected.fetch_add(count as u64, Relaxed);
            }
            places.oddities.into_iter().for_each(|oddity| self.report().oddities.push(oddity));
            Ok(places.places)
        });
        let unreadable = |error: std::io::Error| Failure::new(Exit::Root, format!("cannot list the source: {error}"));
        found.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unreadable)
    }

    /// Waits for one of several. The first failure stops all others.
    pub async fn join<T: 'static>(
        &self,
        under_way: &mut JoinSet<Result<T, Failure>>,
        failure: &mut Option<Failure>,
    ) -> Option<T> {
        let outcome = match under_way.join_next().await? {
            Ok(outcome) => outcome,
            Err(error) => Err(Failure::new(Exit::Failed, format!("a task of the import ended early: {error}"))),
        };
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.stop.send_replace(true);
                failure.get_or_insert(error);
                None
            }
        }
    }

    pub fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().expect("no panic holds it")
    }

    /// Asked between objects: what is begun is ended.
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Leave to work on one more manifest.
    pub async fn manifest_permit(&self) -> OwnedSemaphorePermit {
        self.manifests.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Leave to work on one more blob.
    pub async fn blob_permit(&self) -> OwnedSemaphorePermit {
        self.blobs.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Leave to read and hash one more file.
    pub async fn reading_permit(&self) -> OwnedSemaphorePermit {
        self.reading.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Held while content is taken in: whoever wants the same content then finds it stored.
    pub async fn content_lock(&self, digest: &Digest) -> tokio::sync::MutexGuard<'_, ()> {
        let slot = self.hasher.hash_one(digest) % CONTENT_LOCKS as u64;
        self.contents[usize::try_from(slot).expect("below the number of locks")].lock().await
    }
}
