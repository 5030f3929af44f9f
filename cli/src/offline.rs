//! What the commands share that work on a store which nobody serves: a root that is there, an end by a signal,
//! progress for people, and a report on standard output.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Instant,
};

use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    exit::{Exit, Failure},
    progress::TERMINAL_PERIOD,
    signals::Signals,
};

/// Opening a store makes the directory; a mistyped path must not succeed like that.
/// Errors: there is no directory that can be read.
pub fn require_root(root: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(root) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(Exit::Root, format!("cannot read the root {}: {error}", root.display()))),
    }
}

/// A report for people or, with `json`, for programs.
pub fn shown<T: fmt::Display + Serialize>(report: &T, json: bool) -> String {
    match json {
        true => serde_json::to_string_pretty(report).expect("plans and reports have string keys only"),
        false => report.to_string(),
    }
}

/// Writes to standard output. A reader that went away (`| head`) has seen what it wanted, and does not change what
/// was done or found: the exit code is the answer.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Becomes true when a signal asks for an end. Nobody listens any more once it is dropped.
pub struct Stop {
    asked: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl Stop {
    /// Begins to listen. Must be called inside a tokio runtime.
    pub fn listen() -> Self {
        let (asked, _) = watch::channel(false);
        let ask = asked.clone();
        let listening = tokio::spawn(async move {
            // Without it a signal ends the process, which is as safe as any crash.
            if let Ok(signals) = Signals::listen() {
                signals.stop().await;
                ask.send_replace(true);
            }
        });
        Stop { asked, listening }
    }

    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// For whoever may ask for an end as well.
    pub fn sender(&self) -> watch::Sender<bool> {
        self.asked.clone()
    }

    /// For whoever asks on its own.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.asked.subscribe()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// One line on a terminal that says how far a command is; nothing elsewhere.
pub struct Line {
    /// When it was last written; `None` where nobody looks.
    written: Option<Instant>,
}

impl Line {
    pub fn new() -> Self {
        Line { written: io::stderr().is_terminal().then(Instant::now) }
    }

    /// Writes the line over, if that was not done just now. Whoever does not read it misses nothing.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if let Some(written) = &mut self.written
            && written.elapsed() >= TERMINAL_PERIOD
        {
            *written = Instant::now();
            let _ = write!(io::stderr(), "\r\x1b[K{}", text());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.written.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}
