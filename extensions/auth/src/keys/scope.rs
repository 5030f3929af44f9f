//! What a key was made for. zot stores scopes and looks at none; here they have one meaning:
//!
//! ```text
//!   scope       = action | "repository:" pattern ":" actions
//!   actions     = "*" | action *("," action)
//!   action      = "read" | "create" | "update" | "delete" | "pull" (read) | "push" (create and update)
//! ```
//!
//! An action alone is for all repositories. Scopes add up, and no scope at all is everything that the owner may do.
//! They only ever take away: what the policies do not allow the owner, no scope gives him.

use orlop_api::access::{Action, Actions};

use crate::{
    evidence::{Reach, Scopes},
    pattern::Pattern,
};

/// The most scopes of a key.
pub const SCOPES_MAX: usize = 64;

/// The longest scope in bytes: a pattern of a repository and all actions.
const SCOPE_BYTES_MAX: usize = 512;

/// Why scopes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("{0} scopes are too many, expected at most {SCOPES_MAX}")]
    TooMany(usize),
    #[error(
        "the scope {0:?} is not known; expected read, create, update, delete, or repository:PATTERN:ACTIONS such as \
         repository:team/**:read,create"
    )]
    Unknown(String),
    #[error("the pattern of the scope {0:?} cannot be used: {1}")]
    Pattern(String, String),
}

/// What the scopes allow together; `None` for everything.
pub fn read(scopes: &[String]) -> Result<Option<Scopes>, ScopeError> {
    if scopes.len() > SCOPES_MAX {
        return Err(ScopeError::TooMany(scopes.len()));
    }
    let read: Vec<_> = scopes.iter().map(|scope| self::scope(scope)).collect::<Result<_, _>>()?;
    Ok(Some(read).filter(|read| !read.is_empty()).map(Scopes::new))
}

fn scope(text: &str) -> Result<(Reach, Actions), ScopeError> {
    let unknown = || ScopeError::Unknown(text.chars().take(SCOPE_BYTES_MAX).collect());
    if text.len() > SCOPE_BYTES_MAX {
        return Err(unknown());
    }
    let (pattern, actions) = match text.split_once(':') {
        None => ("**", action(text).ok_or_else(unknown)?),
        Some(("repository", rest)) => {
            let (pattern, actions) = rest.split_once(':').ok_or_else(unknown)?;
            (pattern, self::actions(actions).ok_or_else(unknown)?)
        }
        Some(_) => return Err(unknown()),
    };
    let unusable = |reason: String| ScopeError::Pattern(text.to_owned(), reason);
    let pattern = Pattern::new(pattern).map_err(|error| unusable(error.to_string()))?;
    if pattern.is_personal() {
        return Err(unusable("a key has one owner: write his name".to_owned()));
    }
    Ok((Reach::Matching(pattern), actions))
}

fn actions(text: &str) -> Option<Actions> {
    if text == "*" {
        return Some(Actions::FULL);
    }
    text.split(',').try_fold(Actions::NONE, |all, name| Some(all.union(action(name)?)))
}

fn action(name: &str) -> Option<Actions> {
    match name {
        "pull" => Some(Actions::of(&[Action::Read])),
        "push" => Some(Actions::of(&[Action::Create, Action::Update])),
        _ => {
            let action = Action::named(name).filter(|action| *action != Action::DetectManifestCollision)?;
            Some(Actions::of(&[action]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(scopes: &[&str]) -> Result<Option<Scopes>, ScopeError> {
        read(&scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn scopes_add_up() {
        const READ: Actions = Actions::of(&[Action::Read]);
        const BIND: Actions = Actions::of(&[Action::Create, Action::Update]);
        assert!(read_all(&[]).is_ok_and(|scopes| scopes.is_none()));
        let scopes = read_all(&["read", "repository:team/**:push", "repository:mine:*"]).expect("scopes");
        let scopes = scopes.expect("less than everything");
        assert_eq!(scopes.actions("other/x"), READ);
        assert_eq!(scopes.actions("team/x"), READ.union(BIND));
        assert_eq!(scopes.actions("mine"), Actions::FULL);
        let one = read_all(&["repository:a/b:pull,delete"]).expect("scopes").expect("less than everything");
        assert_eq!(one.actions("a/b"), Actions::of(&[Action::Read, Action::Delete]));
        for other in ["a/bc", "a/b/c", "a", "xa/b"] {
            assert_eq!(one.actions(other), Actions::NONE, "{other}");
        }
    }

    /// S-60: texts that another reader would take for more.
    #[test]
    fn what_has_no_meaning_is_refused() {
        for scope in [
            "",
            "*",
            "write",
            " read",
            "read,create",
            "detectManifestCollision",
            "repository",
            "repository:a",
            "repository:a:",
            "repository:a:read, create",
            "repository:a:read,",
            "repository:a:write",
            "repository:a:*,read",
            "repository::read",
            "repository:a:b:read",
            "repository:a//b:read",
            "repository:${user}/**:read",
            "repository(plugin):a:pull",
            "registry:catalog:*",
            &"r".repeat(SCOPE_BYTES_MAX + 1),
        ] {
            assert!(read_all(&[scope]).is_err(), "{scope}");
        }
        assert_eq!(read_all(&["read"; SCOPES_MAX + 1]).map(drop), Err(ScopeError::TooMany(SCOPES_MAX + 1)));
    }
}
