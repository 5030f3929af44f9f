//! The engine: everything a caller does with a store goes through here.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use crate::{
    Algorithm, Digest, Namespace,
    clock::Clock,
    collect,
    commit::{Batch, Receipt, Transaction, decoded, place},
    damage,
    error::{Error, Result, What},
    format::{BlobRecord, ChunkSums, FORMAT_LINE, Health, NameRecord, Placement, VERSION, keys},
    index::{Changes, Condition, Durability, Index, MemoryIndex, Outcome, Table},
    ingest::{Proven, Sealed, Upload, UploadHome, UploadId, UploadStatus, UploadsMax},
    io::{self, Disk, Reserving, Space, open_disk},
    journal,
    options::{INLINE_BYTES_LIMIT, IndexKind, Options},
    quota,
    read::{Blob, Found, Mark, Named, Referring, find, open},
    rebuild,
    schedule::{self, JoinHandle},
    statistics::Statistics,
    store::{Parts, Store, blocking, index_error},
    tier::LocalTier,
    usage,
};

/// An open store. Cloning shares it. [`Engine::close`] it before the process ends, or the next
/// opening has to bring uploads back to their last checkpoint.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    backend: io::Backend,
    backend_note: Option<String>,
    tending: std::sync::Mutex<Vec<JoinHandle<()>>>,
    /// Locked as long as it is open.
    _lock: Option<File>,
}

impl Engine {
    /// Opens the store at `root`, which is created if it does not exist. Call inside a tokio
    /// runtime.
    ///
    /// Errors: `InUse`; `Foreign` for a directory that holds something else; `Store` for an index that
    /// is damaged, or missing although there is content; `Io` for a root that cannot be written.
    pub async fn open(root: &Path, options: Options) -> Result<Engine> {
        let path = root.to_owned();
        let lock = blocking(move || prepare_root(&path)).await?;
        let (root_path, reserve) = (root.to_owned(), options.reserve_bytes);
        // Before the index is opened, which needs room itself.
        let space = blocking(move || {
            Space::open(&root_path, reserve).map_err(|source| Error::io("looking at the free space", source))
        })
        .await?;
        let root_path = root.to_owned();
        let backend = options.backend;
        let opened =
            blocking(move || open_disk(&root_path, backend).map_err(|source| Error::io("opening the root", source)))
                .await?;
        let root_path = root.to_owned();
        let index_options = options.clone();
        let index = blocking(move || open_index(&root_path, &index_options)).await?;
        let is_kept = options.journal && options.index != IndexKind::Memory;
        let journal = is_kept.then(|| root.join(journal::DIRECTORY));
        if let Some(path) = journal.clone() {
            blocking(move || require_own_directory(&path)).await?;
        }
        let disk = Reserving::over(opened.disk, space.clone());
        let tier = Arc::new(LocalTier::new(disk.clone()));
        let parts = Parts { options, index, disk, tier, journal, space: Some(space) };
        let opened = Engine::over(parts, opened.backend, opened.note, Some(lock)).await;
        // Some damage shows only when the first rows are read.
        #[cfg(feature = "rocks")]
        let opened = opened.map_err(|error| rebuild::with_remedy(root, error));
        opened
    }

    /// An engine over a disk and an index of the caller's: for models and simulations.
    pub async fn simulated(disk: Arc<dyn Disk>, index: Arc<dyn Index>, options: Options) -> Result<Engine> {
        let options = repeatable(options);
        let tier = Arc::new(LocalTier::new(disk.clone()));
        let parts = Parts { options, index, disk, tier, journal: None, space: None };
        Engine::over(parts, io::Backend::Auto, None, None).await
    }

    /// The same with a journal in a directory of the caller's.
    pub async fn simulated_with_journal(
        disk: Arc<dyn Disk>,
        index: Arc<dyn Index>,
        journal: &Path,
        options: Options,
    ) -> Result<Engine> {
        let options = repeatable(options);
        let tier = Arc::new(LocalTier::new(disk.clone()));
        let parts = Parts { options, index, disk, tier, journal: Some(journal.to_owned()), space: None };
        Engine::over(parts, io::Backend::Auto, None, None).await
    }

