//! What is true of a store that keeps its promises.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use orlop_engine::{Algorithm, Digest, Engine, Error, Namespace, UploadId};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Member(String, Digest),
    Name(String, String),
}

/// What becomes of a key: what it stands for, or `None` if it is not there.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: Key,
    pub before: Option<Digest>,
    pub after: Option<Digest>,
}

/// An upload in the middle.
#[derive(Debug, Clone)]
pub struct Session {
    pub namespace: Namespace,
    pub id: UploadId,
    pub content: Bytes,
    pub sent: usize,
}

#[derive(Debug, Default)]
pub struct Facts {
    pub now: BTreeMap<Key, Digest>,
    /// What collection may have taken; if it is there it is whole.
    pub loose: BTreeSet<Key>,
    pub gone: BTreeSet<Key>,
    /// Pushed or mounted so shortly ago that the lease holds.
    pub leased: BTreeSet<Key>,
    pub contents: HashMap<Digest, Bytes>,
    /// What documents need.
    pub needs: HashMap<Digest, Vec<Digest>>,
    pub sessions: Vec<Session>,
    /// The change under way.
    pub open: Vec<Write>,
}

pub fn namespace(text: &str) -> Namespace {
    Namespace::new(text).expect("a valid namespace")
}

impl Facts {
    pub fn begin(&mut self, changes: Vec<(Key, Option<Digest>)>) {
        let write = |(key, after)| Write { before: self.now.get(&key).copied(), key, after };
        self.open = changes.into_iter().map(write).collect();
    }

    /// The change under way was acknowledged, or refused.
    pub fn end(&mut self, is_done: bool) {
        for Write { key, after, .. } in std::mem::take(&mut self.open) {
            if !is_done {
                continue;
            }
            self.loose.remove(&key);
            match after {
                Some(digest) => {
                    self.gone.remove(&key);
                    self.leased.insert(key.clone());
                    self.now.insert(key, digest);
                }
                None => {
                    self.now.remove(&key);
                    self.gone.insert(key);
                }
            }
        }
    }

    /// A collection begins, which may take what no name leads to and no lease protects.
    pub fn loosen(&mut self) {
        let mut kept = BTreeSet::new();
        let mut next: Vec<(String, Digest)> = Vec::new();
        for (key, digest) in &self.now {
            if let Key::Name(ns, _) = key {
                next.push((ns.clone(), *digest));
            }
        }
        while let Some((ns, digest)) = next.pop() {
            if kept.insert(Key::Member(ns.clone(), digest)) {
                next.extend(self.needs.get(&digest).into_iter().flatten().map(|need| (ns.clone(), *need)));
            }
        }
        let is_kept = |key: &Key| kept.contains(key) || self.leased.contains(key);
        let is_loose = |key: &&Key| matches!(key, Key::Member(..)) && !is_kept(key);
        self.loose.extend(self.now.keys().filter(is_loose).cloned());
    }

    /// Members of a namespace that nothing may have taken.
    pub fn firm(&self, ns: &str, is_document: Option<bool>) -> Vec<Digest> {
        let members = self.now.keys().filter(|key| !self.loose.contains(*key)).filter_map(|key| match key {
            Key::Member(within, digest) if within == ns => Some(*digest),
            _ => None,
        });
        members.filter(|digest| is_document.is_none_or(|is| is == self.needs.contains_key(digest))).collect()
    }

    /// Compares a store with all of this.
    pub async fn verify(&self, engine: &Engine) -> Result<(), String> {
        self.verify_open(engine).await?;
        let is_open = |key: &Key| self.open.iter().any(|write| write.key == *key);
        for (key, digest) in &self.now {
            let found = look(engine, key).await?;
            let may_be_gone = self.loose.contains(key) || is_open(key);
            if found != Some(*digest) && !(found.is_none() && may_be_gone) && !is_open(key) {
                return Err(format!("{key:?} was acknowledged as {digest}, found {found:?}"));
            }
            if let (Key::Member(ns, _), Some(_)) = (key, found) {
                self.read(engine, ns, digest).await?;
            }
        }
        for key in self.gone.iter().filter(|key| !is_open(key)) {
            if let Some(found) = look(engine, key).await? {
                return Err(format!("{key:?} was removed, found {found}"));
            }
        }
        self.verify_sessions(engine).await
    }

    /// The change under way: all of it, or nothing.
    async fn verify_open(&self, engine: &Engine) -> Result<(), String> {
        let mut is_done = None;
        for Write { key, before, after } in self.open.iter().filter(|write| write.before != write.after) {
            let found = look(engine, key).await?;
            if self.loose.contains(key) && found.is_none() {
                continue;
            }
            let this = match found {
                _ if found == *after => true,
                _ if found == *before => false,
                _ => return Err(format!("{key:?} was {before:?}, asked for {after:?}, found {found:?}")),
            };
            if is_done.is_some_and(|is_done| is_done != this) {
                return Err(format!("half of a change is there: {:?}, {key:?} is {found:?}", self.open));
            }
            is_done = Some(this);
            if let (Key::Member(ns, digest), Some(_)) = (key, found) {
                self.read(engine, ns, digest).await?;
            }
        }
        Ok(())
    }

    async fn read(&self, engine: &Engine, ns: &str, digest: &Digest) -> Result<(), String> {
        let read = async { engine.open_blob(&namespace(ns), digest).await?.bytes(1 << 20).await };
        match read.await {
            Ok(bytes) if bytes == self.contents[digest] => Ok(()),
            Ok(_) => Err(format!("{ns}: {digest} has wrong bytes")),
            Err(error) => Err(format!("{ns}: {digest} is there and can't be read: {error}")),
        }
    }

    async fn verify_sessions(&self, engine: &Engine) -> Result<(), String> {
        for Session { namespace, id, sent, .. } in &self.sessions {
            match engine.upload_status(namespace, *id).await {
                Ok(status) if status.offset as usize <= *sent => {}
                Err(Error::NotFound { .. }) => {}
                other => return Err(format!("an upload of {sent} bytes is {other:?}")),
            }
        }
        Ok(())
    }

    /// Brings every upload to its end: the digest proves that what was there is a prefix.
    pub async fn finish_sessions(&self, engine: &Engine) -> Result<(), String> {
        for Session { namespace, id, content, .. } in &self.sessions {
            let Ok(mut upload) = engine.resume(namespace, *id).await else { continue };
            let offset = upload.offset() as usize;
            upload.append(&content[offset..]).await.map_err(|error| error.to_string())?;
            let digest = Digest::of(Algorithm::Sha256, content);
            let sealed = upload.seal(&digest).await;
            drop(sealed.map_err(|error| format!("an upload with {offset} bytes is no prefix: {error}"))?);
        }
        Ok(())
    }
}

/// What a key stands for.
pub async fn look(engine: &Engine, key: &Key) -> Result<Option<Digest>, String> {
    let found = match key {
        Key::Member(ns, digest) => engine.find(&namespace(ns), digest).await.map(|_| *digest),
        Key::Name(ns, name) => engine.resolve(&namespace(ns), name).await,
    };
    match found {
        Ok(digest) => Ok(Some(digest)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(format!("{key:?}: {error}")),
    }
}
