//! The one table of permissions: what each route and method takes.
//!
//! A route or method that is missing from it does not compile: both are matched without a rest.

use http::Method;

use super::{Action, Actions};
use crate::protocol::{Account, Route};

/// The methods that any route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    pub const ALL: [Verb; 6] = [Verb::Get, Verb::Head, Verb::Post, Verb::Put, Verb::Patch, Verb::Delete];

    pub fn of(method: &Method) -> Option<Self> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == method.as_str())
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }
}

/// What a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the answer says nothing of what is stored, and nobody is asked who he is.
    Nothing,
    /// What [`super::Access::greets`] says.
    Greeting,
    /// Credentials that are right, if there are any.
    Token,
    /// To be a user, whatever he may do.
    User,
    /// Anything to be listed; what may not be read is left out.
    Listing,
    /// One of these actions in the repository of the route. Which one exactly, where that depends on what is
    /// stored, is decided by the commit.
    AnyOf(Actions),
    /// To be one of those who may see metrics.
    Metrics,
    /// To be an administrator.
    Admin,
}

/// What a method of a route takes. Methods that the route does not know never come here: they are 405 for everybody.
pub const fn need(route: &Route, verb: Verb) -> Need {
    const READ: Need = Need::AnyOf(Actions::of(&[Action::Read]));
    const CREATE: Need = Need::AnyOf(Actions::of(&[Action::Create]));
    const DELETE: Need = Need::AnyOf(Actions::of(&[Action::Delete]));
    // A tag that is new takes create, one that moves takes update.
    const BIND: Need = Need::AnyOf(Actions::of(&[Action::Create, Action::Update]));
    match route {
        Route::Health(_) => Need::Nothing,
        Route::Base => Need::Greeting,
        Route::Token => Need::Token,
        // Whoever logs in or out shows by what he sends who he is.
        Route::Account(Account::Login | Account::Callback { .. } | Account::Logout) => Need::Nothing,
        Route::Account(Account::ApiKeys) => Need::User,
        // Whoever is to log in has to know how.
        Route::Management => Need::Nothing,
        Route::Catalog | Route::Extensions => Need::Listing,
        Route::Metrics => Need::Metrics,
        Route::Collection | Route::Scrub => Need::Admin,
        Route::Tags { .. } | Route::Referrers { .. } => READ,
        Route::Manifest { .. } => match verb {
            Verb::Get | Verb::Head => READ,
            Verb::Put | Verb::Post | Verb::Patch => BIND,
            Verb::Delete => DELETE,
        },
        Route::Blob { .. } => match verb {
            Verb::Get | Verb::Head => READ,
            Verb::Put | Verb::Post | Verb::Patch => CREATE,
            Verb::Delete => DELETE,
        },
        // An upload is part of a push from its beginning to its end: looking at it and giving it up as well.
        Route::UploadStart { .. } | Route::Upload { .. } => match verb {
            Verb::Get | Verb::Head | Verb::Post | Verb::Put | Verb::Patch | Verb::Delete => CREATE,
        },
    }
}
