//! Crashes at every operation of a workload, on the simulated disk and index: whatever was
//! acknowledged is there afterwards, whatever was not is there whole or not at all, and the
//! checker finds nothing.

use std::sync::Arc;

use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Namespace, Options, check,
    index::{Index, MemoryIndex},
    io::{Buffer, Disk, Entry, Handle, Linked, Op, SimDisk, StorePath},
};

use crate::common::*;

/// Crash states tried per crash point: each keeps another subset of what was not synced.
const STATES: u64 = 6;

/// What was acknowledged, and what was asked for.
#[derive(Default)]
struct Facts {
    pushed: Vec<(Namespace, Digest, Vec<u8>)>,
    asked: Vec<(Namespace, Digest, Vec<u8>)>,
    bound: Vec<(Namespace, String, Digest)>,
    removed: Vec<(Namespace, Digest)>,
}

/// Pushes of several sizes and names, the same content twice, an upload in two requests, and a
/// deletion. Stops at the first error: the machine is gone.
async fn workload(engine: &Engine, facts: &mut Facts) -> orlop_engine::Result<()> {
    let (a, b) = (namespace("a"), namespace("b"));
    for (seed, ns, size) in [(1, &a, 10), (2, &a, 150_000), (2, &b, 150_000), (3, &b, 66_000), (4, &a, 600_000)] {
        let bytes = content(seed, size);
        let digest = sha256(&bytes);
        facts.asked.push((ns.clone(), digest, bytes.to_vec()));
        push_pieces(engine, ns, &bytes, 40_000, &digest).await?;
        facts.pushed.push((ns.clone(), digest, bytes.to_vec()));
    }
    let (part, whole) = (sha256(&content(2, 150_000)), sha256(b"a document"));
    let sealed = engine.seal_bytes(whole, bytes::Bytes::from_static(b"a document")).await?;
    facts.asked.push((a.clone(), whole, b"a document".to_vec()));
    let batch = Batch::new(a.clone()).document(sealed, b"type".to_vec(), vec![Edge::needs(part)]).bind("latest", whole);
    let _ = engine.commit(batch).await?;
    facts.pushed.push((a.clone(), whole, b"a document".to_vec()));
    facts.bound.push((a.clone(), "latest".to_owned(), whole));

    let bytes = content(5, 200_000);
    let digest = sha256(&bytes);
    facts.asked.push((a.clone(), digest, bytes.to_vec()));
    let id = engine.begin(&a, Algorithm::Sha256).await?;
    let mut upload = engine.resume(&a, id).await?;
    upload.append(&bytes[..120_000]).await?;
    upload.suspend();
    let mut upload = engine.resume(&a, id).await?;
    upload.append(&bytes[120_000..]).await?;
    let sealed = upload.seal(&digest).await?;
    let _ = engine.commit(Batch::new(a.clone()).blob(sealed)).await?;
    facts.pushed.push((a.clone(), digest, bytes.to_vec()));

    let gone = sha256(&content(3, 66_000));
    // From the request on it may be there or not.
    facts.pushed.retain(|(ns, digest, _)| !(*ns == b && *digest == gone));
    let _ = engine.commit(Batch::new(b.clone()).remove(gone, orlop_engine::Removal::Always)).await?;
    facts.removed.push((b, gone));
    Ok(())
}

async fn verify(engine: &Engine, facts: &Facts) -> Result<(), String> {
    for (ns, digest, bytes) in &facts.pushed {
        match pull(engine, ns, digest).await {
            Ok(pulled) if pulled == *bytes => {}
            Ok(_) => return Err(format!("{ns}: {digest} has wrong bytes")),
            Err(error) => return Err(format!("{ns}: {digest} was acknowledged: {error}")),
        }
    }
    for (ns, digest, bytes) in &facts.asked {
        match pull(engine, ns, digest).await {
            Ok(pulled) if pulled != *bytes => return Err(format!("{ns}: {digest} is there with wrong bytes")),
            Ok(_) if facts.removed.contains(&(ns.clone(), *digest)) => {
                return Err(format!("{ns}: {digest} was removed"));
            }
            Ok(_) => {}
            Err(orlop_engine::Error::NotFound { .. }) => {}
            Err(error) => return Err(format!("{ns}: {digest}: neither there nor absent: {error}")),
        }
    }
    for (ns, name, digest) in &facts.bound {
        match engine.resolve(ns, name).await {
            Ok(found) if found == *digest => {}
            other => return Err(format!("{ns}: {name} was acknowledged: {other:?}")),
        }
    }
    Ok(())
}

