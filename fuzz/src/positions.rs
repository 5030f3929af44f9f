//! Sets of places in a short text, for slow matchers: where a part of a pattern may end, from where it
//! may begin. No part is ever tried twice from one place, so nothing here grows with the ways to match.

/// The longest text whose places fit, in characters.
pub const LEN_MAX: usize = 63;

/// Places before, between and behind the characters of a text of at most [`LEN_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positions(u64);

impl Positions {
    pub const NONE: Positions = Positions(0);

    pub fn one(at: usize) -> Self {
        assert!(at <= LEN_MAX, "texts are cut to {LEN_MAX} characters");
        Positions(1 << at)
    }

    pub fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn with(self, other: Self) -> Self {
        Positions(self.0 | other.0)
    }

    /// All places that `step` leads to from one of these.
    pub fn then(self, step: impl Fn(usize) -> Positions) -> Self {
        (0..=LEN_MAX).filter(|at| self.has(*at)).fold(Positions::NONE, |reached, at| reached.with(step(at)))
    }
}
