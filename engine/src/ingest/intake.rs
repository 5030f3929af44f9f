//! The bytes of one upload so far: hashed, summed and put where they may stay.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    UploadHome, UploadId,
    file::{FileSink, Means},
    hashing::{HashThreads, Lane, Passing},
    held::Held,
    known::Known,
    sealed::{Proven, Sealed, Staged},
    session::put_record,
};
use crate::{
    Algorithm, Digest,
    collect::Pin,
    digest::{Hasher, SavedState},
    error::{Error, Result},
    format::{BlobRecord, ChunkSums, Health, Placement, UploadRecord, UploadSink},
    io::{Handle, keep},
    schedule::{self, JoinHandle},
    store::Store,
};

pub(super) struct Intake {
    algorithm: Algorithm,
    /// Where digest and checksums are computed, some buffers behind `offset`.
    lane: Lane,
    /// Bytes taken.
    offset: u64,
    sink: Sink,
    /// Bytes that are expected in all; 0: unknown.
    expected: u64,
    /// The digest was told, and the store does not have it: nothing is gained by waiting.
    is_new: bool,
    /// The file has its name in the upload area.
    named: bool,
    /// Where the next checkpoint of a running upload is due.
    checkpoint_at: u64,
    /// A checkpoint that is made durable while more bytes come.
    checkpoint: Option<JoinHandle<Result<()>>>,
}

/// Whose bytes these are.
#[derive(Clone, Copy)]
pub(super) struct Whose<'a> {
    pub store: &'a Arc<Store>,
    pub id: UploadId,
    pub home: &'a UploadHome,
}

enum Sink {
    /// Small so far.
    Memory(Vec<u8>),
    /// Too large for the index, but its digest is not known yet: perhaps the store has it.
    Held(Box<Held>),
    File(Box<FileSink>),
    /// Content the store has already.
    Known(Box<Known>),
}

pub(super) fn means(store: &Store) -> Means {
    Means {
        disk: store.disk.clone(),
        pool: store.upload_pool.clone(),
        environment: store.options.environment.clone(),
        buffer_bytes_max: usize::try_from(store.options.checkpoint_bytes).unwrap_or(usize::MAX),
        ahead: store.ahead.clone(),
    }
}

impl Intake {
    pub fn new(algorithm: Algorithm, threads: &HashThreads) -> Self {
        Intake::over(Lane::new(threads, Passing::new(algorithm)), algorithm)
    }

    fn over(lane: Lane, algorithm: Algorithm) -> Self {
        Intake {
            algorithm,
            lane,
            offset: 0,
            sink: Sink::Memory(Vec::new()),
            expected: 0,
            is_new: false,
            named: false,
            checkpoint_at: 0,
            checkpoint: None,
        }
    }

