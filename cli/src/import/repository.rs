//! One repository on its way into the store.
//!
//! Images go first, each after the blobs it needs; then indexes, each after the manifests it lists,
//! however deep. What a manifest needs and cannot have decides what becomes of it: without a blob it
//! is skipped with its tags; an index without some of its manifests goes in with what there is.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use orlop_api::protocol::{Manifest, ManifestType, Need, Tag, manifest::MANIFEST_BYTES_MAX};
use orlop_engine::{Digest, Moment, NameUse, Namespace};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinSet, spawn_blocking},
};

use super::{
    report::{Damaged, Incomplete, Kept},
    source::{Part, Place},
    target::{Arrival, Outcome},
    times::{Landing, schedule},
    transfer::Transfer,
    tree::read,
};
use crate::exit::{Exit, Failure};

pub struct Repository {
    transfer: Arc<Transfer>,
    place: Place,
    namespace: Namespace,
    /// Tags the store has.
    names: HashMap<String, NameUse>,
    /// Manifests that were dealt with: whether they are in the store.
    manifests: Mutex<HashMap<Digest, bool>>,
    /// Blobs that were dealt with: nothing, or why they cannot be had.
    blobs: Mutex<HashMap<Digest, Option<String>>>,
}

/// An index that waits for the manifests it lists.
struct Waiting {
    landing: Landing,
    children: Vec<Digest>,
    /// The store has it; only its tags may be missing.
    is_present: bool,
}

impl Repository {
    /// Takes one repository over. Errors: the store failed.
    pub async fn import(transfer: Arc<Transfer>, place: Place) -> Result<(), Failure> {
        let namespace = Namespace::new(place.repository.as_str()).expect("a repository's name is one of a namespace");
        let (listing, place, transfer) = blocking(move || (transfer.source.listing(&place), place, transfer)).await?;
        let listing = match listing {
            Ok(listing) => listing,
            Err(oddity) => {
                transfer.report().oddities.push(oddity);
                return Ok(());
            }
        };
        let names = transfer.target.names(&namespace).await?;
        listing.oddities.into_iter().for_each(|oddity| transfer.report().oddities.push(oddity));
        transfer.report().repositories += 1;
        let landings = schedule(listing.manifests, &names, transfer.started, transfer.wishes.ages);
        let (manifests, blobs) = (Mutex::default(), Mutex::default());
        let repository = Arc::new(Repository { transfer, place, namespace, names, manifests, blobs });
        let waiting = repository.images(landings).await?;
        repository.indexes(waiting).await
    }

    /// Takes all images in, those that only an index names as well, and gives the indexes.
    async fn images(self: &Arc<Self>, landings: Vec<Landing>) -> Result<Vec<Waiting>, Failure> {
        let mut met: HashSet<Digest> = landings.iter().map(|landing| landing.digest).collect();
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut wave = landings;
        while !wave.is_empty() {
            let found: Vec<Waiting> = self.each(wave, Self::first_look).await?.into_iter().flatten().collect();
            let unmet = found.iter().flat_map(|index| &index.children).filter(|child| met.insert(**child));
            let named = |digest: &Digest| Landing { digest: *digest, media_type: None, since: None, tags: Vec::new() };
            wave = unmet.map(named).collect();
            waiting.extend(found);
        }
        Ok(waiting)
    }

    /// Takes the indexes in, each when none of the manifests it lists waits any more.
    async fn indexes(self: &Arc<Self>, mut waiting: Vec<Waiting>) -> Result<(), Failure> {
        while !waiting.is_empty() && !self.transfer.is_stopped() {
            let open: HashSet<Digest> = waiting.iter().map(|index| index.landing.digest).collect();
            let is_ready = |index: &Waiting| !index.children.iter().any(|child| open.contains(child));
            let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
            // A digest cannot be part of what it is the digest of, so there is always one.
            assert!(!ready.is_empty(), "manifests list each other in a circle, which no digest allows");
            self.each(ready, Self::index).await?;
            waiting = rest;
        }
        Ok(())
    }

