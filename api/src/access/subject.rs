//! Who sends a request.

use std::{
    any::Any,
    fmt,
    sync::{Arc, OnceLock},
};

/// Whoever sends a request: nobody in particular, or a user. Cheap to clone.
#[derive(Clone)]
pub struct Subject {
    user: Option<Arc<User>>,
    evidence: Option<Arc<dyn Any + Send + Sync>>,
}

struct User {
    name: Box<str>,
    groups: Box<[Box<str>]>,
}

impl Subject {
    /// Somebody without credentials.
    pub const fn anonymous() -> Self {
        Subject { user: None, evidence: None }
    }

    /// Somebody who has shown who he is, with the groups that he showed along with it.
    pub fn user(name: &str, groups: Vec<Box<str>>) -> Self {
        Subject { user: Some(Arc::new(User { name: name.into(), groups: groups.into() })), evidence: None }
    }

    /// With what whoever identified him wants to remember of this request, such as what a token allows by itself.
    /// Nobody else looks at it.
    #[must_use]
    pub fn with_evidence(self, evidence: Arc<dyn Any + Send + Sync>) -> Self {
        Subject { evidence: Some(evidence), ..self }
    }

    /// What was remembered, if it is of this type.
    pub fn evidence<T: Any>(&self) -> Option<&T> {
        self.evidence.as_ref()?.downcast_ref()
    }

    /// Whether this is somebody who has shown nothing at all.
    pub fn is_nobody(&self) -> bool {
        self.user.is_none() && self.evidence.is_none()
    }

    /// Whether there is no name. There may be credentials all the same, such as a token for nobody in particular.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none()
    }

    pub fn name(&self) -> Option<&str> {
        self.user.as_ref().map(|user| &*user.name)
    }

    pub fn groups(&self) -> &[Box<str>] {
        self.user.as_ref().map_or(&[], |user| &user.groups)
    }
}

/// The same user with the same groups; what is remembered of a request makes nobody somebody else.
impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.groups() == other.groups()
    }
}

impl Eq for Subject {}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name:?} of {:?}", self.groups()),
            None => f.write_str("nobody in particular"),
        }
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
