//! Upload sessions: who may write to which upload, and what happens to it when nobody does.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    crowd::{Crowd, UploadsMax},
    home::UploadHome,
    intake::Intake,
};
use crate::{
    Algorithm,
    collect::{Leases, QuietUpload},
    commit::decoded,
    error::{Error, Result, What},
    format::{UploadRecord, UploadSink},
    index::{Durability, Table},
    io::StorePath,
    schedule::{self, AtomicBool, AtomicU64, Mutex},
    statistics::add,
    store::{Store, blocking},
};

/// An upload's id: 128 random bits, written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

impl UploadId {
    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        Some(UploadId(u128::from_be_bytes(key.try_into().ok()?)))
    }

    pub(crate) fn to_key(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    /// Where the file of a suspended upload lies.
    pub(crate) fn path(self) -> StorePath {
        uploads_path().join(&self.to_string())
    }
}

/// The upload area.
pub(crate) fn uploads_path() -> StorePath {
    StorePath::root().join("uploads")
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for UploadId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = plain.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        id.map(UploadId).ok_or(Error::NotFound { what: What::Upload })
    }
}

/// What a client may know of its upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadStatus {
    /// Bytes received so far: where the next chunk starts.
    pub offset: u64,
}

pub(super) struct Session {
    pub id: UploadId,
    pub home: UploadHome,
    /// A writer holds the session.
    claimed: AtomicBool,
    pub offset: AtomicU64,
    /// Monotonic milliseconds of the last writer's end.
    touched_ms: AtomicU64,
    /// Epoch of the last writer's end.
    touched_epoch: AtomicU64,
    pub state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    /// `None`: written down (if `stored`) or ended.
    pub intake: Option<Intake>,
    /// There is a record of it in the index.
    pub stored: bool,
    /// The record, if any, is not up to date.
    pub dirty: bool,
    pub ended: bool,
}

impl Session {
    fn new(store: &Store, id: UploadId, home: UploadHome, offset: u64, state: State) -> Self {
        Session {
            id,
            home,
            claimed: AtomicBool::new(false),
            offset: AtomicU64::new(offset),
            touched_ms: AtomicU64::new(millis(store.options.environment.monotonic())),
            touched_epoch: AtomicU64::new(store.leases.epoch()),
            state: Arc::new(tokio::sync::Mutex::new(state)),
        }
    }

    pub fn touch(&self, now: Duration) {
        self.touched_ms.store(millis(now), Ordering::Relaxed);
    }

    fn is_quiet_since(&self, latest: Option<u64>) -> bool {
        let touched = self.touched_epoch.load(Ordering::Relaxed);
        !self.claimed.load(Ordering::Acquire) && latest.is_some_and(|latest| touched <= latest)
    }

    fn quiet_for(&self, now: Duration) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.touched_ms.load(Ordering::Relaxed)))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A writer's exclusive hold; released when dropped.
pub(super) struct Claim {
    pub session: Arc<Session>,
    environment: Arc<dyn crate::environment::Environment>,
    leases: Arc<Leases>,
}

impl Claim {
    fn new(session: Arc<Session>, store: &Store) -> Result<Self> {
        if session.claimed.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy);
        }
        let (environment, leases) = (store.options.environment.clone(), store.leases.clone());
        Ok(Claim { session, environment, leases })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.session.touch(self.environment.monotonic());
        self.session.touched_epoch.store(self.leases.epoch(), Ordering::Relaxed);
        self.session.claimed.store(false, Ordering::Release);
    }
}

/// All uploads the store knows of. A quiet session costs an entry here and its record.
#[derive(Default)]
pub(crate) struct Sessions {
    known: Mutex<Crowd>,
}

impl Sessions {
    /// Errors: `TooManyUploads`.
    pub fn begin(&self, store: &Store, home: UploadHome, algorithm: Algorithm, max: UploadsMax) -> Result<UploadId> {
        let id = UploadId(store.options.environment.random());
        let intake = Some(Intake::new(algorithm, &store.hash_threads));
        let state = State { intake, dirty: true, ..State::default() };
        self.insert(Session::new(store, id, home, 0, state), max)?;
        add(&store.counters.uploads_begun, 1);
        Ok(id)
    }

    fn insert(&self, session: Session, max: UploadsMax) -> Result<()> {
        let mut known = self.known.lock().expect("no panic holds it");
        known.admit(&session.home, max)?;
        known.insert(session);
        Ok(())
    }

    /// Learns the written-down sessions of a store that was just opened and clears the upload area
    /// of everything else. A record whose file is gone is of an upload that was completed, or
    /// failed to be, when the store went down: it goes too.
    pub async fn recover(&self, store: &Arc<Store>) -> Result<()> {
        let loading = store.clone();
        let records = blocking(move || loading.scan_all(Table::Uploads, &[])).await?;
        let area = uploads_path();
        let entries = store.disk.list(&area).await.map_err(|source| Error::io("reading the upload area", source))?;
        let mut files: HashMap<String, u64> = entries.into_iter().map(|entry| (entry.name, entry.size)).collect();
        let mut lost = Vec::new();
        for (key, value) in records {
            let record = decoded(UploadRecord::decode(&value))?;
            let malformed = || Error::Store { path: "index".into(), reason: "a malformed upload key".into() };
            let id = UploadId::from_key(&key).ok_or_else(malformed)?;
            let sound = match record.sink {
                UploadSink::Memory(_) => true,
                UploadSink::File => {
                    files.get(&id.to_string()).is_some_and(|size| *size >= record.offset)
                        && files.remove(&id.to_string()).is_some()
                }
            };
            if sound {
                let state = State { stored: true, ..State::default() };
                // Whoever was told of it can go on with it, however many there may be by now.
                self.insert(Session::new(store, id, record.home, record.offset, state), UploadsMax::UNLIMITED)?;
            } else {
                lost.push(id);
            }
        }
        for name in files.into_keys() {
            let unlinked = store.disk.unlink(&area.join(&name)).await;
            unlinked.map_err(|source| Error::io("clearing the upload area", source))?;
        }
        for id in lost {
            delete_record(store, id).await?;
        }
        Ok(())
    }