fn quiet() -> Options {
    // Running uploads are written down often, so that crashes meet that too.
    Options { inline_bytes_max: 4096, checkpoint_bytes: 50_000, ..Options::default() }
}

/// Runs the workload until a crash, then recovers twice from a state that the crash allows.
async fn crash_once(
    disk: &SimDisk,
    index: &Arc<MemoryIndex>,
    crashed: impl Fn(&SimDisk, &MemoryIndex, u64) -> (Arc<dyn Disk>, Arc<dyn Index>),
    wrapped: Arc<dyn Disk>,
) -> Result<(), String> {
    let mut facts = Facts::default();
    if let Ok(engine) = Engine::simulated(wrapped, index.clone(), quiet()).await {
        // The end of the workload is the crash: its error is what a client would have seen.
        let _ = workload(&engine, &mut facts).await;
    }
    for state in 0..STATES {
        let (disk, index) = crashed(disk, index, state);
        for recovery in 1..=2 {
            let opened = Engine::simulated(disk.clone(), index.clone(), quiet()).await;
            let engine = opened.map_err(|error| format!("recovery {recovery} failed: {error}"))?;
            verify(&engine, &facts).await.map_err(|what| format!("recovery {recovery} of state {state}: {what}"))?;
            engine.close().await.map_err(|error| error.to_string())?;
            let report = check::check_parts(index.clone(), disk.clone()).await.map_err(|error| error.to_string())?;
            if !report.is_clean() {
                return Err(format!("recovery {recovery} of state {state}: {report}"));
            }
        }
    }
    Ok(())
}

fn both(disk: &SimDisk, index: &MemoryIndex, state: u64) -> (Arc<dyn Disk>, Arc<dyn Index>) {
    (Arc::new(disk.crash(state)), Arc::new(index.crash(state)))
}

/// How many disk operations the whole workload takes.
async fn operations() -> u64 {
    let disk = SimDisk::new(0);
    let engine =
        Engine::simulated(Arc::new(disk.clone()), Arc::new(MemoryIndex::default()), quiet()).await.expect("opens");
    workload(&engine, &mut Facts::default()).await.expect("runs to its end");
    disk.operations()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_disk_operation_loses_nothing() {
    let operations = operations().await;
    assert!(operations > 30, "the workload is worth crashing: {operations} operations");
    for at in 0..=operations {
        let disk = SimDisk::new(at);
        disk.crash_after(at);
        let crashed = crash_once(&disk, &Arc::new(MemoryIndex::default()), both, Arc::new(disk.clone())).await;
        crashed.unwrap_or_else(|what| panic!("crash at disk operation {at} of {operations}: {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_index_write_loses_nothing() {
    for at in 0..30 {
        let disk = SimDisk::new(at);
        let index = Arc::new(MemoryIndex::default());
        index.fail_writes_after(at);
        let crashed = crash_once(&disk, &index, both, Arc::new(disk.clone())).await;
        crashed.unwrap_or_else(|what| panic!("crash at index write {at}: {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_any_disk_operation_is_never_acknowledged() {
    let operations = operations().await;
    for errno in [libc::EIO, libc::ENOSPC] {
        for at in 0..operations {
            let disk = SimDisk::new(at);
            disk.fail_at(at, errno);
            let crashed = crash_once(&disk, &Arc::new(MemoryIndex::default()), both, Arc::new(disk.clone())).await;
            crashed.unwrap_or_else(|what| panic!("errno {errno} at disk operation {at}: {what}"));
        }
    }
}

/// A disk that says it synced and did not.
struct Liar(SimDisk);

impl Disk for Liar {
    fn create(&self, reserve: u64) -> Op<Handle> {
        self.0.create(reserve)
    }
    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        self.0.open(path, write)
    }
    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        self.0.write(file, buffer, offset)
    }
    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.0.read(file, buffer, offset, len)
    }
    fn sync(&self, _file: &Handle, _len: Option<u64>) -> Op<()> {
        Box::pin(async { Ok(()) })
    }
    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.0.link(file, path)
    }
    fn unlink(&self, path: &StorePath) -> Op<()> {
        self.0.unlink(path)
    }
    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.0.list(path)
    }
}

/// The negative control: the net above catches a missing sync.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_lies_about_syncing_is_caught() {
    let disk = SimDisk::new(1);
    let crashed = crash_once(&disk, &Arc::new(MemoryIndex::default()), both, Arc::new(Liar(disk.clone()))).await;
    assert!(crashed.is_err(), "content that was never synced survived every crash");
}
