//! A loop device over a file of our own, which sees every request.
//!
//! In: an image. Out: a block device with its bytes, and an [`Entry`] for each write, discard and flush.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use super::{Entry, Image, Recording, leftovers};
use crate::{
    faults::{
        disk::mount_device,
        serve::{Answering, serve},
        wire::{Allocation, Attributes, Call, Reply, Request, answer},
    },
    process::run,
};

/// The only file.
const FILE: &str = "image";
const FILE_NODE: u64 = 2;
const ROOT_NODE: u64 = 1;

const REGULAR: u32 = 0o100_600;
const DIRECTORY: u32 = 0o040_755;

/// The file, and what was done to it.
struct Content {
    image: Image,
    /// `None` where nobody will ask for them.
    entries: Option<Vec<Entry>>,
}

struct Served {
    content: Mutex<Content>,
    /// How many entries there are, for everybody who notes when something happened.
    clock: Arc<AtomicU64>,
    flushes: Arc<AtomicU64>,
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, content: &mut Content, entry: Entry) {
        if let Some(entries) = &mut content.entries {
            if entry == Entry::Flush {
                self.flushes.fetch_add(1, Ordering::SeqCst);
            }
            entries.push(entry);
            // Before the request is answered: who was told of it sees it counted.
            self.clock.store(entries.len() as u64, Ordering::SeqCst);
        }
    }

    fn attributes(&self, node: u64) -> Attributes {
        match node {
            FILE_NODE => {
                let bytes = self.lock().image.bytes();
                Attributes { node, size: bytes, mode: REGULAR, links: 1, blocks: bytes / 512 }
            }
            _ => Attributes { node, size: 0, mode: DIRECTORY, links: 2, blocks: 0 },
        }
    }

    fn write(&self, offset: u64, bytes: Vec<u8>, is_synced: bool) -> Reply {
        let content = &mut *self.lock();
        let count = bytes.len();
        content.image.write(offset, &bytes);
        self.record(content, Entry::Write { offset, bytes });
        if is_synced {
            self.record(content, Entry::Flush);
        }
        Reply::written(count)
    }

    fn allocate(&self, offset: u64, length: u64, how: Allocation) -> Result<Reply, Errno> {
        if how != Allocation::Punch {
            return Err(Errno::OPNOTSUPP);
        }
        let content = &mut *self.lock();
        content.image.zero(offset, length);
        self.record(content, Entry::Zero { offset, length });
        Ok(Reply::empty())
    }

    fn perform(&self, request: Request) -> Option<Result<Reply, Errno>> {
        let node = request.node;
        let result = match request.call {
            Call::Forget | Call::ForgetMany(_) | Call::Interrupt => return None,
            Call::Start { minor, flags } => Ok(Reply::start(minor, flags)),
            Call::Lookup(name) if node == ROOT_NODE && name == FILE => Ok(Reply::entry(&self.attributes(FILE_NODE))),
            Call::Lookup(_) => Err(Errno::NOENT),
            Call::Attributes | Call::SetAttributes { size: None, .. } => Ok(Reply::known(&self.attributes(node))),
            Call::Open => Ok(Reply::empty().opened(0)),
            Call::Read { offset, length } => Ok(Reply::bytes(self.lock().image.read(offset, length))),
            Call::Write { offset, bytes, is_synced, .. } => Ok(self.write(offset, bytes, is_synced)),
            Call::Allocate { offset, length, how } => self.allocate(offset, length, how),
            Call::Sync => {
                self.record(&mut self.lock(), Entry::Flush);
                Ok(Reply::empty())
            }
            Call::Close => Ok(Reply::empty()),
            _ => Err(Errno::NOSYS),
        };
        Some(result)
    }
}

impl Answering for Served {
    fn handle(&self, request: Request) -> Option<Vec<u8>> {
        let unique = request.unique;
        self.perform(request).map(|result| answer(unique, result))
    }
}

