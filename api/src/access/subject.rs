//! Who sends a request.

use std::sync::{Arc, OnceLock};

/// Whoever sends a request: nobody in particular, or a user. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(Option<Arc<User>>);

#[derive(Debug, PartialEq, Eq)]
struct User {
    name: Box<str>,
    groups: Box<[Box<str>]>,
}

impl Subject {
    /// Somebody without credentials.
    pub const fn anonymous() -> Self {
        Subject(None)
    }

    /// Somebody who has shown who he is, with the groups that he showed along with it.
    pub fn user(name: &str, groups: Vec<Box<str>>) -> Self {
        Subject(Some(Arc::new(User { name: name.into(), groups: groups.into() })))
    }

    pub fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }

    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|user| &*user.name)
    }

    pub fn groups(&self) -> &[Box<str>] {
        self.0.as_ref().map_or(&[], |user| &user.groups)
    }
}

/// Where it is written down who sent a request, once that is known; found in the extensions of requests that are
/// audited.
#[derive(Debug, Clone, Default)]
pub struct SubjectSlot(Arc<OnceLock<Subject>>);

impl SubjectSlot {
    /// The first call counts.
    pub fn set(&self, subject: &Subject) {
        self.0.get_or_init(|| subject.clone());
    }

    /// Whoever it is; nobody while it is not known.
    pub fn get(&self) -> Subject {
        self.0.get().cloned().unwrap_or(Subject::anonymous())
    }
}
