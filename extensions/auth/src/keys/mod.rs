//! Keys that users make for their programs: a password of its own that can do less, ends by itself, and can be taken
//! back.
//!
//! ```text
//!   endpoint   what an owner asks for, and zot's documents for it
//!     v table  all keys, by what is shown and by owner     key    one of them     scope   what it was made for
//!     v file   where they are kept, below the root of the store
//! ```
//!
//! Looking a key up reads memory only. A key that was made or taken back is so on disk before the answer says it, and
//! in memory with it. When a key was last used is kept in memory and written along with the next change, otherwise
//! once an hour, and at the end.

pub mod endpoint;
mod file;
mod key;
mod scope;
mod table;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Mutex, task::spawn_blocking};

use self::table::Table;
pub use self::{
    file::KeysError,
    key::{Key, Mark, Voucher},
};

/// The file below the root of the store.
const FILE: &str = "accounts/api-keys";

/// The most keys of one user.
pub const KEYS_OF_USER_MAX: usize = 100;

/// The most keys of all users: the file is written whole with each change.
pub const KEYS_MAX: usize = 10_000;

/// How long, in seconds, it may take until a use is written down.
const USE_INTERVAL_SECONDS: i64 = 3600;

/// Why a key is not made or taken back.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("you have {KEYS_OF_USER_MAX} keys already; delete one first")]
    TooManyOfUser,
    #[error("the registry has {KEYS_MAX} keys already; ask its administrator to have some deleted")]
    TooMany,
    #[error("the keys cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// All keys of a registry.
pub struct Keys {
    path: PathBuf,
    table: RwLock<Arc<Table>>,
    /// Held while a change is made and written.
    changing: Mutex<()>,
    /// When a use was last written down, in seconds since 1970.
    used_written: AtomicI64,
}

impl Keys {
    /// The keys of the store at `root`; none before [`Keys::load`].
    pub fn of_store(root: &Path) -> Arc<Self> {
        Arc::new(Keys {
            path: root.join(FILE),
            table: RwLock::default(),
            changing: Mutex::new(()),
            used_written: AtomicI64::new(now()),
        })
    }

    /// Reads the keys. To be called when nobody else has the store.
    pub fn load(&self) -> Result<(), KeysError> {
        let document = file::read(&self.path)?;
        let table = Table::read(document).map_err(|error| KeysError::Record { path: self.path.clone(), error })?;
        self.set(table);
        Ok(())
    }

    /// The key that `user` shows, if it is one of his and its time is not over.
    pub fn shown(self: &Arc<Self>, user: &str, mark: Mark) -> Option<Arc<Key>> {
        let key = self.table().get(mark).filter(|key| key.owner() == user)?;
        let now = now();
        if key.is_expired(now) {
            return None;
        }
        if key.used(now) {
            self.write_uses(now);
        }
        Some(key)
    }

    /// Whether a key that was shown is still one.
    pub fn holds(&self, key: &Key) -> bool {
        !key.is_expired(now()) && self.table().get(key.mark()).is_some()
    }

    /// The groups that were last seen with the owner of keys.
    pub fn groups(&self, owner: &str) -> Vec<Box<str>> {
        self.table().groups(owner).to_vec()
    }

    /// Takes note of the groups of somebody who has logged in where nobody can be asked about him later: his keys
    /// have them from now on, and lose others. Written down with the next change.
    pub async fn note_groups(&self, owner: &str, groups: &[Box<str>]) {
        let is_news = |table: &Table| table.has_owner(owner) && table.groups(owner) != groups;
        if is_news(&self.table()) {
            let _changing = self.changing.lock().await;
            let mut table = Table::clone(&self.table());
            table.set_groups(owner, groups);
            self.set(table);
        }
    }

    /// All keys of a user, the oldest first.
    fn of_user(&self, owner: &str) -> Vec<Arc<Key>> {
        self.table().of_owner(owner).to_vec()
    }

    /// Adds a key durably. Errors: there are too many, or it cannot be written; then it is not there.
    async fn add(&self, key: Key, groups: &[Box<str>]) -> Result<(), ChangeError> {
        let _changing = self.changing.lock().await;
        let mut table = Table::clone(&self.table());
        if table.of_owner(key.owner()).len() >= KEYS_OF_USER_MAX {
            return Err(ChangeError::TooManyOfUser);
        }
        if table.len() >= KEYS_MAX {
            return Err(ChangeError::TooMany);
        }
        let owner = key.owner().to_owned();
        table.insert(Arc::new(key));
        table.set_groups(&owner, groups);
        Ok(self.write(table).await?)
    }

    /// Removes a key of a user durably, if he has it. Errors: it cannot be written; then the key still holds.
    async fn remove(&self, owner: &str, uuid: &str) -> Result<(), ChangeError> {
        let _changing = self.changing.lock().await;
        let mut table = Table::clone(&self.table());
        match table.remove(owner, uuid) {
            true => Ok(self.write(table).await?),
            false => Ok(()),
        }
    }

    /// Writes down when keys were used. Errors: they are as they were written last.
    pub async fn close(&self) -> io::Result<()> {
        let _changing = self.changing.lock().await;
        let table = Table::clone(&self.table());
        if table.len() == 0 && !self.path.exists() {
            return Ok(());
        }
        self.write(table).await
    }

