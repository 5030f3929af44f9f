//! Patterns of repositories in policies: globs, in which one part may stand for the name of whoever asks.

use orlop_api::access::Subject;
use orlop_gc::retention::{Glob, GlobError};

/// What stands for the name of the user: zot's spelling and a shorter one.
const PLACEHOLDERS: [&str; 2] = ["${username}", "${user}"];

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error(transparent)]
    Glob(#[from] GlobError),
    #[error("${{username}} must be a whole part between slashes, there must be one of it, and no ** or {{ before it")]
    Placeholder,
}

/// A pattern for repositories, such as `team-a/**` or `${username}/**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// With `*` where the name of the user goes.
    glob: Glob,
    /// Which part is the name of the user, counted from 0.
    user_part: Option<usize>,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let parts: Vec<&str> = text.split('/').collect();
        let user_part = parts.iter().position(|part| PLACEHOLDERS.contains(part));
        let Some(at) = user_part else {
            // Elsewhere it would be read as braces, and mean something else than it says.
            return match PLACEHOLDERS.iter().any(|placeholder| text.contains(placeholder)) {
                true => Err(PatternError::Placeholder),
                false => Ok(Pattern { text: text.to_owned(), glob: Glob::new(text)?, user_part: None }),
            };
        };
        let (before, after) = (&parts[..at], parts[at + 1..].join("/"));
        let is_unclear = before.iter().any(|part| *part == "**" || part.contains('{'));
        if is_unclear || PLACEHOLDERS.iter().any(|placeholder| after.contains(placeholder)) {
            return Err(PatternError::Placeholder);
        }
        let glob: Vec<&str> =
            parts.iter().enumerate().map(|(index, part)| if index == at { "*" } else { part }).collect();
        Ok(Pattern { text: text.to_owned(), glob: Glob::new(&glob.join("/"))?, user_part })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is for this repository, whoever asks.
    pub fn matches(&self, repository: &str) -> bool {
        self.glob.matches(repository)
    }

    /// Whether a repository that it matches is one for `subject`. A name with a slash is no part of a repository, so
    /// that nobody gets what is somebody else's by a name like a path.
    pub fn is_for(&self, subject: &Subject, repository: &str) -> bool {
        match self.user_part {
            None => true,
            Some(at) => subject.name().is_some() && repository.split('/').nth(at) == subject.name(),
        }
    }

    /// Whether it is for one user only in each repository.
    pub fn is_personal(&self) -> bool {
        self.user_part.is_some()
    }

    /// What all repositories that it matches begin with: characters, not parts.
    pub fn prefix(&self) -> &str {
        let end = self.text.find(['*', '?', '[', '{', '\\', '$']).unwrap_or(self.text.len());
        // `a/**` is for `a`, too.
        let prefix = &self.text[..end];
        prefix.strip_suffix('/').unwrap_or(prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn is_for(text: &str, user: Option<&str>, repository: &str) -> bool {
        let subject = user.map_or(Subject::anonymous(), |user| Subject::user(user, Vec::new()));
        pattern(text).matches(repository) && pattern(text).is_for(&subject, repository)
    }

    #[test]
    fn a_rule_is_for_what_its_pattern_says_and_nothing_else() {
        for (repository, matches) in [
            ("team-a", true),
            ("team-a/x", true),
            ("team-a/x/y", true),
            ("team-a2", false),
            ("team-a2/x", false),
            ("xteam-a/y", false),
            ("x/team-a/y", false),
            ("team", false),
        ] {
            assert_eq!(pattern("team-a/**").matches(repository), matches, "{repository}");
        }
    }

    #[test]
    fn a_part_stands_for_the_user() {
        for text in ["${username}/**", "${user}/**"] {
            assert!(is_for(text, Some("alice"), "alice/app/x") && is_for(text, Some("alice"), "alice"));
            assert!(!is_for(text, Some("bob"), "alice/app") && !is_for(text, None, "alice/app"));
            assert!(!is_for(text, Some("ali"), "alice/app") && !is_for(text, Some("*"), "alice/app"));
        }
        assert!(is_for("home/*/${user}/*", Some("bob"), "home/x/bob/app"));
        assert!(!is_for("home/*/${user}/*", Some("bob"), "home/bob/x/app"));
        // A name is one part, whatever it looks like.
        assert!(!is_for("${user}/**", Some("alice/app"), "alice/app/x"));
        assert!(!is_for("${user}/**", Some(""), "alice"));
    }

    #[test]
    fn unclear_patterns_are_refused() {
        for text in ["a${user}/**", "**/${user}", "{a,b/c}/${user}", "${user}/${user}", "${user}/x${username}"] {
            assert_eq!(Pattern::new(text), Err(PatternError::Placeholder), "{text}");
        }
        assert!(matches!(Pattern::new("a//b"), Err(PatternError::Glob(_))));
    }

    proptest! {
        #[test]
        fn what_matches_begins_with_the_prefix(
            pattern in r"[ab]{0,2}(/?(\*|\*\*|\?|[ab]{1,2}|\[ab\]|\{a,b\})){0,3}",
            repository in "[ab]{1,3}(/[ab]{1,2}){0,2}",
        ) {
            if let Ok(pattern) = Pattern::new(&pattern) && pattern.matches(&repository) {
                prop_assert!(repository.starts_with(pattern.prefix()), "{:?} {}", pattern, repository);
            }
        }
    }
}
