//! The disk on io_uring.
//!
//! In: operations from any thread, through a bounded channel to a thread that owns a ring. Out:
//! their answers. Writes go through the ring, which does them without a thread that waits. Reads,
//! syncs, allocations and whatever takes a path are ordinary system calls on a blocking thread, as
//! in [`Threads`]: the kernel would hand most of them to a worker thread of its own, which is one
//! more change of threads for each, and the calls that belong together could not share one.
//!
//! What is true: a buffer belongs to its job on the ring's thread from the call until the
//! completion arrives. The caller holds only the receiving end of a channel, so dropping the
//! operation can neither free nor reuse memory that the kernel works on. The job likewise keeps
//! the file open, and uses a duplicate of its descriptor, because tokio-uring's `File` closes the
//! descriptor that it is given: the duplicate costs well under a microsecond and is closed with
//! the job, the original stays the handle's.

use std::{
    future::Future,
    io,
    ops::Range,
    os::fd::BorrowedFd,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_uring::{
    buf::{BoundedBuf, IoBuf},
    fs::File,
};

use super::{
    ALIGNMENT, Buffer, Disk, Entry, Handle, Linked, Op, Pool, StorePath, Threads,
    blocking::{answered, ready},
    check,
    file::{OpenFile, advanced},
    root::Root,
};

/// Threads with a ring each, at most: one for each processor. While all processors hash, a single
/// thread waits for its turn too often: eight uploads of 10 MiB were a quarter slower with one than
/// with two, on two processors.
const RING_THREADS_MAX: usize = 4;

/// Operations that a ring works on at the same time.
const IN_FLIGHT_MAX: u32 = 128;

/// Entries of the submission queue: more than [`IN_FLIGHT_MAX`], so that it is never full.
const SUBMISSION_ENTRIES: u32 = 2 * IN_FLIGHT_MAX;

/// Operations that wait for a ring's thread. Those beyond wait in line for a place; each of them
/// holds its buffer, so the pool of buffers bounds the line.
const QUEUED_MAX: usize = 256;

/// Bytes of one submission: its length field has 32 bits, and the kernel stops at 2 GiB anyway.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// An operation on its way to the ring's thread; what it makes there stays there.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Files below a directory, by io_uring. Dropping it lets the operations under way finish, then
/// ends its threads.
pub struct Ring {
    paths: Threads,
    rings: Vec<mpsc::Sender<Job>>,
    turn: AtomicUsize,
}

impl Ring {
    /// Opens the directory `root`, which must exist. Blocks until the rings are set up.
    /// Errors: those of io_uring_setup(2), EPERM and ENOSYS where it is not allowed.
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::new(Root::open(root)?)
    }

    pub(super) fn new(root: Arc<Root>) -> io::Result<Self> {
        // The threads are not waited for: each ends by itself when its last sender is gone.
        let count = thread::available_parallelism().map_or(1, usize::from).min(RING_THREADS_MAX);
        let rings = (0..count).map(|number| Ok(start(number)?.0)).collect::<io::Result<_>>()?;
        Ok(Ring { paths: Threads::new(root), rings, turn: AtomicUsize::new(0) })
    }

    /// Writes and syncs a block through the ring, on an unnamed file, and looks at it. Blocks meanwhile.
    /// Some sandboxes allow the set-up and refuse the operations, so nothing less would tell.
    pub(super) fn probe(&self) -> io::Result<()> {
        let (answer, result) = std::sync::mpsc::sync_channel(1);
        let outcome = self.paths.root().create().and_then(|file| {
            let job: Job = Box::new(move || {
                Box::pin(async move {
                    let _ = answer.send(probe_file(&file).await);
                })
            });
            self.ring().try_send(job).map_err(|_| stopped())?;
            result.recv().unwrap_or_else(|_| Err(stopped()))
        });
        match outcome {
            // The ring works, the device is full: reads and deletes must still be possible.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => Ok(()),
            outcome => outcome,
        }
    }

    fn ring(&self) -> &mpsc::Sender<Job> {
        &self.rings[self.turn.fetch_add(1, Ordering::Relaxed) % self.rings.len()]
    }
}

/// Sends `work` to the ring's thread, at once if the queue has room.
fn submit<T, F>(ring: &mpsc::Sender<Job>, work: impl FnOnce() -> F + Send + 'static) -> Op<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + 'static,
{
    let (answer, result) = oneshot::channel();
    let job: Job = Box::new(move || {
        Box::pin(async move {
            // Nobody may be waiting any more; what the operation did stays done.
            let _ = answer.send(work().await);
        })
    });
    match ring.try_send(job) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(job)) => {
            let ring = ring.clone();
            drop(tokio::spawn(async move {
                // If the ring has stopped, the dropped job tells whoever waits.
                let _ = ring.send(job).await;
            }));
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return ready(Err(stopped())),
    }
    answered(result)
}

fn stopped() -> io::Error {
    io::Error::other("the io_uring thread has stopped; restart the process, or choose the thread-pool disk")
}

