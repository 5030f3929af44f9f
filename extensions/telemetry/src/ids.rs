//! Names of traces and spans that nobody has given out before.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// A counter under a keyed hash (SipHash, the key is the system's randomness): as random as sampling by bits of them
/// needs, without asking the system for each.
#[derive(Debug, Default)]
pub struct Ids {
    key: RandomState,
    next: AtomicU64,
}

impl Ids {
    /// 64 random bits, not 0, which stands for none in both kinds of names.
    pub fn next(&self) -> u64 {
        self.key.hash_one(self.next.fetch_add(1, Ordering::Relaxed)).max(1)
    }

    /// 128 random bits, not 0.
    pub fn trace(&self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_their_bits_are_even() {
        const NAMES: usize = 20_000;
        let (ids, others) = (Ids::default(), Ids::default());
        let mut seen = HashSet::new();
        let mut ones = [0_usize; 64];
        for _ in 0..NAMES {
            let name = ids.next();
            ones.iter_mut().enumerate().for_each(|(bit, ones)| *ones += (name >> bit & 1) as usize);
            assert!(seen.insert(name) && seen.insert(others.next()));
        }
        // Ten standard deviations around a half.
        let spread = 5 * (NAMES as f64).sqrt() as usize;
        assert!(ones.iter().all(|ones| ones.abs_diff(NAMES / 2) < spread), "{ones:?}");
    }
}
