//! What can be done in a repository, and sets of it.

use std::fmt;

/// One kind of deed. The names are those of zot's policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// Pull, list, look at.
    Read = 1,
    /// Push what is not there: blobs, manifests, new tags.
    Create = 2,
    /// Move a tag that exists.
    Update = 4,
    /// Remove tags, manifests and blobs.
    Delete = 8,
    /// Not a right: whoever has it is kept from deleting by digest what has several tags.
    DetectManifestCollision = 16,
}

impl Action {
    pub const ALL: [Action; 5] =
        [Action::Read, Action::Create, Action::Update, Action::Delete, Action::DetectManifestCollision];

    /// As it is written in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::DetectManifestCollision => "detectManifestCollision",
        }
    }

    /// The action with this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(name))
    }
}

/// A set of actions.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

impl Actions {
    pub const NONE: Actions = Actions(0);
    /// Every right.
    pub const FULL: Actions = Actions::of(&[Action::Read, Action::Create, Action::Update, Action::Delete]);

    pub const fn of(actions: &[Action]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < actions.len() {
            bits |= actions[at] as u8;
            at += 1;
        }
        Actions(bits)
    }

    pub const fn contains(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// Whether the sets have an action in common.
    pub const fn intersects(self, other: Actions) -> bool {
        self.0 & other.0 != 0
    }

    #[must_use]
    pub const fn union(self, other: Actions) -> Self {
        Actions(self.0 | other.0)
    }

    #[must_use]
    pub const fn intersection(self, other: Actions) -> Self {
        Actions(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions.into_iter().fold(Actions::NONE, |all, action| all.union(Actions::of(&[action])))
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = Action::ALL.into_iter().filter(|action| self.contains(*action));
        f.debug_set().entries(actions.map(Action::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_into_them() {
        for action in Action::ALL {
            assert_eq!(Action::named(&action.as_str().to_uppercase()), Some(action));
            assert!(Actions::of(&[action]).contains(action) && !Actions::NONE.contains(action));
            assert_eq!(Actions::FULL.contains(action), action != Action::DetectManifestCollision);
        }
        let two: Actions = [Action::Read, Action::Delete].into_iter().collect();
        assert_eq!(format!("{two:?}"), r#"{"read", "delete"}"#);
        assert!(two.intersects(Actions::of(&[Action::Read])) && !two.intersects(Actions::of(&[Action::Create])));
        assert_eq!(Action::named("write"), None);
    }
}
