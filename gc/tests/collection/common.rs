//! What the tests share: a store in memory, and short ways to fill it.

use std::sync::Arc;

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Namespace, Options, Quota, Result, check,
    index::{Index, MemoryIndex},
    io::SimDisk,
};
use orlop_gc::{Flow, Report};

/// Content up to so many bytes is inline.
pub const INLINE_MAX: usize = 32;

/// Epochs of a lease.
pub const LEASE: u64 = 2;

pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a valid namespace")
}

/// Content that is inline if `number` is even, and a file if it is odd.
pub fn content(number: u64) -> Bytes {
    let text = format!("content {number}");
    if number.is_multiple_of(2) { text.into() } else { text.repeat(20).into() }
}

pub fn digest_of(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

/// With quotas that nothing exceeds, whose sums the checker compares with the members.
pub fn options() -> Options {
    let quota = |prefix: &str| Quota { prefix: prefix.to_owned(), bytes: u64::MAX };
    Options {
        inline_bytes_max: INLINE_MAX,
        lease_epochs: LEASE,
        quotas: vec![quota(""), quota("a")],
        namespaces_max: Some(u64::MAX),
        ..Options::default()
    }
}

/// A store in memory, with its parts for crashes and checks.
#[derive(Clone)]
pub struct Parts {
    pub disk: SimDisk,
    pub index: Arc<MemoryIndex>,
    pub options: Options,
}

impl Parts {
    pub fn new(seed: u64) -> Self {
        Parts { disk: SimDisk::new(seed), index: Arc::default(), options: options() }
    }

    pub async fn open(&self) -> Engine {
        self.try_open().await.expect("opens")
    }

    pub async fn try_open(&self) -> Result<Engine> {
        self.open_over(self.index.clone()).await
    }

    /// The same store with something between the engine and its index.
    pub async fn open_over(&self, index: Arc<dyn Index>) -> Result<Engine> {
        Engine::simulated(Arc::new(self.disk.clone()), index, self.options.clone()).await
    }

    /// Runs the checker. Nothing may be under way.
    pub async fn check(&self) -> check::Report {
        let report = check::check_parts(self.index.clone(), Arc::new(self.disk.clone())).await.expect("runs");
        assert!(report.is_clean(), "{report}");
        report
    }
}

/// Pushes plain content through a session.
pub async fn push(engine: &Engine, ns: &Namespace, content: &[u8]) -> Result<Digest> {
    let digest = digest_of(content);
    let id = engine.begin(ns, Algorithm::Sha256).await?;
    let mut upload = engine.resume(ns, id).await?;
    // As clients do that say beforehand what they are going to send.
    upload.announce(Some(content.len() as u64), Some(digest)).await?;
    upload.append(content).await?;
    let sealed = upload.seal(&digest).await?;
    let _ = engine.commit(Batch::new(ns.clone()).blob(sealed)).await?;
    Ok(digest)
}

/// Pushes a document with edges, bound to a name if there is one.
pub async fn push_document(
    engine: &Engine,
    ns: &Namespace,
    content: &[u8],
    edges: Vec<Edge>,
    name: Option<&str>,
) -> Result<Digest> {
    let digest = digest_of(content);
    let sealed = engine.seal_bytes(digest, Bytes::copy_from_slice(content)).await?;
    let mut batch = Batch::new(ns.clone()).document(sealed, b"document".to_vec(), edges);
    if let Some(name) = name {
        batch = batch.bind(name, digest);
    }
    let _ = engine.commit(batch).await?;
    Ok(digest)
}

pub async fn pull(engine: &Engine, ns: &Namespace, digest: &Digest) -> Result<Bytes> {
    engine.open_blob(ns, digest).await?.bytes(1 << 20).await
}

/// A run to its end.
pub async fn collect(engine: &Engine, options: &orlop_gc::Options) -> Report {
    let mut on = |_: &Report| Flow::Continue(());
    let report = orlop_gc::collect(engine, options, &mut on).await.expect("collects");
    assert!(report.is_complete);
    report
}

pub async fn advance(engine: &Engine, epochs: u64) {
    for _ in 0..epochs {
        engine.advance_epoch().await.expect("advances");
    }
}