    async fn over(
        parts: Parts,
        backend: io::Backend,
        backend_note: Option<String>,
        lock: Option<File>,
    ) -> Result<Engine> {
        if parts.options.inline_bytes_max > INLINE_BYTES_LIMIT {
            return Err(Error::TooLarge { what: "inline_bytes_max", max: INLINE_BYTES_LIMIT as u64 });
        }
        check_format(&*parts.index)?;
        let (index, options) = (parts.index.clone(), parts.options.clone());
        blocking(move || quota::prepare(&*index, &options)).await?;
        collect::opened(&*parts.index)?;
        let epoch = collect::stored_epoch(&*parts.index)?;
        let store = blocking(move || Store::new(parts, epoch)).await?;
        let store = Arc::new(store);
        damage::count(&store).await?;
        store.sessions.recover(&store).await?;
        let tending = vec![
            schedule::spawn(tend_uploads(Arc::downgrade(&store), store.options.upload_settle)),
            schedule::spawn(usage::tend(Arc::downgrade(&store), store.options.usage_flush)),
        ];
        let inner = Inner { store, backend, backend_note, tending: tending.into(), _lock: lock };
        Ok(Engine { inner: Arc::new(inner) })
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.inner.store
    }

    /// Writes all open uploads down, finishes what waits and makes everything durable. Changes are
    /// refused afterwards.
    pub async fn close(&self) -> Result<()> {
        let tending = std::mem::take(&mut *self.inner.tending.lock().expect("no panic holds it"));
        tending.iter().for_each(JoinHandle::abort);
        let store = self.store();
        store.running.idle().await;
        if store.committer.stopped().is_none() {
            store.sessions.tend(store, std::time::Duration::ZERO).await;
            usage::flush(store).await?;
            let clock = store.clock.clone();
            // Synced, which makes all earlier changes durable as well.
            let closed = move |transaction: &mut Transaction<'_>| {
                Clock::record(transaction, clock.now());
                collect::closed(transaction);
                Ok(())
            };
            store.committer.run(Durability::Synced, closed).await?;
        }
        let closing = store.clone();
        blocking(move || {
            closing.committer.close();
            if let Some(journal) = &closing.journal {
                journal.close();
            }
            Ok(())
        })
        .await
    }

    /// Which disk moves the bytes, and why it was not the ring.
    pub fn backend(&self) -> (io::Backend, Option<&str>) {
        (self.inner.backend, self.inner.backend_note.as_deref())
    }

    /// Waits until the journal has, durably, every change that was visible before, so that the index
    /// could be made again from it now. Returns at once if the store keeps none.
    /// Errors: `Stopped` if the journal cannot be written, or the store is closed meanwhile.
    pub async fn journal_settled(&self) -> Result<()> {
        match &self.store().journal {
            Some(journal) => journal.settled().await,
            None => Ok(()),
        }
    }

    /// Whether the index could be made again from the journal, but for the last second. Not before the
    /// first base was written, and not for a while after a failure.
    pub fn journal_is_whole(&self) -> bool {
        self.store().journal.as_ref().is_some_and(|journal| journal.is_whole())
    }

    /// Whether changes are accepted; `Stopped` after the index could not be written.
    pub fn accepting(&self) -> Result<()> {
        match self.store().committer.stopped() {
            None => Ok(()),
            Some(reason) => Err(Error::Stopped { reason: reason.to_owned() }),
        }
    }

    pub fn statistics(&self) -> Statistics {
        self.store().counters.read()
    }

    /// Upload sessions that are known, running or written down.
    pub fn uploads_open(&self) -> usize {
        self.store().sessions.count()
    }

    /// Begins an upload whose digest will be of `algorithm` (another one costs a second pass over
    /// the bytes). It belongs to its namespace and its owner, and exists nowhere else and for nobody else.
    /// Errors: `NoSpace`; `Stopped`.
    pub async fn begin(&self, home: impl Into<UploadHome>, algorithm: Algorithm) -> Result<UploadId> {
        self.begin_within(home, algorithm, UploadsMax::UNLIMITED).await
    }

    /// Like [`Engine::begin`], unless there are too many uploads already. Errors: `TooManyUploads`.
    pub async fn begin_within(
        &self,
        home: impl Into<UploadHome>,
        algorithm: Algorithm,
        max: UploadsMax,
    ) -> Result<UploadId> {
        self.accepting()?;
        self.store().admit(0)?;
        self.store().sessions.begin(self.store(), home.into(), algorithm, max)
    }

    /// Where an upload stands. Errors: `NotFound`.
    pub async fn upload_status(&self, home: impl Into<UploadHome>, id: UploadId) -> Result<UploadStatus> {
        self.store().sessions.status(&home.into(), id)
    }

    /// Becomes the writer of an upload. Errors: `NotFound`; `Busy` while there is another writer.
    pub async fn resume(&self, home: impl Into<UploadHome>, id: UploadId) -> Result<Upload> {
        Upload::resume(self.store(), &self.store().sessions, &home.into(), id).await
    }

    /// Discards an upload. Errors: as `resume`.
    pub async fn cancel(&self, home: impl Into<UploadHome>, id: UploadId) -> Result<()> {
        self.resume(home, id).await?.abandon().await
    }

    /// Proves content that is in memory. Errors: `DigestMismatch`.
    pub async fn seal_bytes(&self, expected: Digest, content: Bytes) -> Result<Sealed> {
        if content.len() > self.store().allowed.inline_bytes_max() {
            // A random session that nobody else can know.
            let nobody = Namespace::new("-").expect("a valid namespace");
            let id = self.begin(&nobody, expected.algorithm()).await?;
            let mut upload = self.resume(&nobody, id).await?;
            upload.announce(Some(content.len() as u64), Some(expected)).await?;
            upload.append(&content).await?;
            return upload.seal(&expected).await;
        }
        let found = Digest::of(expected.algorithm(), &content);
        if found != expected {
            return Err(Error::DigestMismatch { expected, found });
        }
        let mut sums = ChunkSums::default();
        sums.update(&content);
        let size = content.len() as u64;
        let record = BlobRecord { health: Health::Sound, placement: Placement::Inline, size, sums: sums.finish() };
        let proven = Proven { digest: found, record: Some(record), inline: content, pin: None, upload: None };
        Ok(Sealed { proven, size, staged: None })
    }

    /// Makes a batch durable and visible, whole or not at all. Goes on if the caller goes away.
    ///
    /// Errors: those of the batch's steps; `NoSpace`; `Stopped`.
    pub async fn commit(&self, batch: Batch) -> Result<Receipt> {
        let store = self.store().clone();
        self.store().running.to_the_end(async move { place::commit(&store, batch).await }).await
    }

    /// Looks content up. Errors: `NotFound`, also for damaged content.
    pub async fn find(&self, namespace: &Namespace, digest: &Digest) -> Result<Found> {
        find(self.store(), namespace, digest).await
    }

    /// Opens content for reading. Errors: `NotFound`; `Damaged` when that shows at once.
    pub async fn open_blob(&self, namespace: &Namespace, digest: &Digest) -> Result<Blob> {
        open(self.store(), namespace, digest).await
    }

    /// What a name points at. Errors: `NotFound`, of the namespace or the name.
    pub async fn resolve(&self, namespace: &Namespace, name: &str) -> Result<Digest> {
        Ok(self.resolve_marked(namespace, name).await?.0)
    }

    /// What a name points at, and since when it is known.
    async fn resolve_marked(&self, namespace: &Namespace, name: &str) -> Result<(Digest, Mark)> {
        if !crate::namespace::is_name(name) {
            return Err(Error::NotFound { what: What::Name });
        }
        let key = keys::name(namespace, name);
        let mark = self.store().marks.of(Table::Names, &key);
        match self.store().get(Table::Names, &key).await? {
            Some(bytes) => Ok((decoded(NameRecord::decode(&bytes))?.digest, mark)),
            None => {
                self.require_namespace(namespace).await?;
                Err(Error::NotFound { what: What::Name })
            }
        }
    }

    /// Opens what a name points at.
    pub async fn resolve_open(&self, namespace: &Namespace, name: &str) -> Result<Blob> {
        let (digest, mark) = self.resolve_marked(namespace, name).await?;
        match self.open_blob(namespace, &digest).await {
            Err(Error::NotFound { .. }) => {
                // The name may have moved, and its old target gone, between the two look-ups.
                let (moved, mark) = self.resolve_marked(namespace, name).await?;
                Ok(self.open_blob(namespace, &moved).await?.found_by_name(mark))
            }
            opened => Ok(opened?.found_by_name(mark)),
        }
    }

    /// Whether anything was ever put into a namespace. Errors: `NotFound`.
    pub async fn require_namespace(&self, namespace: &Namespace) -> Result<()> {
        match self.store().get(Table::Namespaces, &keys::namespace(namespace)).await? {
            Some(_) => Ok(()),
            None => Err(Error::NotFound { what: What::Namespace }),
        }
    }

    /// Names after `after` in byte order. Errors: `NotFound` for an unknown namespace.
    pub async fn names(&self, namespace: &Namespace, after: Option<&str>, limit: usize) -> Result<Vec<Named>> {
        self.require_namespace(namespace).await?;
        let prefix = keys::within(namespace);
        let after = after.map(|name| [prefix.as_slice(), name.as_bytes()].concat());
        let skip = prefix.len();
        let pairs = self.store().scan(Table::Names, prefix, after, limit).await?;
        let named = pairs.into_iter().map(|(key, value)| {
            let digest = decoded(NameRecord::decode(&value))?.digest;
            Ok(Named { name: String::from_utf8_lossy(&key[skip..]).into_owned(), digest })
        });
        named.collect()
    }

    /// Namespaces after `after` in byte order.
    pub async fn namespaces(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let after = after.map(|name| name.as_bytes().to_vec());
        let pairs = self.store().scan(Table::Namespaces, Vec::new(), after, limit).await?;
        Ok(pairs.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect())
    }

    /// Documents that refer to `target`, in the order of their digests, after `after`.
    pub async fn referring(
        &self,
        namespace: &Namespace,
        target: &Digest,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Referring>> {
        let kind = crate::EdgeKind::Refers;
        let after = after.map(|source| keys::edge(namespace, target, kind, source));
        let pairs = self.store().scan(Table::Reverse, keys::edges(namespace, target, kind), after, limit).await?;
        let referring = pairs.into_iter().map(|(key, payload)| match keys::split_edge(&key) {
            Some((_, _, _, digest)) => Ok(Referring { digest, payload }),
            None => Err(Error::Store { path: "index".into(), reason: "a malformed edge key".to_owned() }),
        });
        referring.collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Ok(tending) = self.tending.lock() {
            tending.iter().for_each(JoinHandle::abort);
        }
    }
}

