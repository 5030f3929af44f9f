//! Announcing sizes takes a bounded part of the disk, and what was allocated for nothing comes back.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use orlop_engine::{
    Algorithm, Batch, Engine, Options, Upload,
    index::MemoryIndex,
    io::{Buffer, Disk, Entry, Handle, Linked, Op, SimDisk, StorePath},
};

use crate::common::*;

const MIB: u64 = 1 << 20;

/// A disk that counts the bytes it was asked to allocate.
struct Counting {
    disk: SimDisk,
    reserved: Arc<AtomicU64>,
}

impl Disk for Counting {
    fn create(&self, reserve: u64) -> Op<Handle> {
        self.reserved.fetch_add(reserve, Ordering::SeqCst);
        // The simulated disk would have the memory at once.
        self.disk.create(0)
    }

    fn reserve(&self, _file: &Handle, range: Range<u64>) -> Option<Op<()>> {
        self.reserved.fetch_add(range.end - range.start, Ordering::SeqCst);
        None
    }

    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        self.disk.open(path, write)
    }

    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        self.disk.write(file, buffer, offset)
    }

    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.disk.read(file, buffer, offset, len)
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
}

async fn counting() -> (Engine, SimDisk, Arc<AtomicU64>) {
    let (disk, reserved) = (SimDisk::new(1), Arc::<AtomicU64>::default());
    let counting = Counting { disk: disk.clone(), reserved: reserved.clone() };
    // The tests decide when uploads are written down.
    let options = Options { upload_settle: std::time::Duration::from_secs(3600), ..Options::default() };
    let engine = Engine::simulated(Arc::new(counting), Arc::new(MemoryIndex::default()), options);
    (engine.await.expect("opens"), disk, reserved)
}

/// An upload that was announced with `total` bytes, more than are held in memory, and got `bytes`.
async fn announced(engine: &Engine, total: u64, bytes: usize) -> Upload {
    let ns = namespace("app");
    let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
    let mut upload = engine.resume(&ns, id).await.expect("resumed");
    upload.announce(Some(total), None).await.expect("announced");
    upload.append(&content(total, bytes)).await.expect("appended");
    upload
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_take_a_bounded_part_of_the_disk() {
    let (engine, _, reserved) = counting().await;
    let mut uploads = Vec::new();
    for _ in 0..256 {
        uploads.push(announced(&engine, 1 << 30, 100_000).await);
    }
    let all = reserved.load(Ordering::SeqCst);
    assert!((64 * MIB..=1 << 30).contains(&all), "{all} bytes for 256 announcements of 1 GiB");
    // Those that give up make room for others.
    for upload in uploads {
        upload.abandon().await.expect("abandoned");
    }
    let _upload = announced(&engine, 1 << 30, 100_000).await;
    assert_eq!(reserved.load(Ordering::SeqCst), all + 64 * MIB);
    engine.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_large_upload_is_allocated_once() {
    let (engine, _, reserved) = counting().await;
    let bytes = content(7, 150_000_001);
    let (ns, digest) = (namespace("app"), sha256(&bytes));
    let id = engine.begin(&ns, Algorithm::Sha256).await.expect("begun");
    let mut upload = engine.resume(&ns, id).await.expect("resumed");
    upload.announce(Some(bytes.len() as u64), Some(digest)).await.expect("announced");
    for piece in bytes.chunks(1 << 20) {
        upload.append(piece).await.expect("appended");
    }
    let sealed = upload.seal(&digest).await.expect("sealed");
    let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
    assert_eq!(reserved.load(Ordering::SeqCst), bytes.len() as u64);
    assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
    engine.close().await.expect("closed");
}

/// On a real disk, where an allocation makes the file longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_upload_keeps_only_its_bytes() {
    for options in real() {
        let root = tempfile::tempdir().expect("a directory");
        let (ns, bytes) = (namespace("app"), content(9, 5_000_001));
        let engine = open(root.path(), &options).await;
        let mut upload = announced(&engine, 100 * MIB, 0).await;
        let (id, digest) = (upload.id(), sha256(&bytes));
        upload.append(&bytes[..3_000_000]).await.expect("appended");
        upload.suspend();
        close_and_check(engine, root.path()).await;
        let files = std::fs::read_dir(root.path().join("uploads")).expect("there").map(|entry| entry.expect("read"));
        let lengths: Vec<u64> = files.map(|entry| entry.metadata().expect("there").len()).collect();
        assert_eq!(lengths, [3_000_000_u64.next_multiple_of(4096)]);

        let engine = open(root.path(), &options).await;
        let mut upload = engine.resume(&ns, id).await.expect("resumed");
        upload.announce(Some(100 * MIB), Some(digest)).await.expect("announced");
        upload.append(&bytes[3_000_000..]).await.expect("appended");
        let sealed = upload.seal(&digest).await.expect("less came than was announced");
        let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await.expect("committed");
        assert_eq!(pull(&engine, &ns, &digest).await.expect("pulled"), bytes);
        close_and_check(engine, root.path()).await;
    }
}
