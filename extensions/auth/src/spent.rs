//! What was good once and is no more: sessions that were ended, and logins that were completed.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Bytes of what tells one from another: nobody guesses one of 128 random bits.
pub const ID_BYTES: usize = 16;

/// What tells one from another.
pub type Id = [u8; ID_BYTES];

/// The most that is kept, at some 100 bytes each. When more would have to be kept, everything that has begun until
/// then is over: too much of it is refused rather than too little.
const SPENT_MAX: usize = 1 << 16;

/// Remembers what is spent for as long as it would have been good.
#[derive(Default)]
pub struct Spent(Mutex<State>);

#[derive(Default)]
struct State {
    ids: HashSet<Id>,
    /// With the times at which they would have been over, in the order in which they came.
    order: VecDeque<(u64, Id)>,
    /// Everything that began until this time is over.
    floor: Option<u64>,
}

/// When something begins and ends by itself, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub begins: u64,
    pub ends: u64,
}

impl Spent {
    pub fn new() -> Self {
        Spent::default()
    }

    pub fn is_spent(&self, id: &Id, span: Span) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_spent(id, span)
    }

    /// Whether it was good until now. It is not any more.
    pub fn spend(&self, id: Id, span: Span, now: u64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_spent(&id, span) {
            return false;
        }
        while let Some((_, id)) = state.order.pop_front_if(|(ends, _)| *ends < now) {
            state.ids.remove(&id);
        }
        if state.ids.len() >= SPENT_MAX {
            *state = State { floor: Some(now), ..State::default() };
            tracing::warn!(
                max = SPENT_MAX,
                "too many sessions and logins have ended within their time; all that have begun are over"
            );
        }
        state.ids.insert(id);
        state.order.push_back((span.ends, id));
        true
    }
}

impl State {
    fn is_spent(&self, id: &Id, span: Span) -> bool {
        self.floor.is_some_and(|floor| span.begins <= floor) || self.ids.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { begins: 10, ends: 20 };

    fn id(number: usize) -> Id {
        (number as u128).to_be_bytes()
    }

    #[test]
    fn what_is_spent_once_stays_so() {
        let spent = Spent::new();
        assert!(!spent.is_spent(&id(1), SPAN));
        assert!(spent.spend(id(1), SPAN, 15));
        assert!(spent.is_spent(&id(1), SPAN) && !spent.is_spent(&id(2), SPAN));
        assert!(!spent.spend(id(1), SPAN, 16));
    }

    #[test]
    fn what_would_be_over_is_forgotten() {
        let spent = Spent::new();
        for number in 0..10 * SPENT_MAX {
            let now = number as u64;
            assert!(spent.spend(id(number), Span { begins: now, ends: now + 10 }, now));
        }
        assert!(spent.0.lock().expect("whole").ids.len() <= 12);
    }

    #[test]
    fn too_many_end_all_that_have_begun() {
        let spent = Spent::new();
        for number in 0..=SPENT_MAX {
            assert!(spent.spend(id(number), SPAN, 15));
        }
        assert_eq!(spent.0.lock().expect("whole").ids.len(), 1);
        assert!(spent.is_spent(&id(0), SPAN) && spent.is_spent(&id(SPENT_MAX + 7), SPAN));
        assert!(!spent.is_spent(&id(SPENT_MAX + 7), Span { begins: 16, ends: 26 }), "what begins later is good");
    }
}