/// Changes of the index in memory, in bytes, however little it may cache: with less it would write many
/// tiny files.
#[cfg(feature = "rocks")]
const WRITE_BUFFER_BYTES_MIN: usize = 8 << 20;

/// Makes the root, takes its lock, and writes or checks its format line.
fn prepare_root(root: &Path) -> Result<File> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let failed = |source| Error::io("preparing the root", source);
    let missing = root.ancestors().take_while(|path| !path.exists()).count();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
    let is_new = check_root_format(root)?;
    let mut options = fs::OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(root.join("LOCK")).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::InUse { path: root.to_owned() }),
        Err(errno) => return Err(failed(errno.into())),
    }
    if is_new {
        // The root's own name first: a store that is lost as a whole could not even be rebuilt. An earlier
        // process may have made it and stopped here, so its parent is synced in any case.
        sync_parents(root, missing.max(1)).map_err(failed)?;
        write_format(root).map_err(failed)?;
    }
    Ok(lock)
}

/// Makes the names of a directory and of those above it durable, so many in all.
fn sync_parents(path: &Path, count: usize) -> std::io::Result<()> {
    // Of a path with links the parents are not what its text says.
    let path = fs::canonicalize(path)?;
    path.ancestors().skip(1).take(count).try_for_each(|parent| match File::open(parent) {
        Ok(directory) => directory.sync_all(),
        // A directory that others prepared for us and that we may only pass through.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    })
}

/// Whether the directory is a store of this format (false) or empty (true). Anything else is left
/// alone: `Foreign`.
pub(crate) fn check_root_format(root: &Path) -> Result<bool> {
    let failed = |source| Error::io("reading the root", source);
    let path = root.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(line) if line == FORMAT_LINE => return Ok(false),
        Ok(line) => {
            let (expected, found) = (FORMAT_LINE.trim(), line.trim());
            let reason = format!("{expected:?} expected, {found:?} found: this is not a store of this version");
            return Err(Error::Foreign { path, reason });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !["LOCK", "FORMAT.new", "lost+found"].iter().any(|ours| name == *ours) {
            let reason = "the directory is neither empty nor a store; choose another one".to_owned();
            return Err(Error::Foreign { path: root.to_owned(), reason });
        }
    }
    Ok(true)
}

/// Every other path below the root is resolved without following a symbolic link; the index opens its
/// files by itself, so its directory is looked at before. A root that is a link is the operator's wish.
fn require_own_directory(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            let reason = "a directory of its own was expected, links are not followed; move it back".to_owned();
            Err(Error::Foreign { path: path.to_owned(), reason })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("looking at a directory of the root", error)),
    }
}

