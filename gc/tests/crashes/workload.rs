//! A random sequence of everything that can be done to a store.

use std::sync::Arc;

use bytes::Bytes;
use orlop_engine::{Algorithm, Batch, Digest, Edge, Engine, Error, Removal, Result};
use orlop_gc::{Flow, Options, Report, Rules};

use crate::facts::{Facts, Key, Session, namespace};

/// Operations of one workload.
const OPERATIONS: u64 = 24;

const NAMESPACES: [&str; 2] = ["a", "b/c"];
const NAMES: u64 = 3;
const CONTENTS: u64 = 8;
const SESSIONS_MAX: usize = 2;

/// Content is inline up to here.
pub const INLINE_BYTES_MAX: usize = 64;

/// Lengths at which something changes: inline, sectors, checkpoints.
const LENGTHS: [usize; 12] = [0, 1, 63, 64, 65, 511, 4095, 4096, 4097, 8192, 9000, 20_000];

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.below(all.len())].clone()) }
    }
}

fn content(number: u64) -> Bytes {
    let mut random = Random(number);
    let length = LENGTHS[random.below(LENGTHS.len())];
    (0..length).map(|_| random.next() as u8).collect()
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub struct Workload<'a> {
    pub engine: &'a Engine,
    pub facts: &'a mut Facts,
    pub random: Random,
}

