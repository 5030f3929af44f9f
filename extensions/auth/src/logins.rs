//! Logins that were right, so that a pull of many requests pays for one.
//!
//! What is kept of a login is a hash under a key that no other process has: it is worth nothing outside of this one.

use std::sync::atomic::{AtomicUsize, Ordering};

use orlop_api::access::{Subject, Unidentified};
use quick_cache::{Weighter, sync::Cache};

/// What all logins together may take, in bytes: half a million, or 4,000 users with a hundred groups each.
const LOGINS_BYTES_MAX: u64 = 64 << 20;

/// Expected logins, for the cache's tables.
const LOGINS_EXPECTED: usize = 16 << 10;

/// What a login takes beside what is known of it, in bytes.
const LOGIN_BYTES: u64 = 128;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A key of this process.
pub fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    fill_random(&mut key);
    key
}

/// Fills `bytes` with what nobody can guess.
pub fn fill_random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // Up to 256 bytes come whole once the system has its entropy (getrandom(2)); before that, and when a signal
        // comes in between, there is an error or less.
        if let Ok(count) = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            filled += count;
        }
    }
}

/// The logins with one state of whatever knows the users, and what it said of them: when that changes they are all
/// forgotten.
pub struct Logins<V = ()> {
    key: [u8; KEY_BYTES],
    known: Cache<[u8; KEY_BYTES], V, ByBytes>,
}

/// What is known of a login.
pub trait Known: Clone {
    /// Bytes in memory.
    fn bytes(&self) -> u64;
}

impl Known for () {
    fn bytes(&self) -> u64 {
        0
    }
}

/// Bytes in memory of somebody with his groups.
pub fn subject_bytes(subject: &Subject) -> u64 {
    let texts = subject.groups().iter().map(|group| size_of_val(group) + group.len()).sum::<usize>();
    (size_of_val(subject) + subject.name().map_or(0, str::len) + texts) as u64
}

#[derive(Clone)]
pub struct ByBytes;

impl<V: Known> Weighter<[u8; KEY_BYTES], V> for ByBytes {
    fn weight(&self, _: &[u8; KEY_BYTES], known: &V) -> u64 {
        LOGIN_BYTES + known.bytes()
    }
}

impl<V: Known> Logins<V> {
    pub fn new() -> Self {
        Logins { key: random_key(), known: Cache::with_weighter(LOGINS_EXPECTED, LOGINS_BYTES_MAX, ByBytes) }
    }

    /// What was said of this login before, while it `holds`, or is said of it now by `check`; `None` if the login is
    /// wrong. Of many equal ones at the same time one is checked and the others wait for it.
    ///
    /// Errors: those of `check`.
    pub async fn known<E>(
        &self,
        user: &str,
        password: &str,
        holds: impl Fn(&V) -> bool,
        check: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E> {
        let login = self.hash(user, password);
        self.known.remove_if(login.as_bytes(), |said| !holds(said));
        match self.known.get_value_or_guard_async(login.as_bytes()).await {
            Ok(said) => Ok(Some(said)),
            Err(place) => {
                let said = check.await?;
                if let Some(said) = &said {
                    // It fails only if somebody else put the same there meanwhile.
                    let _ = place.insert(said.clone());
                }
                Ok(said)
            }
        }
    }

    /// What was said of this login before. Says nothing of one that is not known.
    pub fn said(&self, user: &str, password: &str) -> Option<V> {
        self.known.get(self.hash(user, password).as_bytes())
    }

    /// No name has a NUL, so that no two logins are written alike.
    fn hash(&self, user: &str, password: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, [user, "\0", password].concat().as_bytes())
    }
}

impl Logins {
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
        let check = async { Ok(check.await?.then_some(())) };
        Ok(self.known(user, password, |()| true, check).await?.is_some())
    }
}

/// A place among those that wait for their login to be checked.
pub struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    /// Errors: `Busy` if `waiting_max` wait already.
    pub fn begin(waiting: &'a AtomicUsize, waiting_max: usize) -> Result<Self, Unidentified> {
        let waits = Waits(waiting);
        match waiting.fetch_add(1, Ordering::Relaxed) < waiting_max {
            true => Ok(waits),
            false => Err(Unidentified::Busy),
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    impl Known for u8 {
        fn bytes(&self) -> u64 {
            1
        }
    }

    #[tokio::test]
    async fn what_was_right_is_checked_once_and_what_was_wrong_each_time() {
        let logins = Logins::<()>::new();
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
        assert!(
            logins.said("a", "b").is_some() && logins.said("a", "B").is_none() && logins.said("a\0b", "").is_none()
        );
        for (user, password) in [("a", "B"), ("ab", ""), ("", "ab")] {
            assert_eq!(ask(user, password, Ok(false)).await, Ok(false));
        }
        assert_eq!(checks.get(), 6);
        assert_ne!(random_key(), random_key());
    }

    #[tokio::test]
    async fn what_does_not_hold_any_more_is_checked_again() {
        let logins = Logins::<u8>::new();
        let ask = async |holds: bool, said| logins.known("a", "b", |_| holds, async { Ok::<_, ()>(said) }).await;
        assert_eq!(ask(true, Some(1)).await, Ok(Some(1)));
        assert_eq!(ask(true, Some(2)).await, Ok(Some(1)), "it is known");
        assert_eq!(ask(false, Some(3)).await, Ok(Some(3)));
        assert_eq!(ask(false, None).await, Ok(None));
        assert_eq!(ask(true, Some(4)).await, Ok(Some(4)), "nothing is known of a wrong one");
    }
}
