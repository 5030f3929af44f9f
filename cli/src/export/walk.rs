//! Everything that belongs to what is given out: manifests, what they need, and what refers to them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use orlop_api::protocol::{Manifest, Tag, layout::Entry};
use orlop_engine::{Digest, Engine, Error, NameUse, Namespace};
use tokio::sync::watch;

use super::{
    Halt,
    directory::{Directory, Given},
    report::Report,
};
use crate::progress::Progress;

/// Entries of the index read at a time.
const PAGE: usize = 1024;

/// What is asked for.
pub enum Wanted {
    Tag(Tag),
    /// Every tag.
    Tags,
    /// Every manifest.
    All,
}

pub struct Walk<'a> {
    engine: &'a Engine,
    namespace: Namespace,
    directory: &'a Directory,
    stop: watch::Receiver<bool>,
    report: Report,
    progress: Arc<Progress>,
    /// Manifests to be looked at, and whether the index is to list them.
    waiting: VecDeque<(Digest, bool)>,
    met: HashSet<Digest>,
    given: HashSet<Digest>,
    /// When a manifest was pushed under its latest tag, milliseconds since 1970.
    pushed_ms: HashMap<Digest, u64>,
}

impl<'a> Walk<'a> {
    pub fn new(
        engine: &'a Engine,
        namespace: Namespace,
        directory: &'a Directory,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Walk {
            engine,
            namespace,
            directory,
            stop,
            report: Report::default(),
            progress: Arc::default(),
            waiting: VecDeque::new(),
            met: HashSet::new(),
            given: HashSet::new(),
            pushed_ms: HashMap::new(),
        }
    }

    /// Gives everything out and says what the index is to list.
    pub async fn run(mut self, wanted: &Wanted) -> Result<(Vec<Entry>, Report), Halt> {
        let names = self.names(wanted).await?;
        for used in &names {
            let pushed_ms = self.pushed_ms.entry(used.digest).or_default();
            *pushed_ms = used.bound.unix_ms.max(*pushed_ms);
            self.meet(used.digest, false);
        }
        if let Wanted::All = wanted {
            self.meet_all().await?;
        }
        let _telling = self.progress.tell();
        let mut listed = Vec::new();
        let mut described = HashMap::new();
        while let Some((digest, is_listed)) = self.waiting.pop_front() {
            if *self.stop.borrow() {
                self.report.stopped = true;
                break;
            }
            let Some((media_type, size)) = self.manifest(&digest).await? else { continue };
            self.progress.manifest();
            match is_listed {
                true => listed.push(Entry::new(&media_type, &digest, size, None)),
                false => drop(described.insert(digest, (media_type, size))),
            }
        }
        let mut entries = Vec::new();
        for NameUse { name, digest, .. } in &names {
            if let Some((media_type, size)) = described.get(digest) {
                entries.push(Entry::new(media_type, digest, *size, Some(name)));
                self.report.tags += 1;
            }
        }
        entries.append(&mut listed);
        Ok((entries, self.report))
    }

    /// Notes a manifest that is to be given out.
    fn meet(&mut self, digest: Digest, is_listed: bool) {
        if self.met.insert(digest) {
            self.progress.expected.fetch_add(1, Relaxed);
            self.waiting.push_back((digest, is_listed));
        }
    }

    async fn names(&self, wanted: &Wanted) -> Result<Vec<NameUse>, Halt> {
        let mut names: Vec<NameUse> = Vec::new();
        loop {
            let after = names.last().map(|last| last.name.as_str());
            let page = self.engine.names_used(&self.namespace, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            names.extend(page);
            if is_last {
                break;
            }
        }
        if let Wanted::Tag(tag) = wanted {
            names.retain(|used| used.name == tag.as_str());
        }
        Ok(names)
    }

    async fn meet_all(&mut self) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let (documents, last) = self.engine.documents(&self.namespace, after.as_ref(), PAGE).await?;
            documents.into_iter().for_each(|document| self.meet(document.digest, true));
            match last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Gives a manifest out with the blobs it needs, and notes the manifests it leads to. Its type
    /// and size; nothing if the repository does not have it.
    async fn manifest(&mut self, digest: &Digest) -> Result<Option<(String, u64)>, Halt> {
        let blob = match self.engine.open_blob(&self.namespace, digest).await {
            Err(Error::NotFound { .. } | Error::Damaged { .. }) => {
                self.report.miss(format!("the manifest {digest}"));
                return Ok(None);
            }
            blob => blob?,
        };
        let size = blob.size();
        let media_type = String::from_utf8_lossy(blob.label()).into_owned();
        let bytes = match blob.bytes(usize::try_from(size).unwrap_or(usize::MAX)).await {
            Err(Error::Damaged { .. }) => {
                self.report.miss(format!("the manifest {digest}, which is damaged"));
                return Ok(None);
            }
            bytes => bytes?,
        };
        let Ok(manifest) = Manifest::parse(&bytes, Some(&media_type)) else {
            self.report.miss(format!("the manifest {digest}, which is none"));
            return Ok(None);
        };
        for need in manifest.needs() {
            match need.is_manifest {
                true => self.meet(need.digest, false),
                false => self.blob(&need.digest, need.is_optional).await?,
            }
        }
        let pushed_ms = self.pushed_ms.get(digest).copied();
        self.count(self.directory.give(&blob, pushed_ms).await?, size);
        self.report.manifests += 1;
        self.referring(digest).await?;
        Ok(Some((media_type, size)))
    }

    async fn blob(&mut self, digest: &Digest, is_optional: bool) -> Result<(), Halt> {
        if !self.given.insert(*digest) {
            return Ok(());
        }
        match self.engine.open_blob(&self.namespace, digest).await {
            Ok(blob) => {
                let given = self.directory.give(&blob, None).await?;
                self.progress.blob(blob.size());
                self.count(given, blob.size());
            }
            Err(Error::NotFound { .. } | Error::Damaged { .. }) if is_optional => {}
            Err(Error::NotFound { .. } | Error::Damaged { .. }) => self.report.miss(format!("the blob {digest}")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What refers to a manifest is found only if the index lists it.
    async fn referring(&mut self, digest: &Digest) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let page = self.engine.referring(&self.namespace, digest, after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|last| last.digest);
            page.into_iter().for_each(|referring| self.meet(referring.digest, true));
            if is_last {
                return Ok(());
            }
        }
    }

    fn count(&mut self, given: Given, bytes: u64) {
        let report = &mut self.report;
        match given {
            Given::Linked => (report.linked, report.bytes_linked) = (report.linked + 1, report.bytes_linked + bytes),
            Given::Copied => (report.copied, report.bytes_copied) = (report.copied + 1, report.bytes_copied + bytes),
            Given::Written => report.written += 1,
            Given::Present => report.present += 1,
        }
    }
}