impl Workload<'_> {
    /// Runs to the end, or until `has_crashed`. Errors: something failed although nothing was the
    /// matter.
    pub async fn run(&mut self, has_crashed: impl Fn() -> bool) -> std::result::Result<(), String> {
        for operation in 0..OPERATIONS {
            let done = self.operate(operation).await;
            match done {
                Ok(()) => self.facts.end(true),
                Err(error) if has_crashed() => {
                    // Its end is the crash: what became of it is open.
                    drop(error);
                    return Ok(());
                }
                // What the rules of the store refuse.
                Err(Error::Needed { .. } | Error::NotFound { .. } | Error::Missing { .. }) => self.facts.end(false),
                Err(error) => return Err(format!("operation {operation} failed without a fault: {error}")),
            }
            if has_crashed() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn operate(&mut self, operation: u64) -> Result<()> {
        let ns = NAMESPACES[self.random.below(NAMESPACES.len())].to_owned();
        match self.random.below(20) {
            0..5 => self.push(&ns).await,
            5..7 => self.leave_open(&ns).await,
            7..9 => self.resume().await,
            9..11 => self.mount(&ns).await,
            11..15 => self.put_document(&ns, operation).await,
            15 => self.unbind(&ns).await,
            16..18 => self.remove(&ns).await,
            18 => self.collect(false).await,
            _ => self.collect(true).await,
        }
    }

    fn choose(&mut self) -> (Digest, Bytes) {
        let bytes = content(self.random.next() % CONTENTS);
        let digest = sha256(&bytes);
        self.facts.contents.insert(digest, bytes.clone());
        (digest, bytes)
    }

    async fn push(&mut self, ns: &str) -> Result<()> {
        let (digest, bytes) = self.choose();
        self.facts.begin(vec![(Key::Member(ns.to_owned(), digest), Some(digest))]);
        let ns = namespace(ns);
        let id = self.engine.begin(&ns, Algorithm::Sha256).await?;
        let mut upload = self.engine.resume(&ns, id).await?;
        if self.random.below(2) == 0 {
            upload.announce(Some(bytes.len() as u64), Some(digest)).await?;
        }
        for piece in bytes.chunks(5000) {
            upload.append(piece).await?;
        }
        let sealed = upload.seal(&digest).await?;
        self.engine.commit(Batch::new(ns).blob(sealed)).await.map(drop)
    }

    async fn leave_open(&mut self, ns: &str) -> Result<()> {
        if self.facts.sessions.len() >= SESSIONS_MAX {
            return Ok(());
        }
        let (_, content) = self.choose();
        let namespace = namespace(ns);
        let id = self.engine.begin(&namespace, Algorithm::Sha256).await?;
        let sent = self.random.below(content.len() + 1);
        let bytes = content.slice(..sent);
        self.facts.sessions.push(Session { namespace: namespace.clone(), id, content, sent });
        let mut upload = self.engine.resume(&namespace, id).await?;
        upload.append(&bytes).await?;
        upload.suspend();
        Ok(())
    }

    async fn resume(&mut self) -> Result<()> {
        if self.facts.sessions.is_empty() {
            return Ok(());
        }
        let chosen = self.random.below(self.facts.sessions.len());
        let Session { namespace, id, content, sent } = self.facts.sessions[chosen].clone();
        let mut upload = self.engine.resume(&namespace, id).await?;
        assert_eq!(upload.offset() as usize, sent, "an upload that nothing happened to");
        if self.random.below(4) == 0 {
            upload.abandon().await?;
        } else {
            self.facts.sessions[chosen].sent = content.len();
            let digest = sha256(&content);
            self.facts.begin(vec![(Key::Member(namespace.as_str().to_owned(), digest), Some(digest))]);
            upload.append(&content[sent..]).await?;
            let sealed = upload.seal(&digest).await?;
            let _ = self.engine.commit(Batch::new(namespace).blob(sealed)).await?;
        }
        self.facts.sessions.remove(chosen);
        Ok(())
    }

    async fn mount(&mut self, ns: &str) -> Result<()> {
        let from = NAMESPACES[self.random.below(NAMESPACES.len())];
        let Some(digest) = self.random.of(&self.facts.firm(from, Some(false))) else { return Ok(()) };
        self.facts.begin(vec![(Key::Member(ns.to_owned(), digest), Some(digest))]);
        self.engine.commit(Batch::new(namespace(ns)).mount(digest, vec![namespace(from)])).await.map(drop)
    }

    /// A document that needs up to three members, refers to something perhaps, and has up to two names.
    async fn put_document(&mut self, ns: &str, operation: u64) -> Result<()> {
        let members = self.facts.firm(ns, None);
        let needs: Vec<Digest> = (0..self.random.below(4)).filter_map(|_| self.random.of(&members)).collect();
        let bytes = Bytes::from(format!("document {operation} {needs:?}").repeat(self.random.below(3) + 1));
        let digest = sha256(&bytes);
        let mut edges: Vec<Edge> = needs.iter().map(|need| Edge::needs(*need)).collect();
        if self.random.below(4) == 0
            && let Some(target) = self.random.of(&self.facts.firm(ns, Some(true)))
        {
            edges.push(Edge::refers(target, b"payload".to_vec()));
        }
        self.facts.contents.insert(digest, bytes.clone());
        self.facts.needs.insert(digest, needs);
        let mut changes = vec![(Key::Member(ns.to_owned(), digest), Some(digest))];
        let mut names: Vec<String> = (0..self.random.below(3)).map(|_| self.name()).collect();
        names.dedup();
        changes.extend(names.iter().map(|name| (Key::Name(ns.to_owned(), name.clone()), Some(digest))));
        self.facts.begin(changes);
        let sealed = self.engine.seal_bytes(digest, bytes).await?;
        let mut batch = Batch::new(namespace(ns)).document(sealed, b"document".to_vec(), edges);
        for name in names {
            batch = batch.bind(name, digest);
        }
        self.engine.commit(batch).await.map(drop)
    }

    fn name(&mut self) -> String {
        format!("v{}", self.random.next() % NAMES)
    }

    async fn unbind(&mut self, ns: &str) -> Result<()> {
        let name = self.name();
        self.facts.begin(vec![(Key::Name(ns.to_owned(), name.clone()), None)]);
        self.engine.commit(Batch::new(namespace(ns)).unbind(name)).await.map(drop)
    }

    async fn remove(&mut self, ns: &str) -> Result<()> {
        let Some(digest) = self.random.of(&self.facts.firm(ns, None)) else { return Ok(()) };
        let names = self
            .facts
            .now
            .iter()
            .filter(|(key, named)| matches!(key, Key::Name(within, _) if within == ns) && **named == digest);
        let keys = names.map(|(key, _)| key.clone()).chain([Key::Member(ns.to_owned(), digest)]);
        let changes = keys.map(|key| (key, None)).collect();
        self.facts.begin(changes);
        self.engine.commit(Batch::new(namespace(ns)).remove(digest, Removal::UnlessNeeded)).await.map(drop)
    }

    /// Collection of everything that no name leads to; leases end before, or protect what has one.
    async fn collect(&mut self, is_waived: bool) -> Result<()> {
        if is_waived {
            self.facts.leased.clear();
        }
        // Before it begins: it may come as far as it likes.
        self.facts.loosen();
        if is_waived {
            for _ in 0..4 {
                self.engine.advance_epoch().await?;
            }
            self.engine.waive_earlier_answers();
        }
        collect(self.engine).await.map(drop)
    }
}

/// One run with rules that spare nothing without a name.
pub async fn collect(engine: &Engine) -> Result<Report> {
    let rules = Rules { delete_unnamed: true, delete_referring: true };
    let options = Options { delay: 0, document_delay: 0, keep: Arc::new(rules), ..Options::default() };
    orlop_gc::collect(engine, &options, &mut |_: &Report| Flow::Continue(())).await
}
