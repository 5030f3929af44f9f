//! The uploads there are: found by id, counted by namespace, and no more than there may be.

use std::{
    collections::{HashMap, hash_map::Values},
    sync::Arc,
};

use super::{UploadId, session::Session};
use crate::{Error, Namespace, Result, schedule::RandomState};

/// How many uploads there may be when another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadsMax {
    /// In all namespaces.
    pub all: usize,
    /// In the namespace of the new one.
    pub of_namespace: usize,
}

impl UploadsMax {
    /// As many as memory holds.
    pub const UNLIMITED: UploadsMax = UploadsMax { all: usize::MAX, of_namespace: usize::MAX };
}

#[derive(Default)]
pub(super) struct Crowd {
    sessions: HashMap<UploadId, Arc<Session>, RandomState>,
    /// Namespaces with at least one upload.
    of_namespace: HashMap<Namespace, usize>,
}

impl Crowd {
    /// Errors: `TooManyUploads`.
    pub fn admit(&self, namespace: &Namespace, max: UploadsMax) -> Result<()> {
        let own = self.of_namespace.get(namespace).copied().unwrap_or(0);
        for (count, max) in [(own, max.of_namespace), (self.sessions.len(), max.all)] {
            if count >= max {
                return Err(Error::TooManyUploads { max });
            }
        }
        Ok(())
    }

    /// Adds an upload with an id of its own.
    pub fn insert(&mut self, session: Session) {
        *self.of_namespace.entry(session.namespace.clone()).or_default() += 1;
        self.sessions.insert(session.id, Arc::new(session));
    }

    pub fn remove(&mut self, id: UploadId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(count) = self.of_namespace.get_mut(&session.namespace) {
            *count -= 1;
            if *count == 0 {
                self.of_namespace.remove(&session.namespace);
            }
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
