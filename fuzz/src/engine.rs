//! The engine against a model: sequences of operations, with crashes, on the simulated disk and index.
//!
//! An input is a sequence of operations of three bytes: what, and two arguments. Whatever was
//! acknowledged is there, also after a crash; whatever was not is there whole or not at all; what fails
//! fails for the reason the model knows; and in the end the checker finds nothing.

mod model;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use orlop_engine::{
    Algorithm, Batch, Digest, Edge, Engine, Error, Namespace, Options, Removal, UploadId, check, index::MemoryIndex,
    io::SimDisk,
};
use tokio::runtime::{Builder, Runtime};

use model::{Key, Model, Session};

/// Operations of one input; the rest of it is ignored.
const OPERATIONS_MAX: usize = 200;

/// Contents that are pushed as blobs: inline and as files, on both sides of every border.
const SIZES: [usize; 6] = [0, 1, 4_096, 4_097, 20_000, 70_000];

const NAMESPACES: [&str; 2] = ["a", "b/c"];
const NAMES: [&str; 3] = ["latest", "v1", "v2"];

pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"));

pub fn run(data: &[u8]) {
    RUNTIME.block_on(async {
        let mut run = Run::new().await;
        for (number, operation) in data.chunks_exact(3).take(OPERATIONS_MAX).enumerate() {
            run.step(operation[0], operation[1], operation[2]).await;
            run.compare(number).await;
        }
        run.restart(None).await;
        run.compare(usize::MAX).await;
        run.engine.close().await.expect("it closes");
        let report = check::check_parts(run.index, Arc::new(run.disk)).await.expect("the checker runs");
        assert!(report.is_clean(), "{report}");
    });
}

struct Run {
    engine: Engine,
    disk: SimDisk,
    index: Arc<MemoryIndex>,
    model: Model,
}

fn options() -> Options {
    // Running uploads are written down often, so that crashes meet that too.
    Options { inline_bytes_max: 4_096, checkpoint_bytes: 30_000, ..Options::default() }
}

fn namespace(number: usize) -> Namespace {
    Namespace::new(NAMESPACES[number % NAMESPACES.len()]).expect("a namespace")
}

