//! What one request may do, carried to where it is decided.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::{header::AUTHORIZATION, request::Parts};
use orlop_engine::{Guard, Namespace};

use super::{Access, Action, Actions, Shared, Subject};
use crate::{protocol::Route, server::Holders};

/// The rights of whoever sent a request, in the repository that it is about.
#[derive(Clone)]
pub struct Grant(Option<Arc<Rights>>);

struct Rights {
    access: Shared,
    subject: Subject,
    actions: Actions,
    /// Empty for a route without one.
    repository: String,
    /// Names that a deletion by digest has met.
    names_met: AtomicUsize,
    has_collided: AtomicBool,
}

impl Grant {
    /// Without access control.
    pub fn everything() -> Self {
        Grant(None)
    }

    pub fn of(access: Shared, subject: Subject, actions: Actions, route: &Route) -> Self {
        let repository = route.repository().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let (names_met, has_collided) = (AtomicUsize::new(0), AtomicBool::new(false));
        Grant(Some(Arc::new(Rights { access, subject, actions, repository, names_met, has_collided })))
    }

    /// To whom the answer to this request may be given again, if to anybody.
    pub fn holders(&self, head: &Parts) -> Option<Holders> {
        let Some(rights) = &self.0 else { return Some(Holders::Everybody) };
        match head.headers.contains_key(AUTHORIZATION) {
            true => rights.access.lasting(&rights.subject, head).map(Holders::Same),
            false => rights.subject.is_nobody().then_some(Holders::Everybody),
        }
    }

    /// The rights that the commit asks about.
    pub fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.0.clone().map(|rights| rights as Arc<dyn Guard>)
    }

    pub fn may(&self, action: Action) -> bool {
        self.0.as_ref().is_none_or(|rights| rights.actions.contains(action))
    }

    /// What becomes of binding a tag, as far as that can be said before it is known whether it exists.
    pub fn binding(&self, tag: &str) -> Binding {
        let Some(rights) = &self.0 else { return Binding::Allowed };
        match (rights.may_bind(tag, true), rights.may_bind(tag, false)) {
            (true, true) => Binding::Allowed,
            (false, false) => Binding::Denied,
            (true, false) => Binding::IfNew,
            (false, true) => Binding::IfThere,
        }
    }

    /// Whether the tag may not be removed.
    pub fn keeps(&self, tag: &str) -> bool {
        self.0.as_ref().is_some_and(|rights| rights.access.is_fixed(&rights.repository, tag))
    }

    pub fn may_list(&self, repository: &str) -> bool {
        let may_read = |rights: &Arc<Rights>| rights.access.actions(&rights.subject, repository).contains(Action::Read);
        self.0.as_ref().is_none_or(may_read)
    }

    /// Whether everything may be listed, so that nothing has to be left out.
    pub fn lists_all(&self) -> bool {
        self.0.is_none()
    }

    pub fn subject(&self) -> Subject {
        self.0.as_ref().map_or(Subject::anonymous(), |rights| rights.subject.clone())
    }

    pub fn access(&self) -> Option<&dyn Access> {
        self.0.as_ref().map(|rights| &*rights.access)
    }

    /// Whether a deletion was refused only because it would have taken several tags.
    pub fn has_collided(&self) -> bool {
        self.0.as_ref().is_some_and(|rights| rights.has_collided.load(Ordering::Relaxed))
    }
}

/// Whether a tag may be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    Allowed,
    Denied,
    /// Only if it does not exist.
    IfNew,
    /// Only if it exists.
    IfThere,
}

impl Guard for Rights {
    fn may_bind(&self, name: &str, is_new: bool) -> bool {
        match is_new {
            true => self.actions.contains(Action::Create),
            false => self.actions.contains(Action::Update) && !self.access.is_fixed(&self.repository, name),
        }
    }

    fn may_unbind(&self, name: &str) -> bool {
        if !self.actions.contains(Action::Delete) || self.access.is_fixed(&self.repository, name) {
            return false;
        }
        let met = self.names_met.fetch_add(1, Ordering::Relaxed) + 1;
        let collides = met > 1 && self.actions.contains(Action::DetectManifestCollision);
        self.has_collided.fetch_or(collides, Ordering::Relaxed);
        !collides
    }

    fn may_mount_from(&self, namespace: &Namespace) -> bool {
        self.access.actions(&self.subject, namespace.as_str()).contains(Action::Read)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(rights) => write!(f, "{:?} may {:?} in {:?}", rights.subject, rights.actions, rights.repository),
            None => f.write_str("everything"),
        }
    }
}
