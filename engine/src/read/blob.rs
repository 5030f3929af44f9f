//! Content found in a namespace.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Grounds, Mark, Reader, cache::Opened};
use crate::{
    Digest, Namespace,
    commit::decoded,
    damage::{Alarm, Finder, Flaw, condemn, is_absence, suspect},
    error::{Error, Result, What},
    format::{BlobRecord, Health, MemberRecord, Placement, keys},
    index::Table,
    io::Handle,
    statistics::add,
    store::Store,
};

/// What a namespace says about content it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes.
    pub size: u64,
    /// Empty for plain content.
    pub label: Vec<u8>,
    pub grounds: Grounds,
}

/// A name and what it points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub digest: Digest,
}

/// A document that refers to the digest asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referring {
    pub digest: Digest,
    /// As it was committed.
    pub payload: Vec<u8>,
}

/// Content of a namespace, open for reading. Keeps its bytes readable even if it is deleted.
#[derive(Clone)]
pub struct Blob {
    pub(super) store: Arc<Store>,
    pub(super) digest: Digest,
    pub(super) opened: Arc<Opened>,
    pub(super) label: Vec<u8>,
    pub(super) grounds: Grounds,
}

#[derive(Clone)]
pub(super) enum Source {
    /// Verified already.
    Inline(Bytes),
    File(Handle),
}

impl Blob {
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.opened.record.size
    }

    /// Empty for plain content.
    pub fn label(&self) -> &[u8] {
        &self.label
    }

    /// Whether so much content is on its way to clients that each should have little of it in memory: then a caller
    /// does well to let go of what [`Reader::next`] gave before it asks for more.
    pub fn is_crowded(&self) -> bool {
        self.store.is_crowded()
    }

    /// What it rested on that this content was found.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    pub(crate) fn found_by_name(mut self, name: Mark) -> Self {
        self.grounds = self.grounds.by_name(name);
        self
    }

    /// The whole content, if it is small enough to be kept with the index; verified.
    pub fn inline(&self) -> Option<&Bytes> {
        match &self.opened.source {
            Source::Inline(bytes) => Some(bytes),
            Source::File(_) => None,
        }
    }

    /// Whether the first bytes can be had without waiting for the disk.
    pub fn begins_in_memory(&self) -> bool {
        self.size() == 0 || self.inline().is_some() || self.store.hot_cache.has(&self.digest, 0)
    }

    /// A verified stream of `range`, which must lie within the size.
    pub fn read(&self, range: Range<u64>) -> Reader {
        assert!(range.start <= range.end && range.end <= self.size(), "{range:?} is not within {} bytes", self.size());
        Reader::new(self.clone(), range)
    }

    /// A reader got wrong bytes at `offset`: raises the alarm, which looks once more, because this file may
    /// have been replaced since it was opened.
    pub(super) async fn damaged(&self, offset: u64, sums: (u32, u32)) -> Error {
        suspect(&self.store, &self.digest, &self.opened.record, offset, sums).await
    }

    /// The whole content, verified, if it has at most `bytes_max` bytes.
    pub async fn bytes(&self, bytes_max: usize) -> Result<Bytes> {
        if self.size() > bytes_max as u64 {
            return Err(Error::TooLarge { what: "content read at once", max: bytes_max as u64 });
        }
        if let Source::Inline(bytes) = &self.opened.source {
            add(&self.store.counters.bytes_read, bytes.len() as u64);
            return Ok(bytes.clone());
        }
        let mut whole = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        let mut reader = self.read(0..self.size());
        while let Some(part) = reader.next().await {
            whole.extend_from_slice(&part?);
        }
        Ok(whole.into())
    }
}

/// Looks content up without opening it.
pub(crate) async fn find(store: &Store, namespace: &Namespace, digest: &Digest) -> Result<Found> {
    let look = || async {
        let mut grounds = grounds(store, namespace, digest);
        grounds.lease = Some(store.leases.member_key(namespace, digest));
        let label = member_label(store, namespace, digest).await?;
        let size = match store.open_cache.get(digest) {
            Ok(opened) => opened.record.size,
            Err(_) => sound_record(store, digest).await?.size,
        };
        Ok(Found { size, label, grounds })
    };
    store.leases.telling(namespace, digest, look).await
}

/// Looks content up and opens it.
pub(crate) async fn open(store: &Arc<Store>, namespace: &Namespace, digest: &Digest) -> Result<Blob> {
    // Who reads a document may go on to build on it without pushing it again.
    let look = || async {
        let grounds = grounds(store, namespace, digest);
        Ok((member_label(store, namespace, digest).await?, grounds))
    };
    let (label, mut grounds) = store.leases.telling_of(namespace, digest, look, |(label, _)| !label.is_empty()).await?;
    grounds.lease = (!label.is_empty()).then(|| store.leases.member_key(namespace, digest));
    let opened = match store.open_cache.get(digest) {
        Ok(cached) => cached,
        Err(ticket) => {
            let (record, source) = opened(store, digest).await?;
            let opened = Arc::new(Opened { record, source });
            store.open_cache.put(digest, &ticket, opened.clone());
            opened
        }
    };
    Ok(Blob { store: store.clone(), digest: *digest, opened, label, grounds })
}

