//! What an engine should hold, in maps.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use orlop_engine::{Digest, Namespace, UploadId};

/// An upload, and every byte that was taken for it.
pub struct Session {
    pub namespace: Namespace,
    pub id: UploadId,
    pub bytes: Vec<u8>,
}

/// Content of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub namespace: Namespace,
    pub digest: Digest,
}

#[derive(Default)]
pub struct Model {
    pub sessions: Vec<Session>,
    pub contents: HashMap<Key, Bytes>,
    /// Documents, and what each needs, in the order they came.
    pub needs: Vec<(Key, Digest)>,
    pub names: BTreeMap<(Namespace, String), Digest>,
}

fn key(namespace: &Namespace, digest: &Digest) -> Key {
    Key { namespace: namespace.clone(), digest: *digest }
}

impl Model {
    pub fn session(&mut self, which: u8) -> Option<&mut Session> {
        let count = self.sessions.len();
        self.sessions.get_mut(usize::from(which).checked_rem(count)?)
    }

    pub fn take_session(&mut self, which: u8) -> Option<Session> {
        let at = usize::from(which).checked_rem(self.sessions.len())?;
        Some(self.sessions.remove(at))
    }

    pub fn has(&self, namespace: &Namespace, digest: &Digest) -> bool {
        self.contents.contains_key(&key(namespace, digest))
    }

    pub fn put(&mut self, namespace: Namespace, digest: Digest, bytes: Bytes) {
        self.contents.insert(Key { namespace, digest }, bytes);
    }

    pub fn put_document(&mut self, namespace: Namespace, digest: Digest, bytes: Bytes, needed: Digest, name: &str) {
        let document = key(&namespace, &digest);
        if !self.needs.iter().any(|(other, _)| *other == document) {
            self.needs.push((document, needed));
        }
        self.names.insert((namespace.clone(), name.to_owned()), digest);
        self.put(namespace, digest, bytes);
    }

    pub fn documents(&self, namespace: &Namespace) -> impl Iterator<Item = Digest> {
        self.needs
            .iter()
            .filter(move |(document, _)| document.namespace == *namespace)
            .map(|(document, _)| document.digest)
    }

    pub fn is_needed(&self, namespace: &Namespace, digest: &Digest) -> bool {
        self.needs.iter().any(|(document, needed)| document.namespace == *namespace && needed == digest)
    }

    /// Whether it was there.
    pub fn remove(&mut self, namespace: &Namespace, digest: &Digest) -> bool {
        let removed = key(namespace, digest);
        self.needs.retain(|(document, _)| *document != removed);
        self.names.retain(|(of, _), bound| of != namespace || bound != digest);
        self.contents.remove(&removed).is_some()
    }

    /// In byte order.
    pub fn names_of(&self, namespace: &Namespace) -> Vec<(String, Digest)> {
        let own = self.names.iter().filter(|((of, _), _)| of == namespace);
        own.map(|((_, name), digest)| (name.clone(), *digest)).collect()
    }
}