    /// Takes up a suspended upload.
    pub async fn restore(store: &Store, id: UploadId, record: UploadRecord) -> Result<Self> {
        let hasher = Hasher::restore(record.algorithm, &record.hash_state);
        let sink = match record.sink {
            UploadSink::Memory(bytes) => Sink::Memory(bytes),
            UploadSink::File => Sink::File(Box::new(FileSink::reopen(means(store), &id.path(), record.offset).await?)),
        };
        let named = matches!(sink, Sink::File(_));
        let mut intake = Intake {
            offset: record.offset,
            sink,
            named,
            checkpoint_at: record.offset + store.options.checkpoint_bytes,
            ..Intake::new(record.algorithm, &store.hash_threads)
        };
        let hasher = match hasher {
            Some(hasher) => hasher,
            None => intake.hash_again(record.algorithm).await?,
        };
        intake.lane = intake.lane.renew(Passing { hasher, sums: record.sums, bytes: record.offset });
        Ok(intake)
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The total is known: larger content gets its file at once, with blocks allocated ahead of it.
    pub fn expect_bytes(&mut self, total: u64) {
        self.expected = total;
        if let Sink::File(file) = &mut self.sink {
            file.expect(total);
        }
    }

    /// The content is stored already (only asked before the first byte): hash, do not write.
    pub fn known(&mut self, store: &Store, digest: Digest, pin: Pin) {
        assert_eq!(self.offset, 0, "only an empty upload can be skipped");
        self.sink = Sink::Known(Box::new(Known::new(means(store), digest, pin, self.expected)));
        self.begin_anew(digest.algorithm());
    }

    fn begin_anew(&mut self, algorithm: Algorithm) {
        self.algorithm = algorithm;
        self.lane = self.lane.renew(Passing::new(algorithm));
    }

    /// The store does not have the content with this digest. Prepares an empty upload for its
    /// algorithm.
    pub fn expect(&mut self, algorithm: Algorithm) {
        self.is_new = true;
        if self.offset == 0 && self.algorithm != algorithm {
            self.begin_anew(algorithm);
        }
    }

    /// A request ended before the upload did: bytes that were only hashed do not count.
    pub fn forget_known(&mut self) {
        if matches!(self.sink, Sink::Known(..)) {
            *self = Intake::over(self.lane.renew(Passing::new(self.algorithm)), self.algorithm);
        }
    }

    /// Takes bytes. Cancel safe: what was taken will be hashed, summed and placed, the rest will not.
    /// `taken` is told after each part.
    pub async fn append(&mut self, whose: Whose<'_>, mut bytes: &[u8], mut taken: impl FnMut(u64)) -> Result<()> {
        let store = whose.store;
        let max = store.allowed.blob_bytes_max();
        if self.offset.saturating_add(bytes.len() as u64) > max {
            return Err(Error::TooLarge { what: "content", max });
        }
        while !bytes.is_empty() {
            let room = self.room(store, bytes.len()).await?;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            match &mut self.sink {
                Sink::Memory(content) => content.extend_from_slice(now),
                Sink::Held(held) => held.push(&self.lane, now),
                Sink::File(file) => file.push(&self.lane, now),
                Sink::Known(known) => known.push(&self.lane, now),
            }
            self.offset += now.len() as u64;
            taken(self.offset);
            bytes = later;
            if matches!(&self.sink, Sink::File(file) if file.is_flush()) {
                self.checkpoint_if_due(whose).await?;
            }
        }
        Ok(())
    }

    /// Whether bytes that were taken cannot be placed any more.
    pub fn is_broken(&self) -> bool {
        matches!(&self.sink, Sink::File(file) if file.is_broken())
    }

    /// Whether a record of this upload is, or may be, in the index.
    pub fn has_checkpoint(&self) -> bool {
        self.named || self.checkpoint.is_some()
    }

    /// Writes a long upload down while it runs, so that a crash does not cost all of it. Only waits
    /// for buffers that are under way; syncing goes on beside the bytes that follow.
    async fn checkpoint_if_due(&mut self, whose: Whose<'_>) -> Result<()> {
        let interval = whose.store.options.checkpoint_bytes;
        let due = self.checkpoint_at.max(interval);
        if self.offset < due || self.checkpoint.as_ref().is_some_and(|running| !running.is_finished()) {
            return Ok(());
        }
        self.join_checkpoint().await?;
        let Sink::File(file) = &mut self.sink else { return Ok(()) };
        file.land_all().await?;
        let handle = file.handle().clone();
        let record = self.record(whose.home, UploadSink::File)?;
        let (store, id, named) = (whose.store.clone(), whose.id, self.named);
        self.checkpoint = Some(schedule::spawn(async move {
            make_durable(&store, &handle, id, named, None).await?;
            put_record(&store, id, &record).await
        }));
        self.checkpoint_at = self.offset + interval;
        Ok(())
    }

    /// Waits for a checkpoint that is being made durable. Cancel safe.
    async fn join_checkpoint(&mut self) -> Result<()> {
        let Some(running) = &mut self.checkpoint else { return Ok(()) };
        let done = running.await.unwrap_or_else(|gone| Err(Error::io("a checkpoint", std::io::Error::other(gone))));
        self.checkpoint = None;
        // Also after an error: a name that was not made need not be there to be removed.
        self.named = true;
        if let (Err(error), Sink::File(file)) = (&done, &mut self.sink) {
            // A failed sync is final for a file.
            file.give_up(error);
        }
        done
    }

    async fn room(&mut self, store: &Store, wanted: usize) -> Result<usize> {
        if let Sink::Memory(content) = &self.sink {
            let inline_max = store.allowed.inline_bytes_max();
            let total = (content.len() + wanted).max(usize::try_from(self.expected).unwrap_or(usize::MAX));
            if total <= inline_max {
                return Ok(wanted);
            }
            self.outgrow_index(store).await?;
        }
        if let Sink::Held(held) = &mut self.sink {
            match held.room() {
                Some(room) => return Ok(room),
                None => self.write_held(store).await?,
            }
        }
        match &mut self.sink {
            Sink::Memory(_) | Sink::Held(_) => Ok(wanted),
            Sink::File(file) => file.room().await,
            Sink::Known(known) => known.room().await,
        }
    }

    /// The content outgrew the index. Until the move is complete the bytes stay where they are.
    async fn outgrow_index(&mut self, store: &Store) -> Result<()> {
        let Sink::Memory(content) = &self.sink else { return Ok(()) };
        if !self.is_new
            && let Some(held) = hold(store, &self.lane, self.expected, content)
        {
            self.sink = Sink::Held(Box::new(held));
            return Ok(());
        }
        let mut file = FileSink::create(means(store), self.expected).await?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let room = file.room().await?.min(rest.len());
            file.push(&self.lane, &rest[..room]);
            rest = &rest[room..];
        }
        self.sink = Sink::File(Box::new(file));
        Ok(())
    }

