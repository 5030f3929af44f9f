//! The file with the keys of an issuer, as it is now.
//!
//! It is read again when a token comes, at most once a second, by its path: so that it may be written in place,
//! replaced, or be behind a link that is moved, as those of mounted secrets are. A file that cannot be read leaves
//! the keys as they were, and the log says so.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

use super::keys::{Keys, KeysError};

/// How long a change may stay unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The longest file in bytes. The largest sets of keys have some ten thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: it has more than {FILE_BYTES_MAX} bytes; is it the right file?", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Keys { path: PathBuf, error: KeysError },
}

pub struct KeyFile {
    path: PathBuf,
    state: RwLock<State>,
    /// The text that was last seen, usable or not.
    seen: Mutex<Vec<u8>>,
    opened: Instant,
    /// When the file was last looked at, in milliseconds since `opened`.
    looked_at_ms: AtomicU64,
}

/// The keys, and how often they have changed.
#[derive(Clone)]
pub struct State {
    pub keys: Arc<Keys>,
    pub changes: u64,
}

impl KeyFile {
    /// Errors: it is not there, or has no usable key.
    pub fn open(path: &Path) -> Result<Arc<Self>, FileError> {
        let text = read(path)?;
        let keys = Arc::new(parse(path, &text)?);
        Ok(Arc::new(KeyFile {
            path: path.to_owned(),
            state: RwLock::new(State { keys, changes: 0 }),
            seen: Mutex::new(text),
            opened: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
        }))
    }

    /// The keys as they were when the file was last looked at, which may be now.
    pub async fn current(self: &Arc<Self>) -> State {
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_at_ms = self.looked_at_ms.load(Ordering::Relaxed);
        let is_due = u128::from(now_ms.saturating_sub(looked_at_ms)) >= LOOK_INTERVAL.as_millis();
        let claim = |at| self.looked_at_ms.compare_exchange(at, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && claim(looked_at_ms).is_ok() {
            let this = self.clone();
            // If the thread cannot run the process is ending.
            let _ = spawn_blocking(move || this.look()).await;
        }
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the keys have changed, as far as the file was looked at.
    pub fn changes(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Takes a changed file over.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&self.path).and_then(|text| match text == *seen {
            true => Ok(None),
            false => {
                let keys = parse(&self.path, &text);
                *seen = text;
                keys.map(Some)
            }
        });
        match found {
            Ok(None) => {}
            Ok(Some(keys)) => {
                tracing::info!(path = %self.path.display(), "the keys for tokens have changed");
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                *state = State { keys: Arc::new(keys), changes: state.changes + 1 };
            }
            Err(error) => tracing::error!(%error, "the keys for tokens stay as they were"),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut text = Vec::new();
    let file = fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    match file {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(FileError::TooLarge { path: path.to_owned() }),
        Ok(_) => Ok(text),
        Err(source) => Err(FileError::Unreadable { path: path.to_owned(), source }),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Keys, FileError> {
    Keys::parse(text).map_err(|error| FileError::Keys { path: path.to_owned(), error })
}