/// The content of a number, and the digest that names it.
fn content(number: u8) -> (Digest, Bytes) {
    let size = SIZES[usize::from(number) % SIZES.len()];
    let bytes: Bytes = (0..size).map(|at| (at as u8).wrapping_mul(31) ^ number ^ (at >> 8) as u8).collect();
    let algorithm = if number.is_multiple_of(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    (Digest::of(algorithm, &bytes), bytes)
}

impl Run {
    async fn new() -> Self {
        let (disk, index) = (SimDisk::new(0), Arc::new(MemoryIndex::default()));
        let engine = Engine::simulated(Arc::new(disk.clone()), index.clone(), options()).await.expect("it opens");
        Run { engine, disk, index, model: Model::default() }
    }

    /// Ends the engine, in order or by a crash from which `seed` chooses what is left, and opens it again.
    async fn restart(&mut self, seed: Option<u64>) {
        match seed {
            None => self.engine.close().await.expect("it closes"),
            Some(seed) => {
                self.disk = self.disk.crash(seed);
                self.index = Arc::new(self.index.crash(seed));
            }
        }
        let disk = Arc::new(self.disk.clone());
        self.engine = Engine::simulated(disk, self.index.clone(), options()).await.expect("it opens again");
        // A session keeps an exact prefix or is gone; in order it keeps everything.
        let mut kept = Vec::new();
        for mut session in std::mem::take(&mut self.model.sessions) {
            match self.engine.upload_status(&session.namespace, session.id).await {
                Ok(status) => {
                    let offset = usize::try_from(status.offset).expect("it fits memory");
                    assert!(offset <= session.bytes.len(), "a session has bytes that nobody sent");
                    assert!(seed.is_some() || offset == session.bytes.len(), "a session lost bytes without a crash");
                    session.bytes.truncate(offset);
                    kept.push(session);
                }
                Err(Error::NotFound { .. }) => assert!(seed.is_some(), "a session was lost without a crash"),
                Err(error) => panic!("a session is neither there nor gone: {error}"),
            }
        }
        self.model.sessions = kept;
    }

    async fn step(&mut self, operation: u8, first: u8, second: u8) {
        let own = namespace(usize::from(first & 1));
        match operation % 12 {
            0 => self.begin(own, second).await,
            1 => self.append(first, second).await,
            2 => self.finish(first, true).await,
            3 => self.finish(first, false).await,
            4 => self.cancel(first).await,
            5 => self.push(own, second).await,
            6 => self.mount(own, namespace(usize::from(!first & 1)), second).await,
            7 => self.document(own, first, second).await,
            8 => self.unbind(own, second).await,
            9 => self.remove(own, second).await,
            10 => self.restart(Some(u64::from(second))).await,
            _ => self.restart(None).await,
        }
    }

    async fn begin(&mut self, namespace: Namespace, number: u8) {
        let algorithm = if number.is_multiple_of(2) { Algorithm::Sha256 } else { Algorithm::Blake3 };
        let id = self.engine.begin(&namespace, algorithm).await.expect("it begins");
        self.model.sessions.push(Session { namespace, id, bytes: Vec::new() });
    }

    async fn append(&mut self, which: u8, number: u8) {
        let engine = self.engine.clone();
        let Some(session) = self.model.session(which) else { return };
        let (_, bytes) = content(number);
        let mut upload = engine.resume(&session.namespace, session.id).await.expect("nobody else writes");
        assert_eq!(upload.offset(), session.bytes.len() as u64);
        for piece in bytes.chunks(7_000) {
            upload.append(piece).await.expect("the disk is well");
        }
        session.bytes.extend_from_slice(&bytes);
        assert_eq!(upload.suspend(), session.bytes.len() as u64);
        // From another namespace it does not exist.
        let (id, other) = (session.id, namespace(usize::from(session.namespace.as_str() == NAMESPACES[0])));
        assert!(matches!(engine.upload_status(&other, id).await, Err(Error::NotFound { .. })));
    }

    async fn finish(&mut self, which: u8, is_right: bool) {
        let Some(Session { namespace, id, bytes }) = self.model.take_session(which) else { return };
        let digest = Digest::of(Algorithm::Sha256, if is_right { &bytes } else { b"something else" });
        let upload = self.engine.resume(&namespace, id).await.expect("nobody else writes");
        match upload.seal(&digest).await {
            Ok(sealed) => {
                assert!(is_right, "content with another digest was sealed");
                let _ = self.engine.commit(Batch::new(namespace.clone()).blob(sealed)).await.expect("it commits");
                self.model.put(namespace.clone(), digest, bytes.into());
            }
            Err(Error::DigestMismatch { .. }) => assert!(!is_right, "content with its digest was refused"),
            Err(error) => panic!("{error}"),
        }
        self.is_gone(&namespace, id).await;
    }

    async fn cancel(&mut self, which: u8) {
        let Some(Session { namespace, id, .. }) = self.model.take_session(which) else { return };
        self.engine.cancel(&namespace, id).await.expect("nobody else writes");
        self.is_gone(&namespace, id).await;
    }

    async fn is_gone(&self, namespace: &Namespace, id: UploadId) {
        assert!(matches!(self.engine.resume(namespace, id).await, Err(Error::NotFound { .. })));
    }

    async fn push(&mut self, namespace: Namespace, number: u8) {
        let (digest, bytes) = content(number);
        let sealed = self.engine.seal_bytes(digest, bytes.clone()).await.expect("it has its digest");
        let _ = self.engine.commit(Batch::new(namespace.clone()).blob(sealed)).await.expect("it commits");
        self.model.put(namespace, digest, bytes);
    }

    async fn mount(&mut self, to: Namespace, from: Namespace, number: u8) {
        let (digest, bytes) = content(number);
        let outcome = self.engine.commit(Batch::new(to.clone()).mount(digest, vec![from.clone()])).await;
        match outcome {
            Ok(_receipt) => {
                assert!(self.model.has(&from, &digest), "mounted from where it is not");
                self.model.put(to, digest, bytes);
            }
            Err(Error::NotFound { .. }) => assert!(!self.model.has(&from, &digest), "not mounted from where it is"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn document(&mut self, namespace: Namespace, first: u8, second: u8) {
        let (needed, _) = content(second);
        let text = Bytes::from(format!("a document that needs {needed}"));
        let (digest, name) = (Digest::of(Algorithm::Sha256, &text), NAMES[usize::from(first >> 1) % NAMES.len()]);
        let sealed = self.engine.seal_bytes(digest, text.clone()).await.expect("it has its digest");
        let batch = Batch::new(namespace.clone()).document(sealed, b"type".to_vec(), vec![Edge::needs(needed)]);
        match self.engine.commit(batch.bind(name, digest)).await {
            Ok(_receipt) => {
                assert!(self.model.has(&namespace, &needed), "stored without what it needs");
                self.model.put_document(namespace, digest, text, needed, name);
            }
            Err(Error::Missing { .. }) => assert!(!self.model.has(&namespace, &needed), "what it needs is there"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn unbind(&mut self, namespace: Namespace, number: u8) {
        let name = NAMES[usize::from(number) % NAMES.len()];
        let outcome = self.engine.commit(Batch::new(namespace.clone()).unbind(name)).await;
        let was_bound = self.model.names.remove(&(namespace, name.to_owned())).is_some();
        assert_eq!(outcome.is_ok(), was_bound, "{:?}", outcome.err());
    }

    /// Removes a document if the number names one that is there, otherwise a blob.
    async fn remove(&mut self, namespace: Namespace, number: u8) {
        let digest = match self.model.documents(&namespace).nth(usize::from(number % 4)) {
            Some(document) if number & 0x80 != 0 => document,
            _ => content(number & 0x7f).0,
        };
        let outcome = self.engine.commit(Batch::new(namespace.clone()).remove(digest, Removal::UnlessNeeded)).await;
        match outcome {
            Ok(_receipt) => {
                assert!(!self.model.is_needed(&namespace, &digest), "removed although it is needed");
                assert!(self.model.remove(&namespace, &digest), "removed what was not there");
            }
            Err(Error::Needed { .. }) => assert!(self.model.is_needed(&namespace, &digest), "nobody needs it"),
            Err(Error::NotFound { .. }) => assert!(!self.model.has(&namespace, &digest), "it was there"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything that can be asked, against the model.
    async fn compare(&self, number: usize) {
        for (Key { namespace, digest }, expected) in &self.model.contents {
            let mut reader = match self.engine.open_blob(namespace, digest).await {
                Ok(blob) => blob.read(0..expected.len() as u64),
                Err(error) => panic!("operation {number}: {namespace} lost {digest}: {error}"),
            };
            let mut read = Vec::with_capacity(expected.len());
            while let Some(part) = reader.next().await {
                read.extend_from_slice(&part.expect("it can be read"));
            }
            assert!(read == *expected, "operation {number}: {namespace} has other bytes for {digest}");
        }
        for namespace in (0..NAMESPACES.len()).map(namespace) {
            for number in 0..SIZES.len() as u8 {
                let (digest, _) = content(number);
                let found = self.engine.find(&namespace, &digest).await.is_ok();
                assert_eq!(found, self.model.has(&namespace, &digest), "operation {number}: {namespace} {digest}");
            }
            let names = self.engine.names(&namespace, None, usize::MAX).await;
            let found = names.unwrap_or_default();
            let found: Vec<_> = found.into_iter().map(|named| (named.name, named.digest)).collect();
            assert_eq!(found, self.model.names_of(&namespace), "operation {number}: {namespace}");
        }
    }
}
