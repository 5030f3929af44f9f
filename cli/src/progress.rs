//! How far a long command is, told to standard error: on a terminal a line that is written over,
//! elsewhere a line now and then.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// How often a terminal is told.
pub const TERMINAL_PERIOD: Duration = Duration::from_millis(200);

/// How often anything else is told, a file or a journal.
pub const LINE_PERIOD: Duration = Duration::from_secs(10);

/// Counters of a command under way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Manifests to be looked at, and those that were.
    pub expected: AtomicU64,
    pub done: AtomicU64,
    /// Blobs that were dealt with, and their bytes.
    pub blobs: AtomicU64,
    pub bytes: AtomicU64,
}

/// Tells until it is dropped.
pub struct Telling {
    task: JoinHandle<()>,
    on_terminal: bool,
}

impl Progress {
    pub fn blob(&self, bytes: u64) {
        self.blobs.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub fn manifest(&self) {
        self.done.fetch_add(1, Relaxed);
    }

    /// Begins to tell. Must be called inside a tokio runtime.
    pub fn tell(self: &Arc<Self>) -> Telling {
        let on_terminal = io::stderr().is_terminal();
        let progress = self.clone();
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let mut ticks = tokio::time::interval(if on_terminal { TERMINAL_PERIOD } else { LINE_PERIOD });
            ticks.tick().await;
            loop {
                ticks.tick().await;
                let state = progress.after(started.elapsed());
                // Whoever does not read it misses nothing.
                let _ = match on_terminal {
                    true => write!(io::stderr(), "\r\x1b[K{state}"),
                    false => writeln!(io::stderr(), "{state}"),
                };
            }
        });
        Telling { task, on_terminal }
    }

    fn after(&self, elapsed: Duration) -> State {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        State {
            expected: read(&self.expected),
            done: read(&self.done),
            blobs: read(&self.blobs),
            bytes: read(&self.bytes),
            elapsed,
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.task.abort();
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

struct State {
    expected: u64,
    done: u64,
    blobs: u64,
    bytes: u64,
    elapsed: Duration,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { expected, done, blobs, bytes, elapsed } = self;
        let seconds = elapsed.as_secs_f64().max(0.001);
        let (megabytes, rate) = (*bytes as f64 / 1e6, *bytes as f64 / 1e6 / seconds);
        write!(f, "{done} of {expected} manifests, {blobs} blobs, {megabytes:.0} MB, {rate:.0} MB/s")?;
        if *done > 0 && done < expected {
            let left = seconds * (expected - done) as f64 / *done as f64;
            write!(f, ", about {left:.0} s left")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_counts_a_rate_and_what_is_left() {
        let progress = Progress::default();
        progress.expected.store(10, Relaxed);
        assert_eq!(progress.after(Duration::from_secs(2)).to_string(), "0 of 10 manifests, 0 blobs, 0 MB, 0 MB/s");
        progress.blob(5_000_000);
        progress.manifest();
        let line = progress.after(Duration::from_secs(2)).to_string();
        assert_eq!(line, "1 of 10 manifests, 1 blobs, 5 MB, 2 MB/s, about 18 s left");
    }
}