    /// Makes a change, which the caller has the lock for, durable and then visible.
    async fn write(&self, table: Table) -> io::Result<()> {
        let (path, document) = (self.path.clone(), table.document());
        spawn_blocking(move || file::write(&path, &document)).await.map_err(io::Error::other)??;
        self.used_written.store(now(), Ordering::Relaxed);
        self.set(table);
        Ok(())
    }

    /// Has uses written down if that was not done for long; does not wait for it.
    fn write_uses(self: &Arc<Self>, now: i64) {
        let written = self.used_written.load(Ordering::Relaxed);
        let claim = || self.used_written.compare_exchange(written, now, Ordering::Relaxed, Ordering::Relaxed);
        if now - written >= USE_INTERVAL_SECONDS && claim().is_ok() {
            let this = self.clone();
            tokio::spawn(async move {
                if let Err(error) = this.close().await {
                    tracing::error!(%error, "when keys were used is not written down");
                }
            });
        }
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{key::Record, *};

    fn key(owner: &str, expires: Option<i64>) -> (String, Key) {
        let text = key::generate();
        let mark = Mark::of(&text).expect("a key");
        let record = Record {
            mark: key::written(mark),
            uuid: key::identifier(),
            label: "label".to_owned(),
            scopes: vec!["read".to_owned()],
            voucher: Voucher::Elsewhere,
            created: now(),
            expires,
            last_used: None,
            creator: "test".to_owned(),
        };
        (text, Key::new(owner, record).expect("a record"))
    }

    fn is_shown(keys: &Arc<Keys>, owner: &str, text: &str) -> bool {
        keys.shown(owner, Mark::of(text).expect("a key")).is_some()
    }

    #[tokio::test]
    async fn keys_outlive_the_process_and_not_their_removal() {
        let root = tempfile::tempdir().expect("a directory");
        let keys = Keys::of_store(root.path());
        keys.load().expect("none yet");
        let (text, one) = key("alice", None);
        let uuid = one.uuid().to_owned();
        keys.add(one, &["team".into()]).await.expect("written");
        assert!(is_shown(&keys, "alice", &text) && !is_shown(&keys, "bob", &text));
        keys.close().await.expect("written");
        let written = std::fs::read_to_string(root.path().join(FILE)).expect("there");
        assert!(!written.contains(&text[4..]), "what is kept is no key");

        let again = Keys::of_store(root.path());
        assert!(!is_shown(&again, "alice", &text), "not before they are read");
        again.load().expect("readable");
        assert_eq!(again.of_user("alice")[0].record().last_used, keys.of_user("alice")[0].record().last_used);
        assert!(is_shown(&again, "alice", &text));
        assert_eq!(again.groups("alice"), ["team".into()]);
        again.remove("bob", &uuid).await.expect("nothing to do");
        assert!(is_shown(&again, "alice", &text), "it is not his");
        again.remove("alice", &uuid).await.expect("written");
        assert!(!is_shown(&again, "alice", &text) && again.groups("alice").is_empty());
        keys.load().expect("readable");
        assert!(!is_shown(&keys, "alice", &text));
    }

    #[tokio::test]
    async fn a_key_ends_by_itself() {
        let root = tempfile::tempdir().expect("a directory");
        let keys = Keys::of_store(root.path());
        let ((old, expired), (new, holding)) = (key("alice", Some(now())), key("alice", Some(now() + 3600)));
        keys.add(expired, &[]).await.expect("written");
        keys.add(holding, &[]).await.expect("written");
        assert!(!is_shown(&keys, "alice", &old) && is_shown(&keys, "alice", &new));
        assert_eq!(keys.of_user("alice").iter().filter(|key| keys.holds(key)).count(), 1);
    }

    #[tokio::test]
    async fn groups_are_those_last_seen() {
        let root = tempfile::tempdir().expect("a directory");
        let keys = Keys::of_store(root.path());
        keys.add(key("alice", None).1, &["one".into(), "two".into()]).await.expect("written");
        keys.note_groups("alice", &["two".into()]).await;
        keys.note_groups("bob", &["two".into()]).await;
        assert_eq!((keys.groups("alice"), keys.groups("bob")), (vec!["two".into()], Vec::new()));
        keys.close().await.expect("written");
        let again = Keys::of_store(root.path());
        again.load().expect("readable");
        assert_eq!(again.groups("alice"), ["two".into()]);
    }

    #[tokio::test]
    async fn keys_are_bounded() {
        let root = tempfile::tempdir().expect("a directory");
        let keys = Keys::of_store(root.path());
        for _ in 0..KEYS_OF_USER_MAX {
            keys.add(key("alice", None).1, &[]).await.expect("written");
        }
        assert!(matches!(keys.add(key("alice", None).1, &[]).await, Err(ChangeError::TooManyOfUser)));
        keys.add(key("bob", None).1, &[]).await.expect("written");
    }

    /// A key that is told to be there is there after a crash, and one that cannot be written is not told.
    #[tokio::test]
    async fn what_cannot_be_written_does_not_happen() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("accounts"), "in the way").expect("written");
        let keys = Keys::of_store(root.path());
        let (text, one) = key("alice", None);
        assert!(matches!(keys.add(one, &[]).await, Err(ChangeError::Io(_))));
        assert!(!is_shown(&keys, "alice", &text));
    }
}
