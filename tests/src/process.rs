//! A child process whose output is read to the end, so that it never blocks on a full pipe.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{JoinHandle, spawn},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a child may take to say or do what a test waits for. The slowest, a client that unpacks
/// an image on a busy machine, takes half a minute; a hang takes forever.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// How often somebody who waits for a line looks whether it is in vain.
const LOOK_PERIOD: Duration = Duration::from_millis(5);

/// A running child; killed when dropped.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    /// What it wrote so far to standard output and to standard error.
    written: [Arc<Mutex<String>>; 2],
    readers: Vec<JoinHandle<()>>,
}

/// How a child ended and what it wrote.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command` with both outputs captured.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}; run scripts/setup test"));
        let (sender, lines) = channel();
        let written = <[Arc<Mutex<String>>; 2]>::default();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout is piped")),
            Box::new(child.stderr.take().expect("stderr is piped")),
        ];
        let readers = streams.into_iter().zip(&written).map(|(stream, written)| {
            let (sender, written) = (sender.clone(), Arc::clone(written));
            spawn(move || {
                let mut stream = BufReader::new(stream);
                let mut line = Vec::new();
                while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    written.lock().expect("no reader panics").push_str(&text);
                    // The receiver is gone once the test has its answer.
                    let _ = sender.send(text);
                    line.clear();
                }
            })
        });
        Self { readers: readers.collect(), child, lines, written }
    }

    /// The first line for which `find` has an answer, or what was written up to the end of the
    /// output or of [`PATIENCE`].
    pub fn wait_for_line<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        Err(self.output())
    }

    /// Like [`Process::wait_for_line`]; `None` if `is_in_vain` before there is such a line.
    pub fn wait_for_line_unless<T>(
        &self,
        find: impl Fn(&str) -> Option<T>,
        is_in_vain: impl Fn() -> bool,
    ) -> Result<Option<T>, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.lines.recv_timeout(LOOK_PERIOD) {
                Ok(line) => {
                    if let Some(found) = find(&line) {
                        return Ok(Some(found));
                    }
                }
                Err(RecvTimeoutError::Timeout) if is_in_vain() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(self.output())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything written so far, standard output first.
    pub fn output(&self) -> String {
        self.written.iter().map(|written| written.lock().expect("no reader panics").clone()).collect()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {pid:?}: {error}"));
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If it has not ended within [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Both outputs end with the process, so waiting for the readers is waiting for it.
        while self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        assert!(Instant::now() < deadline, "still running after {PATIENCE:?}; it wrote:\n{}", self.output());
        for reader in self.readers.drain(..) {
            reader.join().expect("no reader panics");
        }
        self.child.wait().expect("the child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// If it cannot be started or does not end within [`PATIENCE`].
pub fn run(command: &mut Command) -> Ended {
    let mut process = Process::spawn(command);
    let status = process.wait();
    let [stdout, stderr] = process.written.clone().map(|written| written.lock().expect("no reader panics").clone());
    Ended { status, stdout, stderr }
}

/// Runs `command` to its end.
///
/// # Panics
/// If it cannot be started, fails, or does not end within [`PATIENCE`].
pub fn run_well(command: &mut Command) -> Ended {
    let ended = run(command);
    assert!(
        ended.status.success(),
        "{command:?} failed with {}\nstdout: {}\nstderr: {}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    ended
}