/// The format line appears whole or not at all, also after a crash.
fn write_format(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let staged = root.join("FORMAT.new");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(FORMAT_LINE.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, root.join("FORMAT"))?;
    File::open(root)?.sync_all()
}

fn open_index(root: &Path, options: &Options) -> Result<Arc<dyn Index>> {
    let path = &rebuild::index_path(root);
    match options.index {
        IndexKind::Memory => Ok(Arc::new(MemoryIndex::default())),
        #[cfg(feature = "rocks")]
        IndexKind::Rocks => {
            rebuild::refuse_lost_index(root)?;
            require_own_directory(path)?;
            let default = crate::index::RocksOptions::default();
            // Whoever has little memory for what is read has little for what is to be written.
            let write_buffer_bytes = default.write_buffer_bytes.min(options.cache_bytes.max(WRITE_BUFFER_BYTES_MIN));
            let rocks = crate::index::RocksOptions { cache_bytes: options.cache_bytes, write_buffer_bytes, ..default };
            let opened = crate::index::RocksIndex::open(path, rocks).inspect_err(|error| {
                // Whoever is told that there is no space is not told for what.
                tracing::warn!(%error, "the index could not be opened");
            });
            let index = opened.map_err(|error| match index_error(error) {
                Error::InUse { .. } => Error::InUse { path: path.clone() },
                other => rebuild::with_remedy(root, other),
            })?;
            Ok(Arc::new(index))
        }
        #[cfg(not(feature = "rocks"))]
        IndexKind::Rocks => {
            let reason = "this build has no RocksDB index (feature `rocks`)".to_owned();
            Err(Error::Store { path: path.clone(), reason })
        }
    }
}

