//! A disk that refuses content before it is full.

use std::{io, ops::Range, sync::Arc};

use super::{Buffer, Disk, Entry, Handle, Linked, Op, StorePath, space::Space};

/// Another disk, less what [`Space`] keeps of it.
pub(crate) struct Reserving {
    disk: Arc<dyn Disk>,
    space: Arc<Space>,
}

impl Reserving {
    pub fn over(disk: Arc<dyn Disk>, space: Arc<Space>) -> Arc<dyn Disk> {
        Arc::new(Reserving { disk, space })
    }
}

fn refused<T: Send + 'static>(error: io::Error) -> Op<T> {
    Box::pin(std::future::ready(Err(error)))
}

impl Disk for Reserving {
    fn create(&self, reserve: u64) -> Op<Handle> {
        match self.space.admit(reserve) {
            Ok(admission) => {
                let created = self.disk.create(reserve);
                Box::pin(async move {
                    let _admission = admission;
                    created.await
                })
            }
            Err(error) => refused(error),
        }
    }

    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        self.disk.open(path, write)
    }

    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        match self.space.proceed(buffer.len() as u64) {
            Ok(admission) => {
                let written = self.disk.write(file, buffer, offset);
                Box::pin(async move {
                    let _admission = admission;
                    written.await
                })
            }
            Err(error) => refused(error),
        }
    }

    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.disk.read(file, buffer, offset, len)
    }

    fn reread(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.disk.reread(file, buffer, offset, len)
    }

    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        self.disk.sync(file, len)
    }

    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.disk.link(file, path)
    }

    fn unlink(&self, path: &StorePath) -> Op<()> {
        self.disk.unlink(path)
    }

    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.disk.list(path)
    }

    fn reserve(&self, file: &Handle, range: Range<u64>) -> Option<Op<()>> {
        match self.space.admit(range.end.saturating_sub(range.start)) {
            Ok(admission) => self.disk.reserve(file, range).map(|reserved| -> Op<()> {
                Box::pin(async move {
                    let _admission = admission;
                    reserved.await
                })
            }),
            Err(error) => Some(refused(error)),
        }
    }

    fn displace(&self, path: &StorePath) -> Option<Op<()>> {
        self.disk.displace(path)
    }

    fn keep(&self, file: &Handle, len: Option<u64>, path: &StorePath) -> Option<Op<Linked>> {
        self.disk.keep(file, len, path)
    }
}
