//! Lines that wait to be written.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::writer::Output;

/// Lines that wait at most, of some 300 bytes each.
pub const LINES_MAX: usize = 16_384;

/// Lines since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub written: u64,
    /// Dropped because the queue was full or the file could not be written.
    pub lost: u64,
}

/// What the writer does next.
pub enum Work {
    Lines(VecDeque<String>),
    /// What comes from now on is for this one; `None`: for nobody.
    Output(Option<Output>),
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
    /// Another output, after so many of these lines.
    next: Option<(usize, Option<Output>)>,
    /// The file of lines that come now.
    path: Option<PathBuf>,
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

    /// Lines from now on are for another output, or for none.
    pub fn exchange(&self, output: Option<Output>) {
        let mut state = self.state();
        state.path = output.as_ref().map(|output| output.path().to_owned());
        state.next = Some((state.lines.len(), output));
        self.filled.notify_one();
    }

    pub fn path(&self) -> Option<PathBuf> {
        self.state().path.clone()
    }

    /// Waits for something to do, and takes all the lines there are for the same output.
    pub fn take(&self) -> Work {
        let mut state = self.state();
        while state.lines.is_empty() && state.next.is_none() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let before = match state.next.take() {
            Some((0, output)) => return Work::Output(output),
            Some((before, output)) => {
                state.next = Some((0, output));
                before
            }
            None => state.lines.len(),
        };
        state.is_writing = true;
        let later = state.lines.split_off(before);
        Work::Lines(std::mem::replace(&mut state.lines, later))
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

    /// Waits for lines that were lost and not told of yet. Gives how many, and the file of those that come now.
    pub fn lost(&self) -> (u64, Option<PathBuf>) {
        let mut state = self.state();
        while state.counts.lost == state.told {
            state = self.alarm.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lost = state.counts.lost - state.told;
        state.told = state.counts.lost;
        (lost, state.path.clone())
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

    fn taken(queue: &Queue) -> VecDeque<String> {
        match queue.take() {
            Work::Lines(lines) => lines,
            Work::Output(_) => panic!("another output"),
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let queue = Queue::default();
        for number in 0..LINES_MAX + 7 {
            queue.push(number.to_string());
        }
        assert_eq!(queue.counts(), Counts { written: 0, lost: 7 });
        assert_eq!(queue.lost(), (7, None));
        let lines = taken(&queue);
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_MAX, "0"), "the oldest stay");
        queue.push("more".to_owned());
        queue.done(Counts { written: 10, lost: 3 });
        assert_eq!((queue.counts(), queue.lost().0), (Counts { written: 10, lost: 10 }, 3));
        assert_eq!(taken(&queue), ["more"]);
        queue.done(Counts { written: 1, lost: 0 });
        queue.flush(Duration::MAX);
    }

    #[test]
    fn lines_stay_with_the_output_of_their_time() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("audit.log");
        let queue = Queue::default();
        queue.push("1".to_owned());
        queue.push("2".to_owned());
        queue.exchange(Some(Output::open(&path).expect("opens")));
        queue.push("3".to_owned());
        assert_eq!(queue.path(), Some(path.clone()));
        assert_eq!(taken(&queue), ["1", "2"]);
        let Work::Output(Some(output)) = queue.take() else { panic!("lines") };
        assert_eq!(output.path(), path);
        queue.exchange(None);
        assert_eq!(taken(&queue), ["3"], "before it was closed");
        assert!(matches!(queue.take(), Work::Output(None)) && queue.path().is_none());
    }
}