    /// Does `work` with each item, several at a time.
    async fn each<I, T, F>(
        self: &Arc<Self>,
        items: Vec<I>,
        work: fn(Arc<Self>, I, OwnedSemaphorePermit) -> F,
    ) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut under_way = JoinSet::new();
        let (mut done, mut failure) = (Vec::new(), None);
        for item in items {
            let permit = self.transfer.manifest_permit().await;
            if self.transfer.is_stopped() {
                break;
            }
            under_way.spawn(work(self.clone(), item, permit));
            while let Some(ended) = under_way.try_join_next() {
                let ended = ended.map_err(|error| Failure::new(Exit::Failed, error))?;
                done.push(ended?);
            }
        }
        while !under_way.is_empty() {
            done.extend(self.transfer.join(&mut under_way, &mut failure).await);
        }
        failure.map_or(Ok(done), Err)
    }

    /// Takes an image in; gives an index back, with what it lists.
    async fn first_look(
        self: Arc<Self>,
        landing: Landing,
        _permit: OwnedSemaphorePermit,
    ) -> Result<Option<Waiting>, Failure> {
        let label = self.transfer.target.label(&self.namespace, &landing.digest).await?;
        let known = label.and_then(|label| ManifestType::of(&String::from_utf8_lossy(&label)));
        if known.is_some_and(|kind| !kind.is_index()) {
            self.present(&landing).await?;
            return Ok(None);
        }
        let (bytes, manifest) = match self.load(&landing).await? {
            Ok(loaded) => loaded,
            Err(_) if known.is_some() => {
                // The store has it, whatever became of the file.
                self.present(&landing).await?;
                return Ok(None);
            }
            Err(reason) => {
                self.skip(&landing, reason);
                return Ok(None);
            }
        };
        if manifest.kind.is_index() {
            let children = manifest.needs().into_iter().filter(|need| need.is_manifest).map(|need| need.digest);
            return Ok(Some(Waiting { landing, children: children.collect(), is_present: known.is_some() }));
        }
        self.land(&landing, bytes, &manifest, &HashSet::new()).await?;
        Ok(None)
    }

    /// Takes an index in, with those of its manifests that are there.
    async fn index(self: Arc<Self>, waiting: Waiting, _permit: OwnedSemaphorePermit) -> Result<(), Failure> {
        let Waiting { landing, children, is_present } = waiting;
        if is_present {
            return self.present(&landing).await;
        }
        let missing: HashSet<Digest> = {
            let manifests = self.manifests.lock().expect("no panic holds it");
            children.iter().filter(|child| manifests.get(child) != Some(&true)).copied().collect()
        };
        if !missing.is_empty() && missing.len() == children.len() {
            self.skip(&landing, "none of the manifests it lists is there".to_owned());
            return Ok(());
        }
        let (bytes, manifest) = match self.load(&landing).await? {
            Ok(loaded) => loaded,
            Err(reason) => {
                self.skip(&landing, reason);
                return Ok(());
            }
        };
        let is_in = self.land(&landing, bytes, &manifest, &missing).await?;
        if is_in && !missing.is_empty() {
            let mut missing: Vec<String> = missing.iter().map(Digest::to_string).collect();
            missing.sort_unstable();
            let (repository, index) = (self.place.repository.to_string(), landing.digest.to_string());
            self.transfer.report().incomplete.push(Incomplete { repository, index, missing });
        }
        Ok(())
    }

    /// Takes a manifest in after the blobs it needs, with its tags. Whether it is in the store then.
    async fn land(
        self: &Arc<Self>,
        landing: &Landing,
        bytes: Bytes,
        manifest: &Manifest,
        missing: &HashSet<Digest>,
    ) -> Result<bool, Failure> {
        let needs = manifest.needs();
        let sparse = self.transfer.wishes.sparse_manifests;
        let reason = self.blobs(&needs).await?;
        if self.transfer.is_stopped() {
            return Ok(false);
        }
        if let Some(reason) = reason.filter(|_| !sparse) {
            self.skip(landing, reason);
            return Ok(false);
        }
        let tags = self.wanted_tags(landing);
        let arrival = Arrival {
            manifest,
            bytes,
            digest: landing.digest,
            since: landing.since,
            tags: &tags,
            may_miss: &|need| sparse || missing.contains(&need.digest),
        };
        if let Some(reason) = self.transfer.target.push(&self.namespace, arrival).await? {
            self.skip(landing, reason);
            return Ok(false);
        }
        let mut report = self.transfer.report();
        report.manifests.imported += 1;
        report.tags.imported += tags.len() as u64;
        drop(report);
        self.dealt_with(landing, true);
        Ok(true)
    }

    /// A manifest that the store has gets the tags it lacks.
    async fn present(&self, landing: &Landing) -> Result<(), Failure> {
        let tags = self.wanted_tags(landing);
        self.transfer.target.bind(&self.namespace, &landing.digest, &tags).await?;
        let mut report = self.transfer.report();
        report.manifests.present += 1;
        report.tags.imported += tags.len() as u64;
        drop(report);
        self.dealt_with(landing, true);
        Ok(())
    }

    fn skip(&self, landing: &Landing, reason: String) {
        let tags = landing.tags.iter().map(|(tag, _)| tag.to_string()).collect();
        // What only an index lists is reported with the index.
        if landing.since.is_some() {
            self.transfer.report().skip(self.place.repository.as_str(), &landing.digest, tags, reason);
        }
        self.dealt_with(landing, false);
    }

    fn dealt_with(&self, landing: &Landing, is_in: bool) {
        self.manifests.lock().expect("no panic holds it").insert(landing.digest, is_in);
        if landing.since.is_some() {
            self.transfer.progress.manifest();
        }
    }

    /// The tags that are to be bound: not those that are, and not those that the store has newer.
    fn wanted_tags(&self, landing: &Landing) -> Vec<(Tag, Moment)> {
        let mut report = self.transfer.report();
        let mut wanted = |(tag, moment): &(Tag, Moment)| match self.names.get(tag.as_str()) {
            Some(stored) if stored.digest == landing.digest => {
                report.tags.present += 1;
                false
            }
            Some(stored) if stored.bound.unix_ms >= moment.unix_ms && !self.transfer.wishes.overwrite_tags => {
                report.tags.kept += 1;
                report.kept.push(Kept {
                    repository: self.place.repository.to_string(),
                    tag: tag.to_string(),
                    stored: stored.digest.to_string(),
                    found: landing.digest.to_string(),
                });
                false
            }
            _ => true,
        };
        landing.tags.iter().filter(|tag| wanted(tag)).cloned().collect()
    }

    /// Reads and checks a manifest.
    async fn load(self: &Arc<Self>, landing: &Landing) -> Result<Result<(Bytes, Manifest), String>, Failure> {
        let (repository, digest, media_type) = (self.clone(), landing.digest, landing.media_type.clone());
        blocking(move || {
            let source = &repository.transfer.source;
            let opened = source.content(&repository.place, &digest, Part::Manifest);
            let bytes = opened.and_then(|file| read(file, MANIFEST_BYTES_MAX as u64));
            let bytes = bytes.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "it is not in the source".to_owned(),
                _ => error.to_string(),
            })?;
            let found = Digest::of(digest.algorithm(), &bytes);
            if found != digest {
                let reason = format!("its bytes have the digest {found}");
                repository.damaged(&digest, reason.clone());
                return Err(reason);
            }
            let manifest = Manifest::parse_kept(&bytes, media_type.as_deref());
            Ok((bytes.into(), manifest.map_err(|error| error.to_string())?))
        })
        .await
    }

    /// Takes in every blob that is needed. The reason if one of them cannot be had and must be.
    async fn blobs(self: &Arc<Self>, needs: &[Need]) -> Result<Option<String>, Failure> {
        let mut under_way = JoinSet::new();
        for need in needs.iter().filter(|need| !need.is_manifest) {
            let (repository, need) = (self.clone(), *need);
            under_way.spawn(async move { Ok((need, repository.blob(&need.digest).await?)) });
        }
        let (mut reason, mut failure) = (None, None);
        while !under_way.is_empty() {
            match self.transfer.join(&mut under_way, &mut failure).await {
                Some((need, Some(why))) if !need.is_optional => {
                    reason = Some(format!("it needs {}: {why}", need.digest))
                }
                _ => {}
            }
        }
        failure.map_or(Ok(reason), Err)
    }

    /// Takes one blob in, unless that was done. Why it cannot be had, if it cannot.
    async fn blob(self: &Arc<Self>, digest: &Digest) -> Result<Option<String>, Failure> {
        let known = |repository: &Self| repository.blobs.lock().expect("no panic holds it").get(digest).cloned();
        if let Some(fate) = known(self) {
            return Ok(fate);
        }
        let _permit = self.transfer.blob_permit().await;
        let _lock = self.transfer.content_lock(digest).await;
        if let Some(fate) = known(self) {
            return Ok(fate);
        }
        let fate = self.take(digest).await?;
        self.blobs.lock().expect("no panic holds it").insert(*digest, fate.clone());
        Ok(fate)
    }

    async fn take(self: &Arc<Self>, digest: &Digest) -> Result<Option<String>, Failure> {
        if self.transfer.target.label(&self.namespace, digest).await?.is_some() {
            self.transfer.report().blobs.present += 1;
            return Ok(None);
        }
        let reading = self.transfer.reading_permit().await;
        if self.transfer.is_stopped() {
            // Not reported: its manifest is not looked at any more either.
            return Ok(Some("a signal ended the import".to_owned()));
        }
        let (repository, wanted) = (self.clone(), *digest);
        let opened =
            blocking(move || repository.transfer.source.content(&repository.place, &wanted, Part::Blob)).await?;
        let outcome = match opened {
            Ok(file) => self.transfer.target.take(&self.namespace, digest, file, reading).await?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Some("it is not in the source".to_owned()));
            }
            Err(error) => Outcome::Refused(error.to_string()),
        };
        match outcome {
            Outcome::In(taken, bytes) => {
                self.transfer.report().took(taken, bytes);
                self.transfer.progress.blob(bytes);
                Ok(None)
            }
            Outcome::Refused(reason) => {
                self.damaged(digest, reason.clone());
                Ok(Some(reason))
            }
        }
    }

    fn damaged(&self, digest: &Digest, reason: String) {
        let path = self.transfer.source.content_path(&self.place, digest);
        let (repository, digest) = (self.place.repository.to_string(), digest.to_string());
        self.transfer.report().damaged.push(Damaged { repository, digest, path, reason });
    }
}

/// Runs what may block where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::new(Exit::Failed, error))
}
