//! The users of an htpasswd file, as it is now.
//!
//! The file is looked at when somebody logs in, at most once a second, by its path: so that it may be written in
//! place, replaced, or be behind a link that is moved, as those of mounted secrets are. A file that cannot be read or
//! used leaves the users as they were, and the log says so.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::{Duration, Instant, SystemTime},
};

use orlop_api::{access::Unidentified, server::Holds};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    logins::{Logins, Waits},
    users::{UserError, Users},
};

/// How long a change of the file may go unnoticed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// While the file is younger than that, its times do not tell one state from the next: clocks of file systems tick
/// as slowly as every two seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// The largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Logins that may wait for their hash; whoever comes beyond is told to come again.
const WAITING_MAX: usize = 512;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: it has more than {FILE_BYTES_MAX} bytes; is it the right file?", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: {error}", path.display())]
    Users { path: PathBuf, error: UserError },
}

/// What tells one state of a file from another: device, inode, length, and the times of content and inode.
type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

/// The users of one state of the file, and who of them has logged in since.
struct State {
    users: Users,
    logins: Logins,
}

/// What was last seen of the file.
struct Seen {
    mark: Mark,
    text: String,
    is_settled: bool,
}

pub struct Htpasswd {
    path: PathBuf,
    state: RwLock<Arc<State>>,
    /// Moves on after each change of `state`.
    version: AtomicU64,
    seen: Mutex<Seen>,
    opened: Instant,
    /// When the file was last looked at, in milliseconds since `opened`.
    looked_at_ms: AtomicU64,
    /// One for each hash that may be computed at the same time.
    hashing: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Htpasswd {
    /// Reads the file. Errors: it is not there, or not usable.
    pub fn open(path: &Path) -> Result<Arc<Self>, HtpasswdError> {
        let (seen, users) = read(path)?;
        // Half of the processors: logins must not stop those who are in.
        let hashes_at_once = available_parallelism().map_or(1, |processors| processors.get().div_ceil(2));
        Ok(Arc::new(Htpasswd {
            path: path.to_owned(),
            state: RwLock::new(Arc::new(State { users, logins: Logins::new() })),
            version: AtomicU64::new(0),
            seen: Mutex::new(seen),
            opened: Instant::now(),
            looked_at_ms: AtomicU64::new(0),
            hashing: Arc::new(Semaphore::new(hashes_at_once)),
            waiting: AtomicUsize::new(0),
        }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the password of this user. Errors: `Busy`.
    pub async fn is_right(self: &Arc<Self>, user: &str, password: &str) -> Result<bool, Unidentified> {
        let state = self.current().await;
        let check = self.check(state.clone(), user, password);
        state.logins.is_right(user, password, check).await
    }

    /// Whether this login was right already, with the users as they are.
    pub async fn has_seen(self: &Arc<Self>, user: &str, password: &str) -> bool {
        self.current().await.logins.said(user, password).is_some()
    }

    /// Vouches for a login that was right already, for as long as the users stay as they are; `None` if it was not.
    pub fn vouch(self: &Arc<Self>, user: &str, password: &str) -> Option<Vouched> {
        // Before the users, so that a change in between is one to it.
        let version = self.version.load(Ordering::Acquire);
        self.users().logins.said(user, password)?;
        Some(Vouched { htpasswd: self.clone(), version })
    }

    /// Sees to it that the users are those of the file, if that was not looked at for a while.
    pub async fn refresh(self: &Arc<Self>) {
        self.current().await;
    }

    /// The hash of a user's password, if there is such a user, as far as the file was looked at.
    pub fn hash_of(&self, user: &str) -> Option<String> {
        self.users().users.hash_of(user).map(str::to_owned)
    }

    /// Hashes on a thread that may be busy for long.
    async fn check(&self, state: Arc<State>, user: &str, password: &str) -> Result<bool, Unidentified> {
        let _waits = Waits::begin(&self.waiting, WAITING_MAX)?;
        let permit = self.hashing.clone().acquire_owned().await.map_err(|_| Unidentified::Busy)?;
        let (user, password) = (user.to_owned(), password.to_owned());
        let hashed = spawn_blocking(move || {
            // Until it is done, whoever waits for it: what a client can begin and leave is bounded by it.
            let _permit = permit;
            state.users.is_password(&user, &password)
        });
        Ok(hashed.await.unwrap_or(false))
    }

    async fn current(self: &Arc<Self>) -> Arc<State> {
        let claim = |(at, now)| self.looked_at_ms.compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed);
        if self.due().is_some_and(|times| claim(times).is_ok()) {
            let this = self.clone();
            // If the thread cannot run the process is ending.
            let _ = spawn_blocking(move || this.look()).await;
        }
        self.users()
    }

    /// The users as far as the file was looked at.
    fn users(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the file was last looked at, and the time now, if it has to be looked at again.
    fn due(&self) -> Option<(u64, u64)> {
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_at_ms = self.looked_at_ms.load(Ordering::Relaxed);
        let is_due = u128::from(now_ms - looked_at_ms.min(now_ms)) >= LOOK_INTERVAL.as_millis();
        is_due.then_some((looked_at_ms, now_ms))
    }

    /// Takes a changed file over.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.display();
        let is_same = |found: &fs::Metadata| seen.is_settled && mark(found) == seen.mark;
        match fs::metadata(&self.path) {
            Ok(found) if is_same(&found) => return,
            _ => {}
        }
        match read(&self.path) {
            Ok((found, users)) => {
                let has_changed = found.text != seen.text;
                *seen = found;
                if has_changed {
                    tracing::info!(%path, users = users.len(), "the users have changed");
                    let state = Arc::new(State { users, logins: Logins::new() });
                    *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
                    self.version.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => tracing::error!(%error, "the users stay as they were"),
        }
    }
}

/// A login that was right with the users of one moment.
pub struct Vouched {
    htpasswd: Arc<Htpasswd>,
    version: u64,
}

impl Vouched {
    /// Whether it is right now, as far as the file was looked at within the time in which that has to be done.
    pub fn holds(&self) -> Holds {
        match (self.htpasswd.version.load(Ordering::Acquire) == self.version, self.htpasswd.due()) {
            (false, _) => Holds::Over,
            (true, Some(_)) => Holds::Unknown,
            (true, None) => Holds::Yes,
        }
    }
}

fn read(path: &Path) -> Result<(Seen, Users), HtpasswdError> {
    let unreadable = |source| HtpasswdError::Unreadable { path: path.to_owned(), source };
    // Before it is read: what changes later shows as a change.
    let found = fs::metadata(path).map_err(unreadable)?;
    if found.len() > FILE_BYTES_MAX {
        return Err(HtpasswdError::TooLarge { path: path.to_owned() });
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let users = Users::parse(&text).map_err(|error| HtpasswdError::Users { path: path.to_owned(), error })?;
    let age = found.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    let is_settled = age.is_some_and(|age| age > SETTLED_AFTER);
    Ok((Seen { mark: mark(&found), text, is_settled }, users))
}

fn mark(found: &fs::Metadata) -> Mark {
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    (found.dev(), found.ino(), found.len(), modified, changed)
}