/// What an answer about this content is going to rest on. To be taken before anything is looked up.
fn grounds(store: &Store, namespace: &Namespace, digest: &Digest) -> Grounds {
    Grounds {
        name: None,
        member: store.marks.of(Table::Members, &keys::member(namespace, digest)),
        content: store.marks.of(Table::Blobs, &digest.to_key()),
        lease: None,
    }
}

/// What the namespace says about content it has.
async fn member_label(store: &Store, namespace: &Namespace, digest: &Digest) -> Result<Vec<u8>> {
    match store.get(Table::Members, &keys::member(namespace, digest)).await? {
        Some(member) => Ok(decoded(MemberRecord::decode(&member))?.label),
        None => Err(Error::NotFound { what: What::Blob }),
    }
}

async fn sound_record(store: &Store, digest: &Digest) -> Result<BlobRecord> {
    match store.blob(digest).await? {
        Some(record) if record.health == Health::Sound => Ok(record),
        _ => Err(Error::NotFound { what: What::Blob }),
    }
}

/// Opens the bytes of sound content.
async fn opened(store: &Arc<Store>, digest: &Digest) -> Result<(BlobRecord, Source)> {
    if let Ok(opened) = try_open(store, digest).await? {
        return Ok(opened);
    }
    // The bytes are not there or wrong; but between the record and them the content may have been
    // collected, and even stored again. Under this lock no file comes or goes.
    let _lock = store.lock_placing(Store::placing_slot(digest)).await;
    let mut tries_left = TRIES;
    loop {
        match try_open(store, digest).await? {
            Ok(opened) => return Ok(opened),
            Err(_) if tries_left > 0 => tries_left -= 1,
            // The index says that the bytes are here, so their absence, or something else in their
            // place, is damage.
            Err(wrong) => return Err(damaged(store, digest, wrong).await),
        }
    }
}

/// How often inline content that looks damaged is read again: each time it would have to be
/// collected and stored again between two reads of the index.
const TRIES: u32 = 3;

/// Bytes that are not what the record says.
struct Wrong {
    record: BlobRecord,
    flaw: Flaw,
    offset: u64,
    /// Expected, found.
    sums: (u32, u32),
}

async fn try_open(store: &Arc<Store>, digest: &Digest) -> Result<std::result::Result<(BlobRecord, Source), Wrong>> {
    let record = sound_record(store, digest).await?;
    let source = match record.placement {
        Placement::Inline => inline(store, digest, &record).await?.map(Source::Inline),
        Placement::File => file(store, digest).await?.map(Source::File),
    };
    Ok(match source {
        Ok(source) => Ok((record, source)),
        Err((flaw, offset, sums)) => Err(Wrong { record, flaw, offset, sums }),
    })
}

/// What is wrong, from where on, and the checksums expected and found.
type Seen = (Flaw, u64, (u32, u32));

async fn inline(store: &Store, digest: &Digest, record: &BlobRecord) -> Result<std::result::Result<Bytes, Seen>> {
    let content = store.get(Table::Bytes, &digest.to_key()).await?.unwrap_or_default();
    let mut chunks = content.chunks(usize::try_from(record.sums.chunk_bytes).unwrap_or(usize::MAX)).enumerate();
    let verified = chunks.try_for_each(|(at, chunk)| record.sums.verify(at, chunk));
    Ok(match verified {
        Ok(()) if content.len() as u64 == record.size => Ok(content.into()),
        Ok(()) => Err((Flaw::Length, content.len() as u64, (0, 0))),
        Err(sums) => Err((Flaw::Checksum, 0, sums)),
    })
}

async fn file(store: &Store, digest: &Digest) -> Result<std::result::Result<Handle, Seen>> {
    match store.tier.open(digest).await {
        Ok(handle) => Ok(Ok(handle)),
        Err(error) if is_absence(&error) => Ok(Err((Flaw::Missing, 0, (0, 0)))),
        // Any other failure may pass.
        Err(error) => Err(Error::io("opening a blob", error)),
    }
}

/// Raises the alarm, with the lock of the digest held: from now on the content answers as not found in
/// every namespace, until it is pushed again.
async fn damaged(store: &Store, digest: &Digest, wrong: Wrong) -> Error {
    let Wrong { record, flaw, offset, sums: (expected, found) } = wrong;
    let alarm = Alarm { digest: *digest, seen: record, flaw, offset, finder: Finder::Read };
    if let Err(error) = condemn(store, alarm).await {
        tracing::error!(%digest, offset, %error, "stored content is damaged, which could not be recorded");
    }
    match flaw {
        Flaw::Missing => Error::NotFound { what: What::Blob },
        _ => Error::Damaged { digest: *digest, offset, expected, found },
    }
}
