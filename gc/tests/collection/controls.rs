//! Negative controls: without one of the protections a loss shows. A test that could not fail would say the
//! same with and without them. The races have theirs in `gc/tests/schedules/controls.rs`.
//!
//! | protection | left out by | noticed by |
//! |---|---|---|
//! | lease of a push | an index that does not note it | a document after a collection |
//! | lease of a mount | the same | the same |
//! | lease of a look-up | a client that looks without being told | a pull after a collection |
//! | holders are asked again | an index that hides them from the commit thread | a step that came too late |
//! | pin of an upload | a collector that does not know the engine's pins | the commit of that upload |
//! | the record goes durably before the file | an index that lies about durability | the crash states |
//! | open handles keep bytes | a disk that destroys what it unlinks | a reader that goes on |

use std::sync::Arc;

use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Error, Namespace, Removal, Result,
    collect::{Sweep, Swept},
    io::{Buffer, Disk, Entry, Handle, Linked, Op, SimDisk, StorePath},
};

use crate::{
    common::*,
    crash,
    flaws::{Flaw, Flawed},
    races::ground,
};

async fn forgetful(prefix: &'static str) -> Engine {
    let parts = ground();
    parts.open_over(Flawed::over(&parts.index, Flaw::ForgetsLeases { prefix })).await.expect("opens")
}

/// Somebody was told that content is there, then a collection comes, then he names it by a document.
async fn build_after_a_collection(engine: &Engine, ns: &Namespace, digest: Digest) -> Result<bytes::Bytes> {
    collect(engine, &crash::rules()).await;
    push_document(engine, ns, b"relies on it", vec![Edge::needs(digest)], Some("kept")).await?;
    pull(engine, ns, &digest).await
}

