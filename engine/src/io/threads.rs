//! The disk for every Linux: ordinary system calls on blocking threads.
//!
//! Reads of cached bytes are answered on the calling thread; everything else hops once.

use std::{io, ops::Range, path::Path, sync::Arc};

use super::{
    Buffer, Disk, Entry, Handle, Linked, Op, StorePath,
    blocking::{Blocking, ready},
    check,
    file::OpenFile,
    root::Root,
};

/// Files below a directory, by pread(2) and pwrite(2).
pub struct Threads {
    root: Arc<Root>,
    blocking: Blocking,
}

impl Threads {
    /// Opens the directory `root`, which must exist.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self::new(Root::open(root)?))
    }

    pub(super) fn new(root: Arc<Root>) -> Self {
        Threads { root, blocking: Blocking::new() }
    }

    #[cfg(feature = "ring")]
    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }
}

/// The part of a read that needs no device, done by the calling thread: the finished operation,
/// or what is needed to go on.
pub(super) enum Started {
    Over(Op<Buffer>),
    Rest(Arc<OpenFile>, Buffer),
}

pub(super) fn start_read(file: &Handle, mut buffer: Buffer, offset: u64, len: usize) -> Started {
    let cached = check::read(&buffer, len).and_then(|()| OpenFile::of(file)).and_then(|file| {
        buffer.clear();
        let over = file.read_cached(&mut buffer, offset, len)?;
        Ok((file, over))
    });
    match cached {
        Ok((_, true)) => Started::Over(ready(Ok(buffer))),
        Ok((file, false)) => Started::Rest(file, buffer),
        Err(error) => Started::Over(ready(Err(error))),
    }
}

impl Disk for Threads {
    fn create(&self, reserve: u64) -> Op<Handle> {
        let root = Arc::clone(&self.root);
        self.blocking.run(move || {
            let file = root.create()?;
            file.reserve(0..reserve)?;
            Ok(file.into_handle())
        })
    }

    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        let (root, path) = (Arc::clone(&self.root), path.clone());
        self.blocking.run(move || Ok(root.open_existing(&path, write)?.into_handle()))
    }

    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        let file = match check::write(&buffer, offset).and_then(|()| OpenFile::of(file)) {
            Ok(file) => file,
            Err(error) => return ready(Err(error)),
        };
        self.blocking.run(move || {
            file.write_all(buffer.filled(), offset)?;
            Ok(buffer)
        })
    }

    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        match start_read(file, buffer, offset, len) {
            Started::Over(op) => op,
            Started::Rest(file, mut buffer) => self.blocking.run(move || {
                file.fetch_ahead(offset, len);
                file.read_rest(&mut buffer, offset, len)?;
                Ok(buffer)
            }),
        }
    }

    fn reread(&self, file: &Handle, mut buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        let reread = check::read(&buffer, len).and_then(|()| OpenFile::of(file)).and_then(|file| {
            buffer.clear();
            file.reread(&mut buffer, offset, len)
        });
        ready(reread.map(|()| buffer))
    }

    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        let file = match OpenFile::of(file) {
            Ok(file) => file,
            Err(error) => return ready(Err(error)),
        };
        self.blocking.run(move || {
            if let Some(len) = len {
                file.cut(len)?;
            }
            file.flush()
        })
    }

    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        let file = match OpenFile::of(file) {
            Ok(file) => file,
            Err(error) => return ready(Err(error)),
        };
        let (root, path) = (Arc::clone(&self.root), path.clone());
        self.blocking.run(move || root.link(&file, &path))
    }

    fn unlink(&self, path: &StorePath) -> Op<()> {
        let (root, path) = (Arc::clone(&self.root), path.clone());
        self.blocking.run(move || root.unlink(&path))
    }

    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        let (root, path) = (Arc::clone(&self.root), path.clone());
        self.blocking.run(move || root.list(&path))
    }

    fn reserve(&self, file: &Handle, range: Range<u64>) -> Option<Op<()>> {
        let file = match OpenFile::of(file) {
            Ok(file) => file,
            Err(error) => return Some(ready(Err(error))),
        };
        Some(self.blocking.run(move || file.reserve(range)))
    }

    fn displace(&self, path: &StorePath) -> Option<Op<()>> {
        let (root, path) = (Arc::clone(&self.root), path.clone());
        Some(self.blocking.run(move || root.displace(&path)))
    }

    fn keep(&self, file: &Handle, len: Option<u64>, path: &StorePath) -> Option<Op<Linked>> {
        let file = match OpenFile::of(file) {
            Ok(file) => file,
            Err(error) => return Some(ready(Err(error))),
        };
        let (root, path) = (Arc::clone(&self.root), path.clone());
        Some(self.blocking.run(move || {
            if let Some(len) = len {
                file.cut(len)?;
            }
            file.flush()?;
            root.link_durably(&file, &path)
        }))
    }
}