    /// Gives what was held back a file after all, and starts to write it.
    async fn write_held(&mut self, store: &Store) -> Result<()> {
        if !matches!(self.sink, Sink::Held(_)) {
            return Ok(());
        }
        let begin = FileSink::create_for(means(store), self.expected.max(self.offset)).await?;
        match std::mem::replace(&mut self.sink, Sink::Memory(Vec::new())) {
            Sink::Held(held) => self.sink = Sink::File(Box::new(begin(*held))),
            other => self.sink = other,
        }
        Ok(())
    }

    /// Makes what came so far durable and describes it. The upload can go on afterwards.
    pub async fn checkpoint(&mut self, store: &Store, id: UploadId, home: &UploadHome) -> Result<UploadRecord> {
        self.join_checkpoint().await?;
        self.forget_known();
        self.write_held(store).await?;
        self.catch_up().await?;
        let sink = match &mut self.sink {
            Sink::Memory(content) => UploadSink::Memory(content.clone()),
            Sink::File(file) => {
                file.settle().await?;
                // Nobody knows when it goes on: what was allocated ahead goes back to the disk.
                let len = Some(file.settled_len());
                make_durable(store, file.handle(), id, self.named, len)
                    .await
                    .inspect_err(|error| file.give_up(error))?;
                file.was_cut();
                self.named = true;
                UploadSink::File
            }
            Sink::Held(_) | Sink::Known(..) => unreachable!("written or forgotten above"),
        };
        self.record(home, sink)
    }

    /// Describes an upload all of whose bytes are hashed.
    fn record(&self, home: &UploadHome, sink: UploadSink) -> Result<UploadRecord> {
        self.lane.look(|passing| {
            assert_eq!(passing.bytes, self.offset, "a record counts no byte that its hash state does not have");
            UploadRecord {
                home: home.clone(),
                algorithm: self.algorithm,
                offset: self.offset,
                hash_state: passing.hasher.save().unwrap_or(SavedState(Vec::new())),
                sums: passing.sums.clone(),
                sink,
            }
        })
    }

    /// Hashes every byte taken so far; the last ones here and now. Cancel safe.
    async fn catch_up(&mut self) -> Result<()> {
        match &mut self.sink {
            Sink::Memory(content) => self.lane.take(0, content).await,
            Sink::File(file) => {
                let (start, tail) = file.tail();
                self.lane.take(start, tail).await
            }
            Sink::Held(_) | Sink::Known(_) => unreachable!("written or forgotten before"),
        }
    }

    /// Hashes every byte taken, of an upload that is complete.
    async fn hash_rest(&mut self) -> Result<()> {
        let (start, tail) = match &mut self.sink {
            Sink::Memory(content) => return self.lane.take(0, content).await,
            // It must be written as well, which takes as long.
            Sink::File(file) => return file.finish(&self.lane).await,
            Sink::Held(held) => held.tail(),
            Sink::Known(known) => known.tail(),
        };
        tail.hash(&self.lane, start).await?;
        self.lane.settle().await;
        Ok(())
    }

