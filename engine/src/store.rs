//! What all parts of an open engine share.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicI64},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    Digest,
    allowances::{Allowances, Allowed},
    clock::Clock,
    collect::Leases,
    commit::{Committer, Targets, decoded},
    error::{Error, Result},
    format::{BlobRecord, Health, Malformed},
    index::{Cached, Index, IndexError, Pair, Table, Value},
    ingest::{Ahead, HashThreads, Sessions},
    io::{Disk, Pool, Space},
    journal::Journal,
    options::Options,
    read::{EXTENT_BYTES, HotCache, Marks, Narrow, OpenCache},
    running::Running,
    schedule,
    statistics::Counters,
    tier::Tier,
    usage::Pulls,
};

/// Locks for placing content, so that two uploads of the same digest meet: digests share a lock by
/// their first byte.
const PLACING_LOCKS: usize = 256;

/// How many pairs one look into the index brings in a long scan.
const SCAN_PAGE: usize = 1024;

pub(crate) struct Store {
    /// As it was opened; what can change since is `allowed`.
    pub options: Options,
    pub allowed: Allowed,
    pub index: Arc<dyn Index>,
    pub disk: Arc<dyn Disk>,
    pub tier: Arc<dyn Tier>,
    /// `None` where there is no file system to look at.
    pub space: Option<Arc<Space>>,
    pub committer: Committer,
    /// Closed after the commit thread, which appends to it.
    pub journal: Option<Journal>,
    pub sessions: Sessions,
    pub hash_threads: HashThreads,
    pub upload_pool: Pool,
    pub ahead: Arc<Ahead>,
    pub read_pool: Pool,
    pub narrow: Narrow,
    pub open_cache: OpenCache,
    pub hot_cache: HotCache,
    pub running: Running,
    pub leases: Arc<Leases>,
    pub counters: Arc<Counters>,
    pub clock: Arc<Clock>,
    pub pulls: Pulls,
    /// Rows of the list of damaged content. Changes are counted when they are committed, in no order, so
    /// it may be below zero for a moment.
    pub damaged: AtomicI64,
    pub marks: Arc<Marks>,
    placing: Vec<Arc<Mutex<()>>>,
}

pub(crate) struct Parts {
    pub options: Options,
    pub index: Arc<dyn Index>,
    pub disk: Arc<dyn Disk>,
    pub tier: Arc<dyn Tier>,
    /// The directory of the journal, if there is to be one.
    pub journal: Option<PathBuf>,
    pub space: Option<Arc<Space>>,
}

impl Store {
    /// Blocks on the disk.
    pub fn new(parts: Parts, epoch: u64) -> Result<Self> {
        let Parts { options, index, disk, tier, journal, space } = parts;
        let counters = Arc::new(Counters::default());
        let clock = Arc::new(Clock::open(&*index, options.environment.clone())?);
        let journal = journal.map(|path| Journal::open(index.clone(), &path, &options.environment, counters.clone()));
        let (journal, appender) = journal.transpose()?.unzip();
        let marks = Arc::new(Marks::new());
        let targets = Targets { index: index.clone(), journal: appender, marks: marks.clone(), space: space.clone() };
        let committer = Committer::start(targets, &options, counters.clone())?;
        Ok(Store {
            allowed: Allowed::new(Allowances::from(&options)),
            index,
            disk,
            tier,
            space,
            committer,
            journal,
            sessions: Sessions::default(),
            hash_threads: HashThreads::start(options.hash_threads)?,
            upload_pool: Pool::new(options.upload_memory_bytes_max),
            ahead: Arc::default(),
            // Readers are bounded by the connections that hold them, and must never wait for one
            // another: a slow one would stop a fast one.
            read_pool: Pool::unbounded(options.hot_bytes_max.saturating_add(options.reader_memory_bytes_max)),
            narrow: Narrow::default(),
            open_cache: OpenCache::default(),
            hot_cache: HotCache::new(options.hot_bytes_max as u64, EXTENT_BYTES),
            running: Running::default(),
            leases: Arc::new(Leases::new(epoch, options.lease_epochs)),
            counters,
            clock,
            pulls: Pulls::default(),
            damaged: AtomicI64::new(0),
            marks,
            placing: (0..PLACING_LOCKS).map(|_| Arc::default()).collect(),
            options,
        })
    }

    /// One value of the index. Blocks no runtime thread: what is not in memory is read elsewhere.
    pub async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Value>> {
        match self.index.get_cached(table, key).map_err(index_error)? {
            Cached::Known(value) => Ok(value),
            Cached::Unknown => {
                let (index, key) = (self.index.clone(), key.to_vec());
                blocking(move || index.get(table, &key).map_err(index_error)).await
            }
        }
    }

    /// Pairs of a prefix after a key, in order.
    pub async fn scan(&self, table: Table, prefix: Vec<u8>, after: Option<Vec<u8>>, limit: usize) -> Result<Vec<Pair>> {
        let index = self.index.clone();
        blocking(move || index.snapshot().scan(table, &prefix, after.as_deref(), limit).map_err(index_error)).await
    }

    /// All pairs of a prefix, from one snapshot. Blocks: for opening and checking.
    pub fn scan_all(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>> {
        let snapshot = self.index.snapshot();
        let mut all: Vec<Pair> = Vec::new();
        loop {
            let after = all.last().map(|(key, _)| key.as_slice());
            let page = snapshot.scan(table, prefix, after, SCAN_PAGE).map_err(index_error)?;
            let done = page.len() < SCAN_PAGE;
            all.extend(page);
            if done {
                return Ok(all);
            }
        }
    }

    /// Whether new content of so many bytes may begin. Errors: `NoSpace`.
    pub fn admit(&self, bytes: u64) -> Result<()> {
        match &self.space {
            Some(space) => {
                space.admit(bytes).map(drop).map_err(|source| Error::io("looking at the free space", source))
            }
            None => Ok(()),
        }
    }

    pub async fn blob(&self, digest: &Digest) -> Result<Option<BlobRecord>> {
        let bytes = self.get(Table::Blobs, &digest.to_key()).await?;
        bytes.map(|bytes| decoded(BlobRecord::decode(&bytes))).transpose()
    }

    /// Whether content is stored and sound, in whatever namespace.
    pub async fn is_stored(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob(digest).await?.is_some_and(|record| record.health == Health::Sound))
    }

    /// The lock under which a digest's bytes are placed and its record committed.
    pub async fn lock_placing(&self, slot: usize) -> OwnedMutexGuard<()> {
        schedule::point();
        self.placing[slot].clone().lock_owned().await
    }

    pub fn placing_slot(digest: &Digest) -> usize {
        usize::from(digest.as_bytes()[0]) % PLACING_LOCKS
    }
}

/// Runs what may block where it may.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    match schedule::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::io("a blocking task", std::io::Error::other(error))),
    }
}

/// The engine's word for an index failure.
pub(crate) fn index_error(error: IndexError) -> Error {
    match error {
        IndexError::Corrupt(reason) => Error::Store { path: "index".into(), reason },
        IndexError::NoSpace(_) => Error::NoSpace,
        IndexError::InUse(_) => Error::InUse { path: "index".into() },
        IndexError::Io(reason) => Error::Io { context: "the index", source: std::io::Error::other(reason) },
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Error::Store { path: "index".into(), reason: malformed.to_string() }
    }
}
