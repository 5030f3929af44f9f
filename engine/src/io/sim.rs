//! A disk in memory that can fail and crash in every way the engine must survive.
//!
//! Fault model. An operation takes effect when it is called, all of it or, if it fails, nothing;
//! its answer may come later, and answers come in any order. At a crash:
//!
//! - Bytes not covered by a successful sync of their file: each 4 KiB sector is lost (the last
//!   durable content, or zeros), kept, or torn (new up to a multiple of 512 bytes, then old),
//!   independently of all others. A sector written more than once may keep any of the writes.
//! - The length: any that the file had since its last sync.
//! - After a failed sync all of that still holds, even if a later sync succeeds.
//! - Names not covered by a sync of their directory: each link and each unlink is lost or kept,
//!   independently of all others.
//! - A file without a name vanishes.
//! - Directories stay, because `link` answers only after they are durable.
//! - Bytes and names covered by a sync stay as they are.
//!
//! Damage of the medium is injected with [`SimDisk::corrupt`], errors with [`SimDisk::fail_at`],
//! the end of power with [`SimDisk::crash_after`], a device that lies with [`SimDisk::ignore_syncs`].
//! Everything follows from the seeds and from the
//! order of the calls.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hasher},
    io,
    sync::{Arc, PoisonError},
};

use super::{Buffer, Disk, Entry, Handle, Linked, Op, StorePath, check};
use crate::schedule::{self, Mutex, MutexGuard};

mod content;
mod names;
mod random;

use content::Content;
use names::{File, Names};
use random::Random;

/// An answer is put off by fewer turns of its task than this.
const TURNS_END: usize = 4;

/// Bytes of one file. A file that would grow beyond it gets ENOSPC.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// What a sync makes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// The bytes of a file.
    Bytes,
    /// The names in a directory.
    Names,
}

/// A simulated disk. Cloning shares it: keep a clone to inject faults.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
}

struct State {
    names: Names,
    random: Random,
    operations: u64,
    crash_at: Option<u64>,
    failures: BTreeMap<u64, i32>,
    ignored: Option<Synced>,
}

/// What a [`Handle`] of this disk holds.
struct Node {
    disk: Arc<Shared>,
    target: Target,
}

enum Target {
    File { file: Arc<File>, write: bool },
    Directory(StorePath),
}

impl SimDisk {
    /// An empty disk; `seed` decides the order of the answers.
    pub fn new(seed: u64) -> Self {
        Self::with(Names::default(), Random::new(seed))
    }

    fn with(names: Names, random: Random) -> Self {
        let state = State { names, random, operations: 0, crash_at: None, failures: BTreeMap::new(), ignored: None };
        SimDisk(Arc::new(Shared { state: Mutex::new(state) }))
    }

    /// How many operations were called so far, failed ones included. The next one has this
    /// number.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the operations numbered 0 to `operation - 1` pass; all from `operation` on fail and
    /// have no effect.
    pub fn crash_after(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// Lets operation number `operation` fail with `errno` and without effect. A sync that fails
    /// like this leaves its file in doubt for good.
    pub fn fail_at(&self, operation: u64, errno: i32) {
        self.state().failures.insert(operation, errno);
    }

    /// From now on, syncs of one kind succeed and make nothing durable: what must not go unnoticed by
    /// any test that is to find a missing sync.
    pub fn ignore_syncs(&self, kind: Synced) {
        self.state().ignored = Some(kind);
    }

    /// How many things may come out in more than one way if it crashes now: 0 leaves one state.
    pub fn uncertain(&self) -> usize {
        self.state().names.uncertain()
    }

    /// A new disk in one of the states that a crash now may leave, chosen by `seed`. This disk is
    /// unchanged, so that many seeds can be tried; its handles are not valid on the new one.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut random = Random::new(seed);
        let names = self.state().names.crashed(&mut random);
        Self::with(names, random)
    }

