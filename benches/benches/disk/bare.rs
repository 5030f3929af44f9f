//! A ring without a runtime around it: whoever writes submits, one thread collects.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use io_uring::{IoUring, opcode, types::Fd};
use orlop_engine::io::Buffer;
use tokio::sync::oneshot;

use super::{
    plain,
    ways::{Opened, Step, Way},
};

/// More than the workloads have under way, so that it is never full.
const ENTRIES: u32 = 256;

/// Of the submission that ends the collecting thread.
const STOP: u64 = u64::MAX;

pub struct Bare {
    directory: PathBuf,
    ring: Arc<Shared>,
    collector: Option<JoinHandle<()>>,
}

struct Shared {
    ring: IoUring,
    /// Held while an entry is pushed and submitted.
    submitting: Mutex<()>,
    writes: Mutex<Vec<Option<Write>>>,
}

/// What the kernel works on: kept here until it is done.
struct Write {
    file: Arc<File>,
    buffer: Buffer,
    answer: oneshot::Sender<io::Result<Buffer>>,
}

impl Bare {
    pub fn open(directory: &Path) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { ring: IoUring::new(ENTRIES)?, submitting: Mutex::default(), writes: Mutex::default() });
        let collecting = Arc::clone(&shared);
        let collector = std::thread::spawn(move || collecting.collect());
        Ok(Bare { directory: directory.to_owned(), ring: shared, collector: Some(collector) })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.ring.submit(&opcode::Nop::new().build().user_data(STOP)).expect("submitted");
        if let Some(collector) = self.collector.take() {
            collector.join().expect("a bench does not panic");
        }
    }
}

impl Shared {
    fn submit(&self, entry: &io_uring::squeue::Entry) -> io::Result<()> {
        let _alone = self.submitting.lock().expect("a bench does not panic");
        // SAFETY: the lock makes this the only view of the submission queue. What the entry points
        // to lies in `writes`, from where only `collect` takes it, after its completion.
        let pushed = unsafe { self.ring.submission_shared().push(entry) };
        pushed.map_err(io::Error::other)?;
        self.ring.submit().map(drop)
    }

    fn write(&self, write: Write, offset: u64) -> io::Result<()> {
        let mut writes = self.writes.lock().expect("a bench does not panic");
        let slot = writes.iter().position(Option::is_none).unwrap_or(writes.len());
        let bytes = write.buffer.filled();
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let entry = opcode::Write::new(Fd(write.file.as_raw_fd()), bytes.as_ptr(), len).offset(offset).build();
        if slot == writes.len() {
            writes.push(None);
        }
        writes[slot] = Some(write);
        drop(writes);
        self.submit(&entry.user_data(slot as u64))
    }

    fn collect(&self) {
        loop {
            // SAFETY: no argument is passed.
            let waited = unsafe { self.ring.submitter().enter::<()>(0, 1, GETEVENTS, None) };
            if let Err(error) = waited {
                assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
            }
            // SAFETY: only this thread looks at the completion queue.
            for done in unsafe { self.ring.completion_shared() } {
                if done.user_data() == STOP {
                    return;
                }
                let slot = usize::try_from(done.user_data()).expect("a slot");
                let write = self.writes.lock().expect("a bench does not panic")[slot].take().expect("was under way");
                let written = usize::try_from(done.result()).unwrap_or(0) == write.buffer.filled().len();
                let failed = || io::Error::other(format!("a write ended with {}", done.result()));
                let _ = write.answer.send(if written { Ok(write.buffer) } else { Err(failed()) });
            }
        }
    }
}

/// `IORING_ENTER_GETEVENTS` of io_uring_enter(2).
const GETEVENTS: u32 = 1;

impl Way for Bare {
    fn create(&self, reserve: u64) -> Step<Opened> {
        let directory = self.directory.clone();
        blocking(move || Ok(Opened::Plain(Arc::new(plain::create(&directory, reserve)?))))
    }

    fn write(&self, file: &Opened, buffer: Buffer, offset: u64) -> Step<Buffer> {
        let (answer, result) = oneshot::channel();
        let submitted = self.ring.write(Write { file: file.plain(), buffer, answer }, offset);
        Box::pin(async move {
            submitted?;
            result.await.map_err(io::Error::other)?
        })
    }

    fn sync(&self, file: &Opened) -> Step<()> {
        let file = file.plain();
        blocking(move || file.sync_data())
    }
}

fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Step<T> {
    Box::pin(async move { tokio::task::spawn_blocking(work).await? })
}