/// A new index gets the format version; another version is refused.
fn check_format(index: &dyn Index) -> Result<()> {
    let ours = VERSION.to_le_bytes().to_vec();
    match index.get(Table::Meta, keys::FORMAT).map_err(index_error)? {
        Some(found) if found == ours => Ok(()),
        Some(found) => {
            let reason = format!("index format {VERSION} expected, {found:?} found");
            Err(Error::Foreign { path: "index".into(), reason })
        }
        None => {
            let changes = Changes {
                conditions: vec![Condition { table: Table::Meta, key: keys::FORMAT.to_vec(), expected: None }],
                writes: vec![(Table::Meta, keys::FORMAT.to_vec(), Some(ours))],
            };
            match index.write(&changes, Durability::Synced).map_err(index_error)? {
                Outcome::Applied => Ok(()),
                Outcome::Conflict => Err(Error::InUse { path: "index".into() }),
            }
        }
    }
}

/// The order in which threads end their work is in no seed, unless a seed schedules them.
fn repeatable(options: Options) -> Options {
    let hash_threads = if schedule::IS_CHOSEN { options.hash_threads } else { 0 };
    Options { hash_threads, ..options }
}

async fn tend_uploads(store: std::sync::Weak<Store>, settle: std::time::Duration) {
    let period = (settle / 2).max(std::time::Duration::from_millis(50));
    loop {
        schedule::sleep(period).await;
        let Some(store) = store.upgrade() else { return };
        store.sessions.tend(&store, settle).await;
    }
}