    /// A hash of all names and bytes as they are now: two crashes that left the same need not both be tried.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.state().names.hash(&mut hasher);
        hasher.finish()
    }

    /// Flips the bits of `xor` in one stored byte.
    /// Errors: `NotFound`; `InvalidInput` for an offset at or beyond the end.
    pub fn corrupt(&self, path: &StorePath, offset: u64, xor: u8) -> io::Result<()> {
        let state = self.state();
        let mut content = state.names.file(path).ok_or(io::ErrorKind::NotFound)?.content();
        let Some(position) = usize::try_from(offset).ok().filter(|position| *position < content.len()) else {
            let reason = format!("{path:?} has {} bytes; byte {offset} does not exist", content.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        };
        content.corrupt(position, xor);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Performs one operation now; the answer comes some turns later.
    fn operate<T: Send + 'static>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> Op<T> {
        let mut state = self.state();
        let outcome = state.begin().and_then(|()| work(&mut state));
        let turns = state.random.below(TURNS_END);
        Box::pin(async move {
            for _ in 0..turns {
                schedule::yield_now().await;
            }
            outcome
        })
    }

    fn handle(&self, target: Target) -> Handle {
        Handle(Arc::new(Node { disk: Arc::clone(&self.0), target }))
    }

    fn node(&self, handle: &Handle) -> io::Result<Arc<Node>> {
        let any: Arc<dyn Any + Send + Sync> = Arc::clone(&handle.0);
        let node: Arc<Node> = any.downcast().map_err(|_| check::foreign_handle())?;
        if Arc::ptr_eq(&node.disk, &self.0) { Ok(node) } else { Err(check::foreign_handle()) }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl State {
    /// Counts an operation and decides whether it happens.
    fn begin(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if self.crash_at.is_some_and(|crash_at| crash_at <= number) {
            return Err(io::Error::other("the simulated machine has crashed"));
        }
        match self.failures.remove(&number) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

impl Target {
    fn file(&self) -> io::Result<&Arc<File>> {
        match self {
            Target::File { file, .. } => Ok(file),
            Target::Directory(_) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        }
    }

    fn writable(&self) -> io::Result<&Arc<File>> {
        match self {
            Target::File { write: false, .. } => Err(io::Error::from_raw_os_error(libc::EBADF)),
            target => target.file(),
        }
    }
}

/// Where a file ends that reaches up to `end`. Errors: ENOSPC.
fn within_device(end: u64) -> io::Result<usize> {
    if end > FILE_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    usize::try_from(end).map_err(|_| io::Error::from_raw_os_error(libc::ENOSPC))
}

impl Disk for SimDisk {
    fn create(&self, reserve: u64) -> Op<Handle> {
        self.operate(|_| {
            let file = File::new(Content::reserved(within_device(reserve)?));
            Ok(self.handle(Target::File { file, write: true }))
        })
    }

    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        self.operate(|state| {
            state.names.check_parents(path)?;
            if state.names.is_directory(path) {
                return Ok(self.handle(Target::Directory(path.clone())));
            }
            let file = Arc::clone(state.names.file(path).ok_or(io::ErrorKind::NotFound)?);
            Ok(self.handle(Target::File { file, write }))
        })
    }

    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        self.operate(|_| {
            check::write(&buffer, offset)?;
            within_device(offset.saturating_add(buffer.len() as u64))?;
            let node = self.node(file)?;
            node.target.writable()?.content().write(within_device(offset)?, buffer.filled());
            Ok(buffer)
        })
    }

    fn read(&self, file: &Handle, mut buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.operate(|_| {
            check::read(&buffer, len)?;
            let node = self.node(file)?;
            buffer.clear();
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            buffer.extend(node.target.file()?.content().read(offset, len));
            Ok(buffer)
        })
    }

    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        let node = match self.node(file) {
            Ok(node) => node,
            Err(error) => return self.operate(|_| Err(error)),
        };
        let performed = std::cell::Cell::new(false);
        let op = self.operate(|state| {
            performed.set(true);
            match &node.target {
                Target::File { file, .. } if state.ignored == Some(Synced::Bytes) => file.content().cut(len)?,
                Target::File { file, .. } => file.content().sync(len)?,
                Target::Directory(_) if state.ignored == Some(Synced::Names) => {}
                Target::Directory(path) => state.names.sync(path),
            }
            Ok(())
        });
        if let (false, Target::File { file, .. }) = (performed.get(), &node.target) {
            file.content().abandon();
        }
        op
    }

    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.operate(|state| state.names.link(path, self.node(file)?.target.file()?))
    }

    fn unlink(&self, path: &StorePath) -> Op<()> {
        self.operate(|state| state.names.unlink(path))
    }

    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.operate(|state| state.names.list(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Pool, keep};

    async fn disk_with(name: &str, byte: u8) -> SimDisk {
        let (disk, pool) = (SimDisk::new(1), Pool::new(1 << 20));
        let file = disk.create(0).await.expect("created");
        let mut buffer = pool.take(4096).await;
        buffer.extend(&[byte; 4096]);
        drop(disk.write(&file, buffer, 0).await.expect("written"));
        let path = StorePath::root().join("files").join(name);
        assert_eq!(keep(&disk, &file, Some(100), &path).await.expect("kept"), Linked::New);
        disk
    }

    #[tokio::test]
    async fn fingerprints_tell_names_and_bytes_apart() {
        let disk = disk_with("a", 1).await;
        assert_eq!(disk.fingerprint(), disk.crash(5).fingerprint(), "everything was durable");
        assert_eq!(disk.fingerprint(), disk_with("a", 1).await.fingerprint());
        assert_ne!(disk.fingerprint(), disk_with("a", 2).await.fingerprint());
        assert_ne!(disk.fingerprint(), disk_with("b", 1).await.fingerprint());
        disk.corrupt(&StorePath::root().join("files").join("a"), 99, 1).expect("within the file");
        assert_ne!(disk.fingerprint(), disk_with("a", 1).await.fingerprint());
    }
}
