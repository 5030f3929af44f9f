//! Deleting: what is gone stays gone, what something else needs stays.

use http::Method;

use super::{
    Change, Key,
    worker::{Step, Stop, Worker},
};
use crate::http::{empty, request};

/// Turns in which everything must be deletable: an index goes before what it needs.
const TURNS_MAX: usize = 8;

impl Worker {
    pub(super) async fn delete_any(&mut self) -> Step {
        match self.choose(|_| true) {
            Some((key, _)) => self.delete(&key).await,
            None => Ok(()),
        }
    }

    /// A blob or manifest that a manifest needs stays: 405.
    async fn delete(&mut self, key: &Key) -> Step {
        let (change, path, refused): (Change, String, &[u16]) = match key.clone() {
            Key::Blob(repository, digest) => {
                let path = format!("/v2/{repository}/blobs/{digest}");
                (Change::DeleteBlob { repository, digest }, path, &[405])
            }
            Key::Manifest(repository, digest) => {
                let path = format!("/v2/{repository}/manifests/{digest}");
                (Change::DeleteManifest { repository, digest }, path, &[405])
            }
            Key::Tag(repository, tag) => {
                let path = format!("/v2/{repository}/manifests/{tag}");
                (Change::DeleteTag { repository, tag }, path, &[])
            }
        };
        match self.change(change, request(Method::DELETE, &path, empty()), &[202], refused).await {
            // Or a full disk could never be emptied.
            Err(Stop::Full) => return Err(self.broken(format!("DELETE {path} was refused for want of space"))),
            result => drop(result?),
        }
        self.check(key).await
    }

    /// Deletes everything this worker has, and gives up its uploads: nothing of it may be left then.
    pub async fn delete_all(&mut self) -> Result<(), Stop> {
        for turn in 0..=TURNS_MAX {
            let keys: Vec<Key> = self.facts.present().map(|(key, _)| key.clone()).collect();
            let sessions: Vec<String> = self.facts.sessions().keys().cloned().collect();
            if keys.is_empty() && sessions.is_empty() {
                return Ok(());
            }
            if turn == TURNS_MAX {
                return Err(self.broken(format!("these can't be deleted: {:?}, {sessions:?}", keys.first())));
            }
            for session in sessions {
                self.drop_session(&session).await?;
            }
            // Manifests first: they need blobs.
            let (documents, others): (Vec<Key>, Vec<Key>) =
                keys.into_iter().partition(|key| matches!(key, Key::Manifest(..)));
            for key in documents.into_iter().chain(others) {
                if self.facts.get(&key).is_some() {
                    self.operation += 1;
                    self.delete(&key).await?;
                }
            }
        }
        unreachable!("the last turn returns")
    }
}