    /// The upload is complete: checks the digest.
    pub async fn seal(mut self, store: &Arc<Store>, id: UploadId, expected: &Digest) -> Result<Sealed> {
        self.join_checkpoint().await?;
        self.hash_rest().await?;
        let found = if self.algorithm == expected.algorithm() {
            self.lane.look(|passing| passing.hasher.clone().finish())?
        } else {
            self.hash_again(expected.algorithm()).await?.finish()
        };
        if found != *expected {
            self.discard(store, id).await;
            return Err(Error::DigestMismatch { expected: *expected, found });
        }
        self.settle_held(store, &found).await?;
        let sums = self.lane.look(|passing| std::mem::take(&mut passing.sums))?;
        let record = |placement, sums: ChunkSums| BlobRecord {
            health: Health::Sound,
            placement,
            size: self.offset,
            sums: sums.finish(),
        };
        let mut proven = Proven { digest: found, record: None, inline: Bytes::new(), pin: None, upload: Some(id) };
        let mut staged = None;
        match self.sink {
            Sink::Memory(content) => {
                proven.record = Some(record(Placement::Inline, sums));
                proven.inline = content.into();
            }
            Sink::File(file) => {
                proven.record = Some(record(Placement::File, sums));
                staged = Some(Staged {
                    store: store.clone(),
                    file: file.handle().clone(),
                    written_down: self.named.then_some(id),
                    is_committed: false,
                });
            }
            Sink::Held(_) => {}
            Sink::Known(known) => proven.pin = Some(known.pin),
        }
        Ok(Sealed { proven, size: self.offset, staged })
    }

    /// The digest of what was held back is known: it is dropped, or it is written.
    async fn settle_held(&mut self, store: &Store, digest: &Digest) -> Result<()> {
        if !matches!(self.sink, Sink::Held(_)) {
            return Ok(());
        }
        if let Some(pin) = store.leases.pin(digest)
            && store.is_stored(digest).await?
        {
            self.sink = Sink::Known(Box::new(Known::new(means(store), *digest, pin, 0)));
            return Ok(());
        }
        self.write_held(store).await?;
        match &mut self.sink {
            Sink::File(file) => file.finish(&self.lane).await,
            _ => Ok(()),
        }
    }

    /// Gives the bytes up.
    pub async fn discard(&mut self, store: &Store, id: UploadId) {
        // Its outcome does not matter any more, but it must not come after the unlinking.
        drop(self.join_checkpoint().await);
        if self.named {
            drop(store.disk.unlink(&id.path()));
        }
    }

    /// Hashes what is stored so far, for an algorithm that did not watch the bytes pass.
    async fn hash_again(&mut self, algorithm: Algorithm) -> Result<Hasher> {
        let mut hasher = Hasher::new(algorithm);
        match &mut self.sink {
            Sink::Memory(content) => hasher.update(content),
            Sink::Held(held) => {
                let hashed = held.hash_again(&mut hasher).await;
                hashed.map_err(|source| Error::io("hashing an upload", source))?;
            }
            Sink::File(file) => file.read_back(self.offset, |bytes| hasher.update(bytes)).await?,
            Sink::Known(known) => {
                // Only reached when the client names a second algorithm after announcing a digest.
                let found = self.lane.look(|passing| passing.hasher.clone().finish())?;
                return Err(Error::DigestMismatch { expected: known.digest, found });
            }
        }
        Ok(hasher)
    }
}

/// Takes over what was too large for the index, if it can stay in memory.
fn hold(store: &Store, lane: &Lane, total: u64, content: &[u8]) -> Option<Held> {
    let mut held = Held::new(means(store), total)?;
    let mut rest = content;
    while !rest.is_empty() {
        let room = held.room()?.min(rest.len());
        held.push(lane, &rest[..room]);
        rest = &rest[room..];
    }
    Some(held)
}

/// Syncs an upload's file, cut to `len` bytes when given, and gives it its name in the upload area,
/// durably.
async fn make_durable(store: &Store, file: &Handle, id: UploadId, named: bool, len: Option<u64>) -> Result<()> {
    if named {
        let synced = store.disk.sync(file, len).await;
        return synced.map_err(|source| Error::io("syncing an upload file", source));
    }
    let named = keep(&*store.disk, file, len, &id.path()).await;
    named.map(drop).map_err(|source| Error::io("naming an upload file", source))
}
