//! Tokens that stand for a user for a while, or for nobody in particular.
//!
//! They are for clients that send no password before they were asked, and nothing at all when they were asked for a
//! password and have none: Docker. Asked for a token they get one either way. A token says who, and nothing of what
//! he may do: that is looked up for each request. It is worth nothing after a restart, which makes its holder ask
//! again.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orlop_api::access::Subject;
use quick_cache::{Weighter, sync::Cache};
use serde_json::json;

use crate::logins::{KEY_BYTES, random_key, subject_bytes};

/// How long a token stands for its user. Clients ask for another one by themselves.
const LIFETIME: Duration = Duration::from_secs(300);

/// Bytes of the time at which a token ends, in seconds since 1970.
const EXPIRY_BYTES: usize = 8;

/// Bytes of what nobody else can compute.
const SEAL_BYTES: usize = 32;

/// What all subjects that are held for their tokens may take, in bytes: beyond it the holders of old ones ask again.
const HELD_BYTES_MAX: u64 = 32 << 20;

/// Expected ones, for the cache's tables.
const HELD_EXPECTED: usize = 4096;

/// What one takes beside his name and his groups, in bytes.
const HELD_BYTES: u64 = 256;

/// What the place of a subject that is held begins with in the place of a user's name: no user has it in his.
const HELD: char = '\0';