async fn push_before_a_collection(engine: Engine) -> Result<bytes::Bytes> {
    let ns = namespace("a");
    engine.waive_earlier_answers();
    let digest = push(&engine, &ns, &content(1)).await?;
    build_after_a_collection(&engine, &ns, digest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_its_lease_is_noticed() {
    let built = push_before_a_collection(ground().open().await).await;
    assert_eq!(built.expect("the lease keeps it"), content(1));
    let lost = push_before_a_collection(forgetful("a").await).await;
    assert!(matches!(lost, Err(Error::Missing { .. })), "the loss shows: {lost:?}");
}

/// The content itself is kept by a name where it is mounted from.
async fn mount_before_a_collection(engine: Engine) -> Result<bytes::Bytes> {
    let (from, to) = (namespace("from"), namespace("to"));
    engine.waive_earlier_answers();
    let digest = push(&engine, &from, &content(1)).await?;
    push_document(&engine, &from, b"keeps it", vec![Edge::needs(digest)], Some("kept")).await?;
    let _ = engine.commit(Batch::new(to.clone()).mount(digest, vec![from])).await?;
    build_after_a_collection(&engine, &to, digest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_without_its_lease_is_noticed() {
    let built = mount_before_a_collection(ground().open().await).await;
    assert_eq!(built.expect("the lease keeps it"), content(1));
    let lost = mount_before_a_collection(forgetful("to").await).await;
    assert!(matches!(lost, Err(Error::Missing { .. })), "the loss shows: {lost:?}");
}

/// Somebody asks for content that nothing keeps, then a collection comes, then he relies on the answer.
async fn ask_before_a_collection<A>(ask: impl Fn(Engine, Namespace, Digest) -> A) -> Result<bytes::Bytes>
where
    A: Future<Output = bool>,
{
    let (engine, ns) = (ground().open().await, namespace("a"));
    let digest = push(&engine, &ns, &content(1)).await?;
    // The lease of the push is over.
    advance(&engine, LEASE + 1).await;
    assert!(ask(engine.clone(), ns.clone(), digest).await, "it is there");
    collect(&engine, &crash::rules()).await;
    pull(&engine, &ns, &digest).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_its_lease_is_noticed() {
    let find = async |engine: Engine, ns: Namespace, digest: Digest| engine.find(&ns, &digest).await.is_ok();
    assert_eq!(ask_before_a_collection(find).await.expect("the answer keeps it"), content(1));

    let look = async |engine: Engine, ns: Namespace, digest: Digest| {
        engine.survey(move |view| Ok(view.member(&ns, &digest)?.is_some())).await.expect("looked")
    };
    let lost = ask_before_a_collection(look).await;
    assert!(matches!(lost, Err(Error::NotFound { .. })), "the loss shows: {lost:?}");
}

/// A plan said that nobody holds content. Before its step came, somebody pushed the content again.
async fn sweep_too_late(engine: &Engine) -> (Swept, Result<bytes::Bytes>) {
    let (a, b) = (namespace("a"), namespace("b"));
    engine.waive_earlier_answers();
    let digest = push(engine, &a, &content(1)).await.expect("pushed");
    let _ = engine.commit(Batch::new(a).remove(digest, Removal::Always)).await.expect("removed");
    let planned = vec![Sweep::Content { digest, delay: 0 }];
    push(engine, &b, &content(1)).await.expect("pushed");
    let swept = engine.sweep(planned).await.expect("swept");
    (swept[0], pull(engine, &b, &digest).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_does_not_ask_for_holders_again_is_noticed() {
    let (swept, pulled) = sweep_too_late(&ground().open().await).await;
    assert!(swept == Swept::Kept && pulled.is_ok_and(|pulled| pulled == content(1)));

    let parts = ground();
    let engine = parts.open_over(Flawed::over(&parts.index, Flaw::IgnoresHolders)).await.expect("opens");
    let (swept, pulled) = sweep_too_late(&engine).await;
    assert!(matches!(swept, Swept::Done { .. }), "{swept:?}");
    assert!(matches!(pulled, Err(Error::NotFound { .. })), "the loss shows: {pulled:?}");
}

/// Content that the store has is pushed again, and is hashed only. `collector` takes it before the
/// commit, if nothing keeps it.
async fn push_what_is_collected(engine: &Engine, collector: &Engine) -> Result<()> {
    let (a, b) = (namespace("a"), namespace("b"));
    let digest = push(engine, &a, &content(1)).await?;
    let id = engine.begin(&b, Algorithm::Sha256).await?;
    let mut upload = engine.resume(&b, id).await?;
    upload.announce(None, Some(digest)).await?;
    upload.append(&content(1)).await?;
    let sealed = upload.seal(&digest).await?;
    let _ = engine.commit(Batch::new(a).remove(digest, Removal::Always)).await?;
    advance(collector, 3).await;
    collect(collector, &crash::rules()).await;
    let _ = engine.commit(Batch::new(b.clone()).blob(sealed)).await?;
    assert_eq!(pull(engine, &b, &digest).await?, content(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_its_pin_is_noticed() {
    let engine = ground().open().await;
    push_what_is_collected(&engine, &engine).await.expect("its pin keeps what it relies on");

    // Another engine over the same store has the same table, and none of the pins.
    let parts = ground();
    let (engine, other) = (parts.open().await, parts.open().await);
    other.waive_earlier_answers();
    let lost = push_what_is_collected(&engine, &other).await;
    assert!(matches!(lost, Err(Error::NotFound { .. })), "the loss shows: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_go_before_their_records_are_noticed() {
    let mut noticed = 0;
    for at in 0..8 {
        let (parts, engine, kept) = crash::filled(at).await;
        engine.close().await.expect("closed");
        let index = Flawed::over(&parts.index, Flaw::LiesAboutDurability);
        let engine = parts.open_over(index).await.expect("opens");
        engine.waive_earlier_answers();
        parts.disk.crash_after(parts.disk.operations() + at);
        // Its end is the crash.
        let _ = crash::try_collect(&engine).await;
        for state in 0..crash::STATES {
            let (disk, index) = (parts.disk.crash(state), Arc::new(parts.index.crash(state)));
            let (crashed, kept) = (Parts { disk, index, options: parts.options.clone() }, kept.clone());
            // What the checker finds is a panic.
            let recovered = tokio::spawn(async move { crash::recover(&crashed, &kept).await }).await;
            noticed += u32::from(!matches!(recovered, Ok(Ok(()))));
        }
    }
    assert!(noticed > 0, "records without files would pass");
}

/// A disk on which an unlinked file loses its bytes, whoever has it open.
struct Destroying(SimDisk);

impl Disk for Destroying {
    fn unlink(&self, path: &StorePath) -> Op<()> {
        let (disk, path) = (self.0.clone(), path.clone());
        Box::pin(async move {
            if let Ok(file) = disk.open(&path, true).await {
                disk.sync(&file, Some(0)).await?;
            }
            disk.unlink(&path).await
        })
    }

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

    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        self.0.sync(file, len)
    }

    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.0.link(file, path)
    }

    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.0.list(path)
    }
}

/// Opens content that is then deleted and collected, and reads it.
async fn read_what_is_collected(disk: Arc<dyn Disk>) -> Result<bytes::Bytes> {
    let parts = ground();
    let engine = Engine::simulated(disk, parts.index.clone(), parts.options.clone()).await?;
    engine.waive_earlier_answers();
    let a = namespace("a");
    let digest = push(&engine, &a, &content(1)).await?;
    let blob = engine.open_blob(&a, &digest).await?;
    let _ = engine.commit(Batch::new(a.clone()).remove(digest, Removal::Always)).await?;
    advance(&engine, 3).await;
    let report = collect(&engine, &crash::rules()).await;
    assert_eq!(report.removed.contents, 1, "{report}");
    blob.bytes(1 << 20).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_whose_file_goes_is_noticed() {
    let read = read_what_is_collected(Arc::new(SimDisk::new(1))).await;
    assert_eq!(read.expect("who reads goes on"), content(1));
    let lost = read_what_is_collected(Arc::new(Destroying(SimDisk::new(1)))).await;
    assert!(lost.is_err(), "the loss shows");
}