/// Starts a ring's thread and waits for its set-up.
fn start(number: usize) -> io::Result<(mpsc::Sender<Job>, thread::JoinHandle<()>)> {
    let (sender, jobs) = mpsc::channel(QUEUED_MAX);
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(format!("orlop-ring-{number}")).spawn(move || {
        match tokio_uring::Runtime::new(tokio_uring::builder().entries(SUBMISSION_ENTRIES)) {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(serve(jobs));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    outcome.recv().unwrap_or_else(|_| Err(stopped()))?;
    Ok((sender, thread))
}

/// Runs jobs until every sender is gone, and then the last of them to their end: the runtime
/// would cancel what is left.
async fn serve(mut jobs: mpsc::Receiver<Job>) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let Some(job) = jobs.recv().await else { break };
        drop(tokio_uring::spawn(async move {
            job().await;
            drop(permit);
        }));
    }
    let all = room.acquire_many(IN_FLIGHT_MAX).await;
    drop(all);
}

// SAFETY: the address is that of the buffer's own allocation: it does not change while the
// `Buffer` is moved and stays allocated until the `Buffer` is dropped.
unsafe impl IoBuf for Buffer {
    fn stable_ptr(&self) -> *const u8 {
        self.start().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

/// A duplicate for tokio-uring to close.
fn duplicate(descriptor: BorrowedFd<'_>) -> io::Result<File> {
    let descriptor = rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?;
    Ok(File::from_std(std::fs::File::from(descriptor)))
}

/// Ends a job's hold on its file. The last holder of an unnamed file frees its blocks, which
/// takes too long for the ring's thread.
fn release(file: Arc<OpenFile>) {
    if let Some(file) = Arc::into_inner(file) {
        drop(tokio::task::spawn_blocking(move || drop(file)));
    }
}

async fn write_all(file: &OpenFile, mut buffer: Buffer, offset: u64) -> io::Result<Buffer> {
    let (descriptor, mut direct) = file.writing();
    let mut ring_file = duplicate(descriptor)?;
    let mut done = 0;
    while done < buffer.len() {
        let end = buffer.len().min(done + TRANSFER_BYTES_MAX);
        let (outcome, slice) = ring_file.write_at(buffer.slice(done..end), offset + done as u64).submit().await;
        buffer = slice.into_inner();
        match outcome {
            Ok(count) => done = advanced(done, count, direct)?,
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && direct => {
                file.refuse_direct();
                let (descriptor, still_direct) = file.writing();
                ring_file = duplicate(descriptor)?;
                direct = still_direct;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(buffer)
}

async fn probe_file(file: &OpenFile) -> io::Result<()> {
    let pool = Pool::new(ALIGNMENT);
    let mut buffer = pool.take(ALIGNMENT).await;
    buffer.extend(&[0xa5; ALIGNMENT]);
    let mut buffer = write_all(file, buffer, 0).await?;
    file.flush()?;
    buffer.clear();
    file.read_rest(&mut buffer, 0, ALIGNMENT)?;
    if buffer.filled() == [0xa5; ALIGNMENT] {
        return Ok(());
    }
    let reason = "io_uring wrote other bytes than it was given; choose the thread-pool disk and check the file system";
    Err(io::Error::new(io::ErrorKind::InvalidData, reason))
}

impl Disk for Ring {
    fn create(&self, reserve: u64) -> Op<Handle> {
        self.paths.create(reserve)
    }

    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        self.paths.open(path, write)
    }

    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        match check::write(&buffer, offset).and_then(|()| OpenFile::of(file)) {
            Ok(file) => submit(self.ring(), move || async move {
                let outcome = write_all(&file, buffer, offset).await;
                release(file);
                outcome
            }),
            Err(error) => ready(Err(error)),
        }
    }

    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.paths.read(file, buffer, offset, len)
    }

    fn reread(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.paths.reread(file, buffer, offset, len)
    }

    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        self.paths.sync(file, len)
    }

    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.paths.link(file, path)
    }

    fn unlink(&self, path: &StorePath) -> Op<()> {
        self.paths.unlink(path)
    }

    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.paths.list(path)
    }

    fn reserve(&self, file: &Handle, range: Range<u64>) -> Option<Op<()>> {
        self.paths.reserve(file, range)
    }

    fn keep(&self, file: &Handle, len: Option<u64>, path: &StorePath) -> Option<Op<Linked>> {
        self.paths.keep(file, len, path)
    }

    fn displace(&self, path: &StorePath) -> Option<Op<()>> {
        self.paths.displace(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_thread_ends_after_its_last_operation() {
        let (ring, thread) = match start(0) {
            Ok(started) => started,
            Err(error) => return eprintln!("not run: io_uring was refused: {error}"),
        };
        let (open, gate) = oneshot::channel::<u32>();
        let op = submit(&ring, move || async move { gate.await.map_err(io::Error::other) });
        drop(ring);
        open.send(7).expect("the operation is waiting");
        assert_eq!(op.await.expect("it ends in spite of the dropped ring"), 7);
        tokio::task::spawn_blocking(|| thread.join()).await.expect("joined").expect("the thread did not panic");
    }

    #[tokio::test]
    async fn a_stopped_ring_says_so() {
        let (ring, jobs) = mpsc::channel(1);
        drop(jobs);
        let error = submit(&ring, || async { Ok(()) }).await.expect_err("nobody is there");
        assert!(error.to_string().contains("has stopped"), "{error}");
    }

    #[tokio::test]
    async fn a_full_queue_only_delays() {
        let (ring, mut jobs) = mpsc::channel(1);
        let ops: Vec<Op<usize>> = (0..5).map(|index| submit(&ring, move || async move { Ok(index) })).collect();
        drop(ring);
        let mut served = 0;
        while let Some(job) = jobs.recv().await {
            job().await;
            served += 1;
        }
        assert_eq!(served, 5);
        for (index, op) in ops.into_iter().enumerate() {
            assert_eq!(op.await.expect("served"), index);
        }
    }
}
