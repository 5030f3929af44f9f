//! The uploads there are: found by id, counted by namespace and owner, and no more than there may be.

use std::{
    collections::{HashMap, hash_map::Values},
    hash::Hash,
    sync::Arc,
};

use super::{UploadHome, UploadId, UploadOwner, session::Session};
use crate::{Error, Namespace, Result, schedule::RandomState};

/// How many uploads there may be when another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadsMax {
    /// In all namespaces.
    pub all: usize,
    /// In the namespace of the new one.
    pub of_namespace: usize,
    /// Of the owner of the new one, if it has one.
    pub of_owner: usize,
}

impl UploadsMax {
    /// As many as memory holds.
    pub const UNLIMITED: UploadsMax = UploadsMax { all: usize::MAX, of_namespace: usize::MAX, of_owner: usize::MAX };
}

#[derive(Default)]
pub(super) struct Crowd {
    sessions: HashMap<UploadId, Arc<Session>, RandomState>,
    /// Namespaces with at least one upload.
    of_namespace: HashMap<Namespace, usize>,
    /// Owners with at least one upload.
    of_owner: HashMap<UploadOwner, usize>,
}

impl Crowd {
    /// Errors: `TooManyUploads`.
    pub fn admit(&self, home: &UploadHome, max: UploadsMax) -> Result<()> {
        let of_namespace = self.of_namespace.get(&home.namespace).copied().unwrap_or(0);
        let of_owner = home.owner.and_then(|owner| self.of_owner.get(&owner)).copied().unwrap_or(0);
        let all = self.sessions.len();
        for (count, max) in [(of_owner, max.of_owner), (of_namespace, max.of_namespace), (all, max.all)] {
            if count >= max {
                return Err(Error::TooManyUploads { max });
            }
        }
        Ok(())
    }

    /// Adds an upload with an id of its own.
    pub fn insert(&mut self, session: Session) {
        *self.of_namespace.entry(session.home.namespace.clone()).or_default() += 1;
        if let Some(owner) = session.home.owner {
            *self.of_owner.entry(owner).or_default() += 1;
        }
        self.sessions.insert(session.id, Arc::new(session));
    }

    pub fn remove(&mut self, id: UploadId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        count_down(&mut self.of_namespace, &session.home.namespace);
        if let Some(owner) = &session.home.owner {
            count_down(&mut self.of_owner, owner);
        }
    }

    pub fn get(&self, id: UploadId) -> Option<&Arc<Session>> {
        self.sessions.get(&id)
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn values(&self) -> Values<'_, UploadId, Arc<Session>> {
        self.sessions.values()
    }
}

/// One less; whoever has none left is forgotten.
fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
