//! Logins that were right, so that a pull of many requests pays for one.
//!
//! What is kept of a login is a hash under a key that no other process has: it is worth nothing outside of this one.

use quick_cache::sync::Cache;

/// The most logins that are kept, at some 100 bytes each.
const LOGINS_MAX: usize = 16 << 10;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A key of this process.
pub fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let mut filled = 0;
    while filled < key.len() {
        // Up to 256 bytes come whole once the system has its entropy (getrandom(2)); before that, and when a signal
        // comes in between, there is an error or less.
        if let Ok(bytes) = rustix::rand::getrandom(&mut key[filled..], rustix::rand::GetRandomFlags::empty()) {
            filled += bytes;
        }
    }
    key
}

/// The logins with one state of a file: when that changes they are all forgotten.
pub struct Logins {
    key: [u8; KEY_BYTES],
    known: Cache<[u8; KEY_BYTES], ()>,
}

impl Logins {
    pub fn new() -> Self {
        Logins { key: random_key(), known: Cache::new(LOGINS_MAX) }
    }

    /// Whether this login was right before. Says nothing of one that was not.
    pub fn has(&self, user: &str, password: &str) -> bool {
        self.known.get(self.hash(user, password).as_bytes()).is_some()
    }

    /// No name has a NUL, so that no two logins are written alike.
    fn hash(&self, user: &str, password: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, [user, "\0", password].concat().as_bytes())
    }

    /// Whether this login was right before, or is now, as `check` says. Of many equal ones at the same time one is
    /// checked and the others wait for it.
    ///
    /// Errors: those of `check`.
    pub async fn is_right<E>(
        &self,
        user: &str,
        password: &str,
        check: impl Future<Output = Result<bool, E>>,
    ) -> Result<bool, E> {
        let login = self.hash(user, password);
        match self.known.get_value_or_guard_async(login.as_bytes()).await {
            Ok(()) => Ok(true),
            Err(place) => {
                let is_right = check.await?;
                if is_right {
                    // It fails only if somebody else put the same there meanwhile.
                    let _ = place.insert(());
                }
                Ok(is_right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_was_right_is_checked_once_and_what_was_wrong_each_time() {
        let logins = Logins::new();
        let checks = Cell::new(0);
        let ask = async |user, password, outcome: Result<bool, ()>| {
            let check = async {
                checks.set(checks.get() + 1);
                outcome
            };
            logins.is_right(user, password, check).await
        };
        assert_eq!(ask("a", "b", Ok(false)).await, Ok(false));
        assert_eq!(ask("a", "b", Err(())).await, Err(()));
        assert_eq!(ask("a", "b", Ok(true)).await, Ok(true));
        assert_eq!(checks.get(), 3);
        assert_eq!(ask("a", "b", Ok(false)).await, Ok(true), "it is known");
        assert_eq!(checks.get(), 3);
        assert!(logins.has("a", "b") && !logins.has("a", "B") && !logins.has("a\0b", ""));
        for (user, password) in [("a", "B"), ("ab", ""), ("", "ab")] {
            assert_eq!(ask(user, password, Ok(false)).await, Ok(false));
        }
        assert_eq!(checks.get(), 6);
        assert_ne!(random_key(), random_key());
    }
}
