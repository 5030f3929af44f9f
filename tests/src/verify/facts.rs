//! What is true of a registry if it keeps its promises.
//!
//! In: the events of one worker's journal. Out: for each key the one right answer, or, for the one
//! change whose answer never came, two right answers: all of it before, or all of it after.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Content, Event};
use crate::stream::sha256;

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Repository, digest.
    Blob(String, String),
    /// Repository, digest.
    Manifest(String, String),
    /// Repository, tag.
    Tag(String, String),
}

/// A document as it was sent.
#[derive(Debug, Clone)]
pub struct Document {
    pub media_type: String,
    pub text: String,
    pub subject: Option<String>,
}

/// An upload that was begun and not ended.
#[derive(Debug, Clone)]
pub struct Session {
    pub repository: String,
    pub content: Content,
    /// No more bytes than these were sent.
    pub sent: u64,
}

/// What becomes of one key in a change; the value is a digest, `None` means that it is not there.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: Key,
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Facts {
    now: BTreeMap<Key, String>,
    /// What was there once and must stay away.
    gone: BTreeSet<Key>,
    /// Changed since everything was last looked at.
    touched: BTreeSet<Key>,
    open: Option<Vec<Write>>,
    /// Changes that got an error of a failing disk and were not seen since. No more than one of them can be in the
    /// index's log: the one whose write failed, after which a store takes no more.
    doubted: Vec<Vec<Write>>,
    contents: BTreeMap<String, Content>,
    documents: BTreeMap<String, Document>,
    sessions: BTreeMap<String, Session>,
}

impl Facts {
    /// What follows from the events of one worker, in their order.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut facts = Facts::default();
        events.into_iter().for_each(|event| facts.apply(event));
        facts
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Asked(change) => {
                let writes = self.writes(change);
                self.open = Some(writes);
            }
            Event::Done | Event::Settled(true) => {
                // Whoever goes on taking changes knows what became of those before.
                if self.open.iter().flatten().any(|write| write.before != write.after) {
                    self.doubted.clear();
                }
                self.close(true);
            }
            Event::Refused | Event::Settled(false) => self.close(false),
            Event::Doubted => {
                self.doubted.extend(self.open.clone());
                self.close(false);
            }
            Event::Decided(made) => {
                let mut doubted = std::mem::take(&mut self.doubted);
                self.open = made.map(|made| doubted.swap_remove(made));
                self.close(true);
            }
            Event::Sending { session, repository, content, end } => {
                let known = Session { repository: repository.clone(), content: *content, sent: *end };
                self.sessions.insert(session.clone(), known);
            }
            Event::Ended { session } => {
                self.sessions.remove(session);
            }
        }
    }

    fn close(&mut self, is_done: bool) {
        for Write { key, after, .. } in self.open.take().unwrap_or_default() {
            self.touched.insert(key.clone());
            match after {
                _ if !is_done => {}
                Some(digest) => {
                    self.gone.remove(&key);
                    self.now.insert(key, digest);
                }
                None => {
                    if self.now.remove(&key).is_some() {
                        self.gone.insert(key);
                    }
                }
            }
        }
    }

    fn writes(&mut self, change: &Change) -> Vec<Write> {
        let changed: Vec<(Key, Option<String>)> = match change {
            Change::Blob { repository, content } => {
                let digest = content.digest();
                self.contents.insert(digest.clone(), *content);
                vec![(Key::Blob(repository.clone(), digest.clone()), Some(digest))]
            }
            Change::Manifest { repository, media_type, text, tags, subject } => {
                let digest = sha256(text.as_bytes());
                let (media_type, text, subject) = (media_type.clone(), text.clone(), subject.clone());
                self.documents.insert(digest.clone(), Document { media_type, text, subject });
                let tags = tags.iter().map(|tag| Key::Tag(repository.clone(), tag.clone()));
                let keys = std::iter::once(Key::Manifest(repository.clone(), digest.clone())).chain(tags);
                keys.map(|key| (key, Some(digest.clone()))).collect()
            }
            Change::DeleteBlob { repository, digest } => vec![(Key::Blob(repository.clone(), digest.clone()), None)],
            Change::DeleteTag { repository, tag } => vec![(Key::Tag(repository.clone(), tag.clone()), None)],
            Change::DeleteManifest { repository, digest } => {
                let of_it = |key: &Key| matches!(key, Key::Tag(within, _) if within == repository);
                let tags = self.now.iter().filter(|(key, named)| of_it(key) && *named == digest);
                let keys = tags.map(|(key, _)| key.clone());
                let manifest = Key::Manifest(repository.clone(), digest.clone());
                std::iter::once(manifest).chain(keys).map(|key| (key, None)).collect()
            }
        };
        let write = |(key, after)| Write { before: self.now.get(&key).cloned(), key, after };
        changed.into_iter().map(write).collect()
    }

    /// The change whose answer never came.
    pub fn open(&self) -> Option<&[Write]> {
        self.open.as_deref()
    }

    /// Changes of which only a restart shows whether they were made.
    pub fn doubted(&self) -> &[Vec<Write>] {
        &self.doubted
    }

    /// What a key stands for.
    pub fn get(&self, key: &Key) -> Option<&str> {
        self.now.get(key).map(String::as_str)
    }

    /// Everything that is there.
    pub fn present(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.now.iter().map(|(key, digest)| (key, digest.as_str()))
    }

    /// Everything that was there and must stay away.
    pub fn gone(&self) -> impl Iterator<Item = &Key> {
        self.gone.iter()
    }

    pub fn sessions(&self) -> &BTreeMap<String, Session> {
        &self.sessions
    }

    pub fn content(&self, digest: &str) -> Option<Content> {
        self.contents.get(digest).copied()
    }

    pub fn document(&self, digest: &str) -> Option<&Document> {
        self.documents.get(digest)
    }

    /// What changed since the last time this was called.
    pub fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    /// The tags of a repository, in byte order.
    pub fn tags(&self, repository: &str) -> Vec<&str> {
        let tags = self.now.keys().filter_map(|key| match key {
            Key::Tag(within, tag) if within == repository => Some(tag.as_str()),
            _ => None,
        });
        tags.collect()
    }

    /// Documents of a repository that refer to `subject`, sorted.
    pub fn referring(&self, repository: &str, subject: &str) -> Vec<&str> {
        let documents = self.now.iter().filter_map(|(key, digest)| match key {
            Key::Manifest(within, _) if within == repository => Some(digest.as_str()),
            _ => None,
        });
        let refers = |digest: &&str| self.documents[*digest].subject.as_deref() == Some(subject);
        documents.filter(refers).collect()
    }
}
