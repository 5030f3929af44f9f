//! After a crash: is everything as it was acknowledged?

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::{
    Event, Key, Violation,
    facts::Write,
    worker::{Step, Stop, Worker, repository},
};
use crate::http::{empty, request};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What changed since the last time, and one in so many of the rest.
    Recent {
        one_in: u64,
    },
    Everything,
}

impl Worker {
    /// Compares the registry with the facts. To be called after a restart, before anything else.
    pub async fn verify(&mut self, depth: Depth) -> Result<(), Violation> {
        // What follows relies on the journal.
        self.sync_journal();
        match self.verify_all(depth).await {
            Ok(()) => Ok(()),
            Err(Stop::Broken(violation)) => Err(violation),
            Err(stop) => match self.broken(format!("{stop:?} while nothing was the matter")) {
                Stop::Broken(violation) => Err(violation),
                Stop::Gone | Stop::Full | Stop::Failed => unreachable!("broken makes a violation"),
            },
        }
    }

    /// Like [`Worker::verify`]; false if the disk fails before everything was looked at.
    pub async fn verify_unless_it_fails(&mut self, depth: Depth) -> Result<bool, Violation> {
        self.sync_journal();
        match self.verify_all(depth).await {
            Ok(()) => Ok(true),
            Err(Stop::Failed) => Ok(false),
            Err(Stop::Broken(violation)) => Err(violation),
            Err(stop @ (Stop::Gone | Stop::Full)) => unreachable!("{stop:?} of a registry that runs"),
        }
    }

    async fn verify_all(&mut self, depth: Depth) -> Step {
        if !self.may_fail() {
            self.decide().await?;
        }
        self.settle().await?;
        let touched = self.facts.take_touched();
        let mut keys: Vec<Key> = self.facts.present().map(|(key, _)| key.clone()).collect();
        keys.extend(self.facts.gone().cloned());
        for key in keys {
            let is_looked_at = match depth {
                Depth::Everything => true,
                Depth::Recent { one_in } => touched.contains(&key) || self.random.below(one_in) == 0,
            };
            if is_looked_at {
                self.check(&key).await?;
            }
        }
        for part in ["a", "b"] {
            self.check_tags(&repository(self.number, part)).await?;
        }
        let sessions: Vec<_> =
            self.facts.sessions().iter().map(|(path, known)| (path.clone(), known.clone())).collect();
        for (path, session) in sessions {
            self.resume(&path, &session, true).await?;
        }
        Ok(())
    }

    /// Finds out what became of the change whose answer never came: all of it, or nothing.
    pub(super) async fn settle(&mut self) -> Step {
        let Some(writes) = self.facts.open().map(<[Write]>::to_vec) else { return Ok(()) };
        let mut is_done = None;
        for Write { key, before, after } in writes.iter().filter(|write| write.before != write.after) {
            let found = self.look(key).await?;
            let this = match found {
                _ if found == *after => true,
                _ if found == *before => false,
                other => {
                    return Err(self.broken(format!("{key:?} was {before:?}, asked for {after:?}, found {other:?}")));
                }
            };
            if is_done.is_some_and(|is_done| is_done != this) {
                return Err(self.broken(format!("half of a change is there: {writes:?}, at {key:?} {found:?}")));
            }
            is_done = Some(this);
        }
        // What changes nothing is as it was, which may as well be called done.
        let is_done = is_done.unwrap_or(true);
        *(if is_done { &mut self.tally.settled_after } else { &mut self.tally.settled_before }) += 1;
        self.note(if is_done || !self.may_fail() { Event::Settled(is_done) } else { Event::Doubted });
        for Write { key, .. } in writes {
            self.check(&key).await?;
        }
        Ok(())
    }

    /// Finds out, after a restart, which of the changes that met a failing disk was made: one at most, and whole.
    async fn decide(&mut self) -> Step {
        if self.facts.doubted().is_empty() {
            return Ok(());
        }
        if self.facts.open().is_some() {
            self.note(Event::Doubted);
        }
        let doubted = self.facts.doubted().to_vec();
        let keys: BTreeSet<&Key> = doubted.iter().flatten().map(|write| &write.key).collect();
        let mut found = BTreeMap::new();
        for key in keys {
            found.insert(key, self.look(key).await?);
        }
        let unchanged = |key: &Key| self.facts.get(key).map(str::to_owned);
        let explains = |writes: &[Write]| {
            found.iter().all(|(key, value)| match writes.iter().find(|write| write.key == **key) {
                Some(write) => *value == write.after,
                None => *value == unchanged(key),
            })
        };
        let made = if explains(&[]) { None } else { doubted.iter().position(|writes| explains(writes)) };
        if made.is_none() && !explains(&[]) {
            return Err(self.broken(format!("no one of these changes explains what is there: {doubted:?}, {found:?}")));
        }
        self.note(Event::Decided(made));
        Ok(())
    }

    /// What a key stands for, as the registry says.
    async fn look(&mut self, key: &Key) -> Step<Option<String>> {
        let path = match key {
            Key::Blob(repository, digest) => format!("/v2/{repository}/blobs/{digest}"),
            Key::Manifest(repository, reference) | Key::Tag(repository, reference) => {
                format!("/v2/{repository}/manifests/{reference}")
            }
        };
        let answer = self.send(request(Method::HEAD, &path, empty())).await?;
        match answer.status.as_u16() {
            200 => Ok(Some(answer.header("docker-content-digest").to_owned())),
            404 => Ok(None),
            _ => Err(self.unexpected(&format!("HEAD {path}"), &answer)),
        }
    }
}