/// Makes tokens and knows its own.
pub struct Tokens {
    key: [u8; KEY_BYTES],
    /// Whom tokens stand for that are not of the file of users.
    held: Cache<String, Subject, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Subject> for ByBytes {
    fn weight(&self, _: &String, subject: &Subject) -> u64 {
        HELD_BYTES + subject_bytes(subject)
    }
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bearer {
    Anonymous,
    /// A user of the file.
    User(String),
    /// Whoever it was made for.
    Held(Subject),
}

impl Tokens {
    pub fn new() -> Self {
        Tokens { key: random_key(), held: Cache::with_weighter(HELD_EXPECTED, HELD_BYTES_MAX, ByBytes) }
    }

    /// The answer of the token endpoint. `secret` is the hash of the user's password: a token ends with it.
    pub fn document(&self, user: Option<&str>, secret: &str) -> String {
        let now = SystemTime::now();
        let token = self.token(user.unwrap_or_default(), secret, seconds(now + LIFETIME));
        json!({ "token": token, "access_token": token, "expires_in": LIFETIME.as_secs() }).to_string()
    }

    /// The answer of the token endpoint to somebody who is not of the file of users: the token stands for him with
    /// all that is known of him now, his groups and how far his credentials go.
    pub fn document_of(&self, subject: &Subject) -> String {
        let place = random_key()[..16].iter().fold(String::from(HELD), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        self.held.insert(place.clone(), subject.clone());
        self.document(Some(&place), "")
    }

    fn token(&self, user: &str, secret: &str, expiry: u64) -> String {
        let expiry = expiry.to_be_bytes();
        let seal = self.seal(&expiry, user, secret);
        let mut text = String::with_capacity(2 * (EXPIRY_BYTES + SEAL_BYTES + user.len()));
        for byte in expiry.iter().chain(seal.as_bytes()).chain(user.as_bytes()) {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Whom `text` stands for, if it is one of these tokens and its time is not over. `secret_of` gives the hash of
    /// a user's password, if there is such a user.
    pub fn read(&self, text: &str, secret_of: impl Fn(&str) -> Option<String>) -> Option<Bearer> {
        self.read_at(text, secret_of, SystemTime::now())
    }

    fn read_at(&self, text: &str, secret_of: impl Fn(&str) -> Option<String>, now: SystemTime) -> Option<Bearer> {
        let bytes = decode(text)?;
        let (expiry, rest) = bytes.split_first_chunk::<EXPIRY_BYTES>()?;
        let (seal, user) = rest.split_first_chunk::<SEAL_BYTES>()?;
        let user = std::str::from_utf8(user).ok()?;
        let is_held = user.starts_with(HELD);
        let secret = if user.is_empty() || is_held { String::new() } else { secret_of(user)? };
        // Compares in constant time, as blake3's hashes do.
        let is_ours = self.seal(expiry, user, &secret) == *seal;
        if !is_ours || u64::from_be_bytes(*expiry) < seconds(now) {
            return None;
        }
        if is_held {
            return self.held.get(user).map(Bearer::Held);
        }
        Some(if user.is_empty() { Bearer::Anonymous } else { Bearer::User(user.to_owned()) })
    }

    fn seal(&self, expiry: &[u8; EXPIRY_BYTES], user: &str, secret: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(expiry).update(&(user.len() as u64).to_be_bytes()).update(user.as_bytes());
        hasher.update(secret.as_bytes()).finalize()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Pairs of lower case hexadecimal digits.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let decoded = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { decoded } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_of(user: &str) -> Option<String> {
        (user == "alice").then(|| "hash".to_owned())
    }

    #[test]
    fn a_token_stands_for_its_user_while_it_lasts() {
        let tokens = Tokens::new();
        let now = SystemTime::now();
        let token = tokens.token("alice", "hash", seconds(now) + 10);
        let alice = Some(Bearer::User("alice".to_owned()));
        assert_eq!(tokens.read_at(&token, secret_of, now), alice);
        assert_eq!(tokens.read_at(&token, secret_of, now + Duration::from_secs(10)), alice);
        assert_eq!(tokens.read_at(&token, secret_of, now + Duration::from_secs(11)), None, "it is over");
        assert_eq!(tokens.read_at(&token, |_| Some("other".to_owned()), now), None, "another password since");
        assert_eq!(tokens.read_at(&token, |_| None, now), None, "no such user any more");
        assert_eq!(Tokens::new().read_at(&token, secret_of, now), None, "of another process");
        let nobody = tokens.token("", "", seconds(now) + 10);
        assert_eq!(tokens.read_at(&nobody, secret_of, now), Some(Bearer::Anonymous));
    }

    /// The others come with groups and with limits, which a name alone would lose.
    #[test]
    fn a_token_stands_for_others_with_all_that_is_known_of_them() {
        let tokens = Tokens::new();
        let subject = Subject::user("alice", vec!["team".into()]).with_evidence(std::sync::Arc::new(7_u8));
        let document: serde_json::Value = serde_json::from_str(&tokens.document_of(&subject)).expect("JSON");
        let token = document["token"].as_str().expect("a text");
        let Some(Bearer::Held(read)) = tokens.read(token, secret_of) else { panic!("it is known") };
        assert!(read == subject && read.evidence::<u8>() == Some(&7));
        assert_eq!(tokens.read_at(token, secret_of, SystemTime::now() + LIFETIME * 2), None, "it is over");
        assert_eq!(Tokens::new().read(token, secret_of), None, "of another process");
    }

    #[test]
    fn nothing_else_is_a_token() {
        let tokens = Tokens::new();
        let now = SystemTime::now();
        let token = tokens.token("alice", "hash", seconds(now) + 10);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("digits");
            assert_eq!(tokens.read_at(&changed, |_| Some("hash".to_owned()), now), None, "{at}");
            assert_eq!(tokens.read_at(&token[..at], |_| Some("hash".to_owned()), now), None, "{at}");
        }
        for text in ["", "x", "eyJhbGciOiJub25lIn0.e30.", &token.to_uppercase(), &format!("{token}00")] {
            assert_eq!(tokens.read_at(text, |_| Some("hash".to_owned()), now), None, "{text}");
        }
    }

    #[test]
    fn the_document_has_both_names() {
        let tokens = Tokens::new();
        let document: serde_json::Value = serde_json::from_str(&tokens.document(Some("alice"), "hash")).expect("JSON");
        assert_eq!(document["token"], document["access_token"]);
        assert_eq!(document["expires_in"], 300);
        let token = document["token"].as_str().expect("a text");
        assert_eq!(tokens.read(token, secret_of), Some(Bearer::User("alice".to_owned())));
    }
}