/// A block device; detached when dropped. Whatever was mounted from it must be gone.
pub struct Device {
    /// Where the file is.
    directory: PathBuf,
    path: Option<PathBuf>,
    base: Image,
    sector_bytes: usize,
    served: Arc<Served>,
    threads: Vec<JoinHandle<()>>,
}

impl Device {
    /// A device with these bytes, in sectors of 512 or 4096. `directory` is made if it is not there. With a `clock` it records, and
    /// the clock tells the number of entries.
    /// Errors: no file system of one's own, or no loop device can be had here.
    pub fn attach(
        directory: &Path,
        image: &Image,
        sector_bytes: usize,
        clock: Option<Arc<AtomicU64>>,
    ) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let entries = clock.is_some().then(Vec::new);
        let clock = clock.unwrap_or_default();
        clock.store(0, Ordering::SeqCst);
        let content = Mutex::new(Content { image: image.clone(), entries });
        let served = Arc::new(Served { content, clock, flushes: Arc::default() });
        leftovers::remove();
        let mounted = mount_device(&leftovers::name(), directory)?;
        let threads = serve(mounted, &served);
        // From here on the guard cleans up.
        let directory = directory.to_owned();
        let mut device = Device { path: None, base: image.clone(), sector_bytes, served, threads, directory };
        let size = format!("--sector-size={sector_bytes}");
        let ended = run(Command::new("losetup").args(["--find", "--show", &size]).arg(device.directory.join(FILE)));
        if !ended.status.success() {
            return Err(io::Error::new(ErrorKind::Unsupported, format!("no loop device: {}", ended.stderr.trim())));
        }
        device.path = Some(PathBuf::from(ended.stdout.trim()));
        Ok(device)
    }

    /// Why there can't be one here.
    pub fn obstacle() -> Option<String> {
        let has_loops = Path::new("/dev/loop-control").exists();
        crate::faults::FaultDisk::obstacle()
            .or_else(|| (!has_loops).then(|| "there is no /dev/loop-control".to_owned()))
    }

    /// The device's own name.
    pub fn path(&self) -> &Path {
        self.path.as_deref().expect("an attached device has a name")
    }

    /// A setting of its queue, as the kernel shows it.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn setting(&self, name: &str) -> String {
        let device = self.path().file_name().expect("a device has a name").to_string_lossy().into_owned();
        let path = format!("/sys/block/{device}/queue/{name}");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }

    /// From now on the device is detached as soon as nobody has it open, even if this process is killed.
    pub fn detach_when_unused(&self) {
        // Whether it works is seen when the device is detached.
        run(Command::new("losetup").arg("--detach").arg(self.path()));
    }

    /// Its bytes now.
    pub fn image(&self) -> Image {
        self.served.lock().image.clone()
    }

    /// How often it was flushed so far, if it records.
    pub fn flushes(&self) -> Arc<AtomicU64> {
        self.served.flushes.clone()
    }

    /// Everything that was done so far.
    pub fn recording(&self) -> Recording {
        let entries = self.served.lock().entries.clone().unwrap_or_default();
        Recording { base: self.base.clone(), entries, sector_bytes: self.sector_bytes }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let is_attached = || {
                fs::read_to_string(backing(path)).is_ok_and(|file| file.starts_with(&*self.directory.to_string_lossy()))
            };
            if is_attached() {
                run(Command::new("losetup").arg("--detach").arg(path));
            }
        }
        // By force, so that nobody can wait for an answer that does not come.
        let unmounted = unmount(&self.directory, UnmountFlags::empty())
            .or_else(|_| unmount(&self.directory, UnmountFlags::FORCE | UnmountFlags::DETACH));
        if let Err(error) = unmounted {
            eprintln!("{} cannot be unmounted: {error}", self.directory.display());
            return;
        }
        for thread in self.threads.drain(..) {
            // A panic was shown when it happened.
            let _ = thread.join();
        }
    }
}

/// Where the kernel says which file a loop device has.
fn backing(path: &Path) -> PathBuf {
    let device = path.file_name().unwrap_or_default();
    Path::new("/sys/block").join(device).join("loop/backing_file")
}
