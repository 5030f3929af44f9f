//! A store for one bench: on a real file system, gone with the bench.

use std::{
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use orlop_engine::{Algorithm, Batch, Blob, Digest, Engine, Namespace, Options, Result};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Bytes given to an upload at a time: what a socket of a busy server yields at once.
const PIECE_BYTES: usize = 256 << 10;

/// An engine with its directory and the kind of runtime that the server has. Closed and removed
/// when it is dropped.
pub struct Store {
    /// Present, except while it is opened again.
    engine: Option<Engine>,
    directory: TempDir,
    runtime: Runtime,
}

impl Store {
    /// Opens a new store. Errors: those of `Engine::open`, above all that there is no io_uring.
    pub fn open(options: &Options) -> Result<Self> {
        let mut store = Store { engine: None, directory: directory(), runtime: Runtime::new().expect("a runtime") };
        store.reopen(options)?;
        Ok(store)
    }

    /// Closes the store and opens it again: the index is read from its files from now on.
    pub fn reopen(&mut self, options: &Options) -> Result<()> {
        self.close()?;
        let opening = Engine::open(self.directory.path(), options.clone());
        self.engine = Some(self.runtime.block_on(opening)?);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        match self.engine.take() {
            Some(engine) => self.runtime.block_on(engine.close()),
            None => Ok(()),
        }
    }

    pub fn engine(&self) -> Engine {
        self.engine.clone().expect("the store is open")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs `work` where the server's requests run: as a task of the runtime.
    pub fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.runtime.spawn(work);
        self.runtime.block_on(task).expect("a bench does not panic")
    }

    /// Does `work` `iterations` times, one after the other. Gives the time it took.
    pub fn repeat<F>(&self, iterations: u64, work: impl Fn(Engine) -> F + Send + 'static) -> Duration
    where
        F: Future<Output = ()> + Send,
    {
        let engine = self.engine();
        self.run(async move {
            let start = Instant::now();
            for _ in 0..iterations {
                work(engine.clone()).await;
            }
            start.elapsed()
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            println!("{} was not closed: {error}", self.path().display());
        }
    }
}

/// A directory below cargo's target directory: `/tmp` is in memory on many machines, where
/// neither O_DIRECT nor a sync means anything.
pub fn directory() -> TempDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tempfile::Builder::new().prefix("bench-").tempdir_in(parent).expect("cargo's temporary directory")
}

pub fn namespace() -> Namespace {
    Namespace::new("bench").expect("a valid namespace")
}

/// Pushes content whose size and digest are announced, up to the acknowledgement.
pub async fn push(engine: &Engine, content: &[u8], digest: &Digest) -> Result<()> {
    let namespace = namespace();
    let id = engine.begin(&namespace, Algorithm::Sha256).await?;
    let mut upload = engine.resume(&namespace, id).await?;
    upload.announce(Some(content.len() as u64), Some(*digest)).await?;
    for piece in content.chunks(PIECE_BYTES) {
        upload.append(piece).await?;
    }
    let sealed = upload.seal(digest).await?;
    let _receipt = engine.commit(Batch::new(namespace).blob(sealed)).await?;
    Ok(())
}

/// A batch with a document that gets a name.
pub async fn document(engine: &Engine, name: String, content: Bytes) -> Result<Batch> {
    let digest = Digest::of(Algorithm::Sha256, &content);
    let sealed = engine.seal_bytes(digest, content).await?;
    Ok(Batch::new(namespace()).document(sealed, b"bench".to_vec(), Vec::new()).bind(name, digest))
}

/// Reads `range` to its end. Gives the bytes read.
pub async fn drain(blob: Blob, range: std::ops::Range<u64>) -> Result<u64> {
    let mut reader = blob.read(range);
    let mut bytes = 0;
    while let Some(part) = reader.next().await {
        bytes += part?.len() as u64;
    }
    Ok(bytes)
}