    fn find(&self, home: &UploadHome, id: UploadId) -> Result<Arc<Session>> {
        let known = self.known.lock().expect("no panic holds it");
        // Bound to its home: from another one it does not exist.
        known.get(id).filter(|session| session.home == *home).cloned().ok_or(Error::NotFound { what: What::Upload })
    }

    pub fn status(&self, home: &UploadHome, id: UploadId) -> Result<UploadStatus> {
        let session = self.find(home, id)?;
        Ok(UploadStatus { offset: session.offset.load(Ordering::Acquire) })
    }

    pub(super) fn claim(&self, store: &Store, home: &UploadHome, id: UploadId) -> Result<Claim> {
        Claim::new(self.find(home, id)?, store)
    }

    pub(super) fn forget(&self, id: UploadId) {
        self.known.lock().expect("no panic holds it").remove(id);
    }

    pub fn count(&self) -> usize {
        self.known.lock().expect("no panic holds it").len()
    }

    /// Writes down sessions that went quiet for `settle` and discards those quiet for too long.
    pub async fn tend(&self, store: &Store, settle: Duration) {
        let now = store.options.environment.monotonic();
        let quiet: Vec<_> = {
            let known = self.known.lock().expect("no panic holds it");
            known.values().filter(|session| session.quiet_for(now) >= settle).cloned().collect()
        };
        for session in quiet {
            // Sessions in use are left alone. A writer that comes now waits for the lock: to it,
            // being put away is not another writer.
            schedule::point();
            let Ok(mut state) = session.state.clone().try_lock_owned() else { continue };
            let outcome = if session.quiet_for(now) >= store.options.upload_idle_max {
                self.discard(store, &session, &mut state).await
            } else {
                write_down(store, &session, &mut state).await
            };
            if let Err(error) = outcome {
                // Its bytes may be incomplete on the disk: the client has to begin again.
                tracing::warn!(upload = %session.id, %error, "an idle upload could not be put away and is discarded");
                if let Err(error) = self.discard(store, &session, &mut state).await {
                    tracing::debug!(upload = %session.id, %error, "its record stays until the store is opened again");
                }
            }
        }
    }

    /// Uploads without a writer that were last written to at epoch `latest` or before.
    pub fn quiet(&self, latest: Option<u64>) -> Vec<QuietUpload> {
        let known = self.known.lock().expect("no panic holds it");
        let quiet = known.values().filter(|session| session.is_quiet_since(latest));
        quiet
            .map(|session| QuietUpload {
                id: session.id,
                namespace: session.home.namespace.clone(),
                offset: session.offset.load(Ordering::Acquire),
                since: session.touched_epoch.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// Discards an upload if it is quiet since epoch `latest` or before. Gives whether it was.
    pub async fn discard_quiet(&self, store: &Store, id: UploadId, latest: Option<u64>) -> Result<bool> {
        let session = self.known.lock().expect("no panic holds it").get(id).cloned();
        let Some(session) = session else { return Ok(false) };
        let Ok(mut state) = session.state.clone().try_lock_owned() else { return Ok(false) };
        if state.ended || !session.is_quiet_since(latest) {
            return Ok(false);
        }
        self.discard(store, &session, &mut state).await?;
        add(&store.counters.uploads_collected, 1);
        Ok(true)
    }

    /// Ends a session and gives its bytes up.
    pub(super) async fn discard(&self, store: &Store, session: &Session, state: &mut State) -> Result<()> {
        self.forget(session.id);
        state.ended = true;
        match state.intake.take() {
            Some(mut intake) => intake.discard(store, session.id).await,
            None => drop(store.disk.unlink(&session.id.path())),
        }
        add(&store.counters.uploads_discarded, 1);
        if std::mem::take(&mut state.stored) {
            delete_record(store, session.id).await?;
        }
        Ok(())
    }
}

/// Makes a session's bytes and record durable enough for a restart and frees its memory. The
/// record itself is durable with the next synced commit; until then an older one, of a shorter
/// prefix, may come back.
async fn write_down(store: &Store, session: &Session, state: &mut State) -> Result<()> {
    if state.dirty
        && let Some(intake) = &mut state.intake
    {
        let record = intake.checkpoint(store, session.id, &session.home).await?;
        session.offset.store(record.offset, Ordering::Release);
        put_record(store, session.id, &record).await?;
        state.stored = true;
        state.dirty = false;
    }
    if state.stored {
        state.intake = None;
    }
    Ok(())
}

/// Forgets a session's record.
pub(super) async fn delete_record(store: &Store, id: UploadId) -> Result<()> {
    let key = id.to_key();
    let delete = move |transaction: &mut crate::commit::Transaction<'_>| {
        transaction.delete(Table::Uploads, key);
        Ok(())
    };
    store.committer.run(Durability::Buffered, delete).await
}

/// Stores a session's record.
pub(super) async fn put_record(store: &Store, id: UploadId, record: &UploadRecord) -> Result<()> {
    let (key, value) = (id.to_key(), record.encode());
    let put = move |transaction: &mut crate::commit::Transaction<'_>| {
        transaction.put(Table::Uploads, key, value);
        Ok(())
    };
    store.committer.run(Durability::Buffered, put).await?;
    add(&store.counters.uploads_checkpointed, 1);
    Ok(())
}
