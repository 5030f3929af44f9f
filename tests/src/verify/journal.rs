//! What was asked and what was acknowledged, written down outside the registry's reach.
//!
//! In: events, each before it is relied on. Out: a file with one JSON object a line, from which
//! [`Facts`](super::Facts) can be made again after the client's own machine has gone down.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Mutex,
};

use serde::{Deserialize, Serialize};

use super::Content;

/// A change of the registry that a request asks for, whole or not at all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Change {
    /// Pushed or mounted.
    Blob {
        repository: String,
        content: Content,
    },
    /// `text` is the manifest, byte for byte.
    Manifest {
        repository: String,
        media_type: String,
        text: String,
        tags: Vec<String>,
        subject: Option<String>,
    },
    DeleteBlob {
        repository: String,
        digest: String,
    },
    /// Takes its tags with it.
    DeleteManifest {
        repository: String,
        digest: String,
    },
    DeleteTag {
        repository: String,
        tag: String,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// Before the request is sent.
    Asked(Change),
    /// The answer said that it is so.
    Done,
    /// The answer said that it is not so.
    Refused,
    /// There was no such answer; a look showed that it is so (true) or not.
    Settled(bool),
    /// The disk failed, and a look showed that it is not so. A log may say otherwise at the next start.
    Doubted,
    /// A look after that start: which of the changes in doubt was made, counted from 0, if any.
    Decided(Option<usize>),
    /// Before bytes are sent to an upload: up to so many of this content may be there.
    Sending { session: String, repository: String, content: Content, end: u64 },
    /// The upload ended, or may have.
    Ended { session: String },
}

/// One line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    pub worker: u64,
    pub operation: u64,
    /// Where the rig's clock stood.
    #[serde(default)]
    pub at: u64,
    pub event: Event,
}

/// An open journal, shared by all workers.
pub struct Journal(Mutex<File>);

impl Journal {
    /// Opens a journal to append to; made if it does not exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).open(path).map(|file| Journal(Mutex::new(file)))
    }

    /// Hands a line to the operating system in one piece: it survives this process.
    ///
    /// # Panics
    /// If it cannot be written: nothing may be asked that is not in the journal.
    pub fn append(&self, line: &Line) {
        let mut text = serde_json::to_vec(line).expect("names and numbers can be written as JSON");
        text.push(b'\n');
        let mut file = self.0.lock().expect("no writer panics");
        file.write_all(&text).expect("the journal can be written");
    }

    /// Makes all lines survive this machine. Call before relying on them.
    ///
    /// # Panics
    /// If they cannot be synced.
    pub fn sync(&self) {
        self.0.lock().expect("no writer panics").sync_data().expect("the journal can be synced");
    }

    /// All whole lines of a journal. A torn last one was never relied on.
    pub fn read(path: &Path) -> io::Result<Vec<Line>> {
        let text = std::fs::read_to_string(path)?;
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
    }
}
