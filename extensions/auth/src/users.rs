//! The lines of an htpasswd file: `user:hash`, one a line; empty lines and those that begin with `#` say nothing.

use std::collections::{HashMap, hash_map::Entry};

use crate::hash::{Hash, HashError};

/// The most users of a file.
const USERS_MAX: usize = 1 << 20;

/// The longest name of a user, in bytes, as htpasswd has it.
const NAME_BYTES_MAX: usize = 255;

/// Why a line is refused. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("line {line} is no user: expected name:hash, the name with 1 to {NAME_BYTES_MAX} bytes")]
    Malformed { line: usize },
    #[error("line {line}: the hash of the password of {user:?} is not usable: {error}")]
    Hash { line: usize, user: String, error: HashError },
    #[error("line {line}: {user:?} is there already; remove one of the two")]
    Twice { line: usize, user: String },
    #[error("it has more than {USERS_MAX} users")]
    TooMany,
}

/// Users with the hashes of their passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Users {
    hashes: HashMap<Box<str>, Hash>,
    /// What is hashed for users that do not exist: as costly as the costliest.
    decoy: Hash,
}

impl Users {
    pub fn parse(text: &str) -> Result<Self, UserError> {
        let mut hashes: HashMap<Box<str>, Hash> = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let (user, hash) = line.split_once(':').ok_or(UserError::Malformed { line: number })?;
            if user.is_empty() || user.len() > NAME_BYTES_MAX || user.chars().any(char::is_control) {
                return Err(UserError::Malformed { line: number });
            }
            let unusable = |error| UserError::Hash { line: number, user: user.to_owned(), error };
            let hash = Hash::parse(hash).map_err(unusable)?;
            match hashes.entry(user.into()) {
                Entry::Occupied(_) => return Err(UserError::Twice { line: number, user: user.to_owned() }),
                Entry::Vacant(place) => drop(place.insert(hash)),
            }
            if hashes.len() > USERS_MAX {
                return Err(UserError::TooMany);
            }
        }
        let costliest = hashes.values().max_by_key(|hash| hash.work());
        let decoy = costliest.cloned().unwrap_or_else(Hash::decoy);
        Ok(Users { hashes, decoy })
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The hash of a user's password as it is written.
    pub fn hash_of(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(Hash::as_str)
    }

    /// Whether this is the password of this user. It takes as long for a user who does not exist as for one who does.
    pub fn is_password(&self, user: &str, password: &str) -> bool {
        let hash = self.hashes.get(user);
        let is_of = hash.unwrap_or(&self.decoy).is_of(password);
        is_of && hash.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = "bob:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";

    #[test]
    fn users_have_one_password_each() {
        let text = format!("# users\n\n {BOB}\r\nalice:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n");
        let users = Users::parse(&text).expect("a file");
        assert_eq!(users.len(), 2);
        assert!(users.is_password("bob", "Hello world!") && users.is_password("alice", "U*U"));
        for (user, password) in [("bob", "U*U"), ("alice", ""), ("carol", "Hello world!"), ("carol", "U*U"), ("", "")] {
            assert!(!users.is_password(user, password), "{user}");
        }
        assert!(Users::parse("").is_ok_and(|users| users.is_empty() && !users.is_password("a", "b")));
    }

    #[test]
    fn lines_that_say_nothing_clear_are_refused() {
        let error = |text: &str| Users::parse(text).map(drop).expect_err("refused").to_string();
        assert!(error("bob").contains("line 1"));
        assert!(error(&format!("#\n:{BOB}")).contains("line 2"));
        assert!(error("bob:secret").contains("htpasswd -B"));
        assert!(error(&format!("{BOB}\n{BOB}")).contains("\"bob\" is there already"));
        assert!(!error("bob:secret").contains("secret"), "what stands for a password is in no message");
    }
}
