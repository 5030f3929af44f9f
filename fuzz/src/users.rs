//! Files of users, line by line.
//!
//! An input is the text of a file. What is accepted has as many users as lines that are no comments, all of different
//! names; what is refused is refused in one line, which shows no hash.

use std::collections::HashSet;

use orlop_auth::Users;

/// Shorter texts, and those of several words, may be in an error by chance: the search learns our own words. Real hashes
/// have 60 bytes and more.
const SECRET_BYTES_MIN: usize = 24;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split: Vec<Option<(&str, &str)>> = lines.map(|line| line.split_once(':')).collect();
    match Users::parse(text) {
        Ok(users) => {
            let names: HashSet<&str> = split.iter().map(|line| line.expect("a name and a hash").0).collect();
            assert_eq!((users.len(), names.len()), (split.len(), split.len()));
            for (name, hash) in split.into_iter().flatten() {
                assert!(users.hash_of(name).is_some_and(|known| known == hash), "{name:?}");
            }
        }
        Err(error) => {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            // What it is made of, without the words between, which a text may have as well.
            let parts = format!("{error:?}");
            let named: Vec<(&str, &str)> = split.into_iter().flatten().collect();
            for (_, hash) in &named {
                let escaped = hash.escape_debug().to_string();
                // Names are shown, and one may be what another user has as hash.
                let is_one_word = !hash.contains(char::is_whitespace);
                let is_named = named.iter().any(|(name, _)| name.contains(hash));
                let is_secret = hash.len() >= SECRET_BYTES_MIN && is_one_word && !is_named;
                assert!(!(is_secret && parts.contains(&escaped)), "the error shows a hash: {error}");
            }
        }
    }
}
