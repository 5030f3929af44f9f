//! What a credential says beside the name of its user.

use std::sync::Arc;

use orlop_api::access::{Actions, Subject};
use serde_json::{Map, Value};

use crate::{keys::Key, pattern::Pattern};

/// What is remembered of a request beside its subject.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub source: Source,
    pub extent: Extent,
    /// The claims of a token (RFC 7519 section 4), for conditions of policies.
    pub claims: Option<Arc<Map<String, Value>>>,
    /// What the request is, if there are policies with conditions.
    #[cfg(feature = "conditions")]
    pub facts: Option<Arc<crate::condition::Facts>>,
}

impl Evidence {
    /// Whether it decides by itself, whatever the policies say.
    pub fn decides(&self) -> bool {
        matches!(self.extent, Extent::Instead(_))
    }
}

/// Where somebody is known from. Whoever comes without evidence is of the file of users as well.
#[derive(Debug, Clone, Default)]
pub enum Source {
    #[default]
    Elsewhere,
    /// The file of users.
    File,
    /// An LDAP directory.
    Directory,
    /// A certificate of his connection.
    Certificate,
    /// A key of his own.
    Key(Arc<Key>),
}

/// Whether somebody is of the file of users.
pub fn is_of_file(subject: &Subject) -> bool {
    subject.evidence::<Evidence>().is_none_or(|evidence| matches!(evidence.source, Source::File))
}

/// How far a credential goes.
#[derive(Debug, Clone, Default)]
pub enum Extent {
    /// As far as the policies let its user.
    #[default]
    Policies,
    /// As far as the policies, and no further than this: a key that was made for less.
    Within(Arc<Scopes>),
    /// As far as this, whatever the policies say: a token whose issuer has decided.
    Instead(Arc<Scopes>),
}

/// Actions in repositories.
#[derive(Debug, Clone, Default)]
pub struct Scopes(Vec<(Reach, Actions)>);

/// Which repositories.
#[derive(Debug, Clone)]
pub enum Reach {
    /// All whose names match.
    Matching(Pattern),
    /// The one of this name, whatever characters it has.
    Named(Box<str>),
}

impl Scopes {
    pub fn new(scopes: Vec<(Reach, Actions)>) -> Self {
        Scopes(scopes)
    }

    /// What all that reach the repository allow together.
    pub fn actions(&self, repository: &str) -> Actions {
        let reaches = |reach: &Reach| match reach {
            Reach::Matching(pattern) => pattern.matches(repository),
            Reach::Named(name) => **name == *repository,
        };
        let reaching = self.0.iter().filter(|(reach, _)| reaches(reach));
        reaching.fold(Actions::NONE, |all, (_, actions)| all.union(*actions))
    }
}

#[cfg(test)]
mod tests {
    use orlop_api::access::Action;

    use super::*;

    #[test]
    fn scopes_add_up_where_they_reach() {
        const READ: Actions = Actions::of(&[Action::Read]);
        const CREATE: Actions = Actions::of(&[Action::Create]);
        let scopes = Scopes::new(vec![
            (Reach::Matching(Pattern::new("team/**").expect("a pattern")), READ),
            (Reach::Named("team/*".into()), Actions::FULL),
            (Reach::Named("team/a".into()), CREATE),
        ]);
        assert_eq!(scopes.actions("team/a"), READ.union(CREATE));
        assert_eq!(scopes.actions("team/b"), READ, "a name is no pattern");
        assert_eq!(scopes.actions("other"), Actions::NONE);
        assert_eq!(Scopes::default().actions("team/a"), Actions::NONE);
    }
}
