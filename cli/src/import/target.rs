//! The store that an import goes into; none for a dry run.
//!
//! In: files and manifests of one repository. Out: what is in the store now, or why one of them is
//! not. Failures of the store itself end the import ([`Failure`]); what is wrong with a file or a
//! manifest is an answer.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use orlop_api::{
    document::{Document, Named, Refusal, Terms},
    protocol::{Manifest, Need, Tag},
};
use orlop_engine::{Adoption, Batch, Digest, Engine, Error, Moment, NameUse, Namespace, Taken};
use tokio::sync::OwnedSemaphorePermit;

use crate::exit::{Exit, Failure};

/// Names read at a time.
const NAMES_PAGE: usize = 1024;

pub struct Target {
    engine: Option<Engine>,
    /// For messages.
    root: PathBuf,
    /// Whether what cannot be linked may be copied.
    may_copy: bool,
    /// A link was refused; the next files are copied at once.
    copies: AtomicBool,
    /// Content up to so many bytes has no file in the store.
    inline_bytes_max: usize,
    /// What a dry run saw so far.
    seen: Mutex<HashSet<Digest>>,
}

/// What became of a file.
pub enum Outcome {
    /// It is in the repository; its size in bytes.
    In(Taken, u64),
    /// Why its content cannot be taken.
    Refused(String),
}

/// A manifest ready to go in.
pub struct Arrival<'a> {
    pub manifest: &'a Manifest,
    pub bytes: Bytes,
    pub digest: Digest,
    pub since: Option<Moment>,
    pub tags: &'a [(Tag, Moment)],
    pub may_miss: &'a (dyn Fn(&Need) -> bool + Sync),
}

impl Target {
    pub fn new(engine: Option<Engine>, root: PathBuf, inline_bytes_max: usize, may_copy: bool) -> Self {
        Target { engine, root, may_copy, copies: AtomicBool::new(false), inline_bytes_max, seen: Mutex::default() }
    }

    /// The tags of a repository; none if it is not there.
    pub async fn names(&self, namespace: &Namespace) -> Result<HashMap<String, NameUse>, Failure> {
        let mut names = HashMap::new();
        let Some(engine) = &self.engine else { return Ok(names) };
        let mut after: Option<String> = None;
        loop {
            let page = match engine.names_used(namespace, after.as_deref(), NAMES_PAGE).await {
                Err(Error::NotFound { .. }) => return Ok(names),
                page => page.map_err(|error| self.failed(&error))?,
            };
            let is_last = page.len() < NAMES_PAGE;
            after = page.last().map(|last| last.name.clone());
            names.extend(page.into_iter().map(|used| (used.name.clone(), used)));
            if is_last {
                return Ok(names);
            }
        }
    }

    /// The label of content that a repository has; empty for a blob.
    pub async fn label(&self, namespace: &Namespace, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        let Some(engine) = &self.engine else { return Ok(None) };
        match engine.find(namespace, digest).await {
            Ok(found) => Ok(Some(found.label)),
            Err(Error::NotFound { .. } | Error::Damaged { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Takes a file in as a blob of the repository. `reading` is the leave to read it.
    pub async fn take(
        &self,
        namespace: &Namespace,
        digest: &Digest,
        file: File,
        reading: OwnedSemaphorePermit,
    ) -> Result<Outcome, Failure> {
        let Some(engine) = &self.engine else { return Ok(self.pretend(digest, &file)) };
        let again = match file.try_clone() {
            Ok(again) => again,
            Err(error) => return Ok(Outcome::Refused(error.to_string())),
        };
        let adoption = if self.copies.load(Relaxed) { Adoption::Copy } else { Adoption::Link };
        match self.adopt(engine, namespace, digest, (file, Some(reading)), adoption).await {
            Err(Error::CannotLink { .. }) if self.may_copy => {
                self.copies.store(true, Relaxed);
                let copied = self.adopt(engine, namespace, digest, (again, None), Adoption::Copy).await;
                copied.or_else(|error| self.sorted(error))
            }
            taken => taken.or_else(|error| self.sorted(error)),
        }
    }

    async fn adopt(
        &self,
        engine: &Engine,
        namespace: &Namespace,
        digest: &Digest,
        (file, reading): (File, Option<OwnedSemaphorePermit>),
        adoption: Adoption,
    ) -> orlop_engine::Result<Outcome> {
        let adopted = engine.adopt(*digest, file, adoption).await?;
        drop(reading);
        let bytes = adopted.sealed.size();
        let _receipt = engine.commit(Batch::new(namespace.clone()).blob(adopted.sealed)).await?;
        Ok(Outcome::In(adopted.taken, bytes))
    }

    /// Commits a manifest with its tags. `Some` says why it was not taken.
    pub async fn push(&self, namespace: &Namespace, arrival: Arrival<'_>) -> Result<Option<String>, Failure> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let Arrival { manifest, bytes, digest, since, tags, may_miss } = arrival;
        let tags: Vec<Named<'_>> = tags.iter().map(|(tag, since)| Named { tag, since: Some(*since) }).collect();
        let terms = Terms { tags: &tags, since, may_miss, guard: None };
        match (Document { manifest, bytes, digest }).commit(engine, namespace, &terms).await {
            Ok(()) => Ok(None),
            Err(Refusal::Engine(error)) => match self.sorted(error)? {
                Outcome::Refused(reason) => Ok(Some(reason)),
                Outcome::In(..) => Ok(None),
            },
            Err(refusal) => Ok(Some(refusal.to_string())),
        }
    }

    /// Points tags at a manifest that is there.
    pub async fn bind(&self, namespace: &Namespace, digest: &Digest, tags: &[(Tag, Moment)]) -> Result<(), Failure> {
        let Some(engine) = &self.engine else { return Ok(()) };
        if tags.is_empty() {
            return Ok(());
        }
        let bind = |batch: Batch, (tag, since): &(Tag, Moment)| batch.as_of(*since).bind(tag.as_str(), *digest);
        let batch = tags.iter().fold(Batch::new(namespace.clone()), bind);
        let _receipt = engine.commit(batch).await.map_err(|error| self.failed(&error))?;
        Ok(())
    }

    /// What a dry run can say without reading the file.
    fn pretend(&self, digest: &Digest, file: &File) -> Outcome {
        let bytes = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let is_new = self.seen.lock().expect("no panic holds it").insert(*digest);
        Outcome::In(
            match (is_new, bytes <= self.inline_bytes_max as u64) {
                (false, _) => Taken::Known,
                (true, true) => Taken::Inline,
                (true, false) => Taken::Linked,
            },
            bytes,
        )
    }

    /// Tells what is wrong with one object from what is wrong with the store.
    fn sorted(&self, error: Error) -> Result<Outcome, Failure> {
        match error {
            Error::DigestMismatch { found, .. } => Ok(Outcome::Refused(format!("its bytes have the digest {found}"))),
            error @ (Error::Unreadable { .. }
            | Error::TooLarge { .. }
            | Error::WrongSize { .. }
            | Error::OverQuota { .. }
            | Error::TooManyNamespaces { .. }) => Ok(Outcome::Refused(error.to_string())),
            error => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &Error) -> Failure {
        let Error::CannotLink { digest, source } = error else { return Failure::engine(&self.root, error) };
        let root = self.root.display();
        let message = format!(
            "{digest} cannot be hard-linked into {root}: {source}; hard links need one file system and files that \
             are this user's own (or that it may write): move the store there, change the files' owner, or copy \
             them with --copy"
        );
        Failure::new(Exit::Root, message)
    }
}
