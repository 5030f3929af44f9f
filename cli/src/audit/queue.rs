//! Lines that wait to be written.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Lines that wait at most, of some 300 bytes each.
pub const LINES_MAX: usize = 16_384;

/// Lines since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub written: u64,
    /// Dropped because the queue was full or the file could not be written.
    pub lost: u64,
}

/// Between those who have something to say and the thread that writes it down.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written.
    settled: Condvar,
    /// Lines were lost.
    alarm: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<String>,
    /// The writer has taken lines and has not said what became of them.
    is_writing: bool,
    counts: Counts,
    /// Lost lines that were told of.
    told: u64,
}

impl Queue {
    /// Puts a line in, or drops it if there is no room. Never waits for a disk.
    pub fn push(&self, line: String) {
        let mut state = self.state();
        if state.lines.len() < LINES_MAX {
            state.lines.push_back(line);
            self.filled.notify_one();
        } else {
            state.counts.lost += 1;
            self.alarm.notify_one();
        }
    }

    /// Waits for lines and takes all there are.
    pub fn take(&self) -> VecDeque<String> {
        let mut state = self.state();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        std::mem::take(&mut state.lines)
    }

    /// What became of lines that were taken.
    pub fn done(&self, outcome: Counts) {
        let mut state = self.state();
        state.is_writing = false;
        state.counts.written += outcome.written;
        state.counts.lost += outcome.lost;
        if outcome.lost > 0 {
            self.alarm.notify_one();
        }
        self.settled.notify_all();
    }

    /// Waits for lines that were lost and not told of yet. Gives how many.
    pub fn lost(&self) -> u64 {
        let mut state = self.state();
        while state.counts.lost == state.told {
            state = self.alarm.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lost = state.counts.lost - state.told;
        state.told = state.counts.lost;
        lost
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Waits until nothing waits, at most for `time`.
    pub fn flush(&self, time: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        drop(self.settled.wait_timeout_while(self.state(), time, is_busy));
    }

    // Nothing that runs under the lock panics, so a poisoned lock still guards a whole state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Queue::default();
        for number in 0..LINES_MAX + 7 {
            queue.push(number.to_string());
        }
        assert_eq!(queue.counts(), Counts { written: 0, lost: 7 });
        assert_eq!(queue.lost(), 7);
        let taken = queue.take();
        assert_eq!((taken.len(), taken[0].as_str()), (LINES_MAX, "0"), "the oldest stay");
        queue.push("more".to_owned());
        queue.done(Counts { written: 10, lost: 3 });
        assert_eq!((queue.counts(), queue.lost()), (Counts { written: 10, lost: 10 }, 3));
        assert_eq!(queue.take(), ["more"]);
        queue.done(Counts { written: 1, lost: 0 });
        queue.flush(Duration::MAX);
    }
}
