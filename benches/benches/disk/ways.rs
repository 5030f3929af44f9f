//! What every way to the device can do, and the workloads written against that.

use std::{collections::VecDeque, fs::File, future::Future, io, pin::Pin, sync::Arc};

use orlop_engine::io::{Buffer, Disk, Handle, Pool};

const BUFFER_BYTES: usize = 512 << 10;
const IN_FLIGHT_MAX: usize = 3;
const POOL_BYTES: usize = 64 << 20;

pub type Step<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// An open file of one of the ways.
pub enum Opened {
    Engine(Handle),
    Plain(Arc<File>),
}

impl Opened {
    fn engine(&self) -> &Handle {
        match self {
            Opened::Engine(handle) => handle,
            Opened::Plain(_) => panic!("a file of another way"),
        }
    }

    pub fn plain(&self) -> Arc<File> {
        match self {
            Opened::Plain(file) => Arc::clone(file),
            Opened::Engine(_) => panic!("a file of another way"),
        }
    }
}

/// Files that have no name and vanish with the last handle.
pub trait Way: Send + Sync {
    fn create(&self, reserve: u64) -> Step<Opened>;
    /// Starts at once; the buffer comes back.
    fn write(&self, file: &Opened, buffer: Buffer, offset: u64) -> Step<Buffer>;
    fn sync(&self, file: &Opened) -> Step<()>;
}

/// One of the engine's disks.
pub struct Engine(Arc<dyn Disk>);

impl Engine {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Engine(disk)
    }
}

impl Way for Engine {
    fn create(&self, reserve: u64) -> Step<Opened> {
        let created = self.0.create(reserve);
        Box::pin(async move { Ok(Opened::Engine(created.await?)) })
    }

    fn write(&self, file: &Opened, buffer: Buffer, offset: u64) -> Step<Buffer> {
        self.0.write(file.engine(), buffer, offset)
    }

    fn sync(&self, file: &Opened) -> Step<()> {
        self.0.sync(file.engine(), None)
    }
}

/// Writes and syncs `files` files of `size` bytes each, `at_a_time` of them together. Gives them, so
/// that freeing their blocks is nobody's time.
pub async fn write_files(way: Arc<dyn Way>, size: u64, files: u64, at_a_time: u64) -> Vec<Opened> {
    let pool = Pool::new(POOL_BYTES);
    let tasks: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (way, pool) = (Arc::clone(&way), pool.clone());
            tokio::spawn(async move {
                let mut written = Vec::new();
                for _ in 0..files / at_a_time {
                    written.push(write_file(&*way, &pool, size).await.expect("written"));
                }
                written
            })
        })
        .collect();
    let mut written = Vec::new();
    for task in tasks {
        written.extend(task.await.expect("a bench does not panic"));
    }
    written
}

async fn write_file(way: &dyn Way, pool: &Pool, size: u64) -> io::Result<Opened> {
    let file = way.create(size).await?;
    let mut in_flight: VecDeque<Step<Buffer>> = VecDeque::new();
    for offset in (0..size).step_by(BUFFER_BYTES) {
        if in_flight.len() == IN_FLIGHT_MAX
            && let Some(oldest) = in_flight.pop_front()
        {
            drop(oldest.await?);
        }
        let mut buffer = pool.take(BUFFER_BYTES).await;
        buffer.extend(&CONTENT);
        in_flight.push_back(way.write(&file, buffer, offset));
    }
    for write in in_flight {
        drop(write.await?);
    }
    way.sync(&file).await?;
    Ok(file)
}

static CONTENT: [u8; BUFFER_BYTES] = [0xa5; BUFFER_BYTES];
