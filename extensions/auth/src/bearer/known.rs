//! Tokens that were right, so that a pull of many requests checks one signature.
//!
//! What is kept of a token is a hash under a key that no other process has, and whom it stands for.

use orlop_api::access::Subject;
use quick_cache::sync::Cache;

use crate::logins::{KEY_BYTES, random_key};

/// The most tokens that are kept, at some kilobytes each, most of them claims.
const TOKENS_MAX: usize = 8 << 10;

/// Whom a token stands for.
#[derive(Debug, Clone)]
pub struct Holder {
    pub subject: Subject,
    /// In seconds since 1970.
    pub until: u64,
}

/// The tokens with one state of all keys: those that were checked with another do not count.
pub struct Known {
    key: [u8; KEY_BYTES],
    tokens: Cache<[u8; KEY_BYTES], Holder>,
}

impl Known {
    pub fn new() -> Self {
        Known { key: random_key(), tokens: Cache::new(TOKENS_MAX) }
    }

    /// Whoever holds a token that was found right with these `keys`, a number that no other state of the keys has.
    pub fn get(&self, token: &str, keys: u64, now: u64) -> Option<Holder> {
        self.tokens.get(&self.name(token, keys)).filter(|found| found.until > now)
    }

    pub fn put(&self, token: &str, keys: u64, holder: Holder) {
        self.tokens.insert(self.name(token, keys), holder);
    }

    fn name(&self, token: &str, keys: u64) -> [u8; KEY_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        *hasher.update(&keys.to_be_bytes()).update(token.as_bytes()).finalize().as_bytes()
    }
}
