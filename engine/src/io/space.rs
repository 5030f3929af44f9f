//! Room on the device, and what is kept of it for the index.
//!
//! In: how much content is about to take. Out: ENOSPC while the device still has a reserve, so that
//! what frees space (removals, collection) and what must not fail (the index's log) can go on. For a
//! device that others fill up to the last byte there is a ballast: a file of nothing, given up when
//! the index would have no room any more, and made again when there is. A second one is kept for starts
//! alone, because the first may be gone when a process is killed on such a device.

use std::{
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The reserve is a hundredth of the file system, within these bounds ...
const RESERVE_BYTES_MIN: u64 = 64 << 20;
const RESERVE_BYTES_MAX: u64 = 4 << 30;
/// ... and never more than this part of it.
const RESERVE_PART_MAX: u64 = 8;

/// The ballast's size; less if the reserve is smaller.
const BALLAST_BYTES_MAX: u64 = 64 << 20;

/// The ballast is given up when less than this part of it is free beside it.
const BALLAST_PART_LOW: u64 = 4;

/// The ballast's name in the root.
const BALLAST: &str = "BALLAST";

/// What a start takes of the room that is kept for starts: for the index's list of files, its settings, a log
/// with some room of its own, and the first changes.
const START_BYTES: u64 = 16 << 20;

/// Room is kept for so many starts in a row; less if the reserve is smaller.
const STARTS: u64 = 2;

/// Its name in the root.
const START_BALLAST: &str = "BALLAST.start";

/// The room below one root.
pub(crate) struct Space {
    root: PathBuf,
    reserve_bytes: u64,
    /// Bytes of operations under way, which the file system does not count yet.
    pending: AtomicU64,
    kept: Mutex<Kept>,
}

struct Kept {
    ballast: Ballast,
    /// Bytes that are kept for starts.
    for_starts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ballast {
    There,
    Given,
    /// The file system cannot allocate without writing.
    Unsupported,
}

/// Room for an operation under way; over when dropped.
pub(crate) struct Admission {
    space: Arc<Space>,
    bytes: u64,
}

impl Space {
    /// Looks at the file system of the existing directory `root`; `reserve` overrides what is kept
    /// free. Makes or gives up the ballast as the room has it.
    pub fn open(root: &Path, reserve: Option<u64>) -> io::Result<Arc<Self>> {
        let stat = statvfs(root)?;
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        let usual = (total / 100).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX).min(total / RESERVE_PART_MAX);
        let ballast = if root.join(BALLAST).exists() { Ballast::There } else { Ballast::Given };
        let for_starts = fs::metadata(root.join(START_BALLAST)).map_or(0, |metadata| metadata.len());
        let space = Space {
            root: root.to_owned(),
            reserve_bytes: reserve.unwrap_or(usual),
            pending: AtomicU64::new(0),
            kept: Mutex::new(Kept { ballast, for_starts }),
        };
        space.tend();
        space.make_room_for_a_start();
        Ok(Arc::new(space))
    }

    /// Lets new content of so many bytes begin. Errors: ENOSPC if it would touch the reserve.
    pub fn admit(self: &Arc<Self>, bytes: u64) -> io::Result<Admission> {
        self.take(bytes, self.reserve_bytes)
    }

    /// Lets content that has begun go on. What was allocated for it must not be refused because others
    /// came up to the reserve meanwhile, so half of the reserve is left to it.
    pub fn proceed(self: &Arc<Self>, bytes: u64) -> io::Result<Admission> {
        self.take(bytes, self.reserve_bytes / 2)
    }

    fn take(self: &Arc<Self>, bytes: u64, kept: u64) -> io::Result<Admission> {
        let kept = kept.saturating_add(self.owed());
        let pending = self.pending.fetch_add(bytes, Ordering::SeqCst);
        let admission = Admission { space: self.clone(), bytes };
        let needed = kept.saturating_add(pending).saturating_add(bytes);
        if self.available()? < needed { Err(no_space()) } else { Ok(admission) }
    }

    /// Bytes of a ballast that was given up: they are the index's, and content must not take them.
    fn owed(&self) -> u64 {
        let kept = self.kept();
        let missing = self.start_ballast_bytes().saturating_sub(kept.for_starts);
        match kept.ballast {
            Ballast::Given => self.ballast_bytes() + missing,
            Ballast::There => missing,
            Ballast::Unsupported => 0,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_ballast_bytes(&self) -> u64 {
        (STARTS * START_BYTES).min(self.reserve_bytes / 2)
    }

    fn ballast_bytes(&self) -> u64 {
        BALLAST_BYTES_MAX.min(self.reserve_bytes)
    }

    /// Called before each write of the index: gives the ballast up when there is no room beside it,
    /// and makes both again when there is plenty.
    pub fn tend(&self) {
        let Ok(available) = self.available() else { return };
        let size = self.ballast_bytes();
        let mut kept = self.kept();
        let is_low = available < size / BALLAST_PART_LOW;
        let has_plenty = available >= self.reserve_bytes.saturating_add(2 * size);
        match kept.ballast {
            Ballast::There if is_low => kept.ballast = self.give_up(),
            Ballast::Given if has_plenty && size > 0 => kept.ballast = self.make(size),
            Ballast::There => self.restore_for_starts(&mut kept, available),
            Ballast::Given | Ballast::Unsupported => {}
        }
    }

    /// Makes up for what starts have taken, as soon as the reserve is there beside it.
    fn restore_for_starts(&self, kept: &mut Kept, available: u64) {
        let size = self.start_ballast_bytes();
        let missing = size.saturating_sub(kept.for_starts);
        if missing == 0 || available < self.reserve_bytes.saturating_add(missing) {
            return;
        }
        match allocated(&self.root.join(START_BALLAST), size) {
            Ok(()) => kept.for_starts = size,
            Err(error) => tracing::info!(%error, "no room is kept for a start on a full device"),
        }
    }

    /// Gives up a part of what is kept for starts if there is no room for one.
    fn make_room_for_a_start(&self) {
        let mut kept = self.kept();
        if kept.for_starts == 0 || self.available().is_ok_and(|available| available >= START_BYTES) {
            return;
        }
        let left = kept.for_starts.saturating_sub(START_BYTES);
        let file = fs::OpenOptions::new().write(true).open(self.root.join(START_BALLAST));
        match file.and_then(|file| file.set_len(left)) {
            Ok(()) => tracing::warn!(left, "the device is full; room that was kept for a start is given up"),
            Err(error) => tracing::warn!(%error, "the device is full and what is kept for a start cannot be cut"),
        }
        kept.for_starts = left;
    }

    fn give_up(&self) -> Ballast {
        match fs::remove_file(self.root.join(BALLAST)) {
            Ok(()) => tracing::warn!("the device is full; the ballast was given up for the index"),
            Err(error) => tracing::warn!(%error, "the device is full and the ballast cannot be removed"),
        }
        Ballast::Given
    }

    fn make(&self, size: u64) -> Ballast {
        let path = self.root.join(BALLAST);
        match allocated(&path, size) {
            Ok(()) => Ballast::There,
            Err(error) => {
                tracing::info!(%error, "no ballast is kept for a full device");
                // What is there of it takes room for nothing.
                drop(fs::remove_file(&path));
                Ballast::Unsupported
            }
        }
    }

    /// Bytes that this process may still take.
    fn available(&self) -> io::Result<u64> {
        let stat = statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.space.pending.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// Makes a file of nothing, or makes it longer.
fn allocated(path: &Path, size: u64) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, size)?)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_full(result: io::Result<Admission>) -> bool {
        matches!(result, Err(error) if error.raw_os_error() == Some(libc::ENOSPC))
    }

    #[test]
    fn content_is_refused_before_the_reserve_is_touched() {
        let root = tempfile::tempdir().expect("a directory");
        let available = Space::open(root.path(), Some(0)).expect("a file system").available().expect("asked");
        // Half of what is there, so that other processes do not matter.
        let space = Space::open(root.path(), Some(available / 2)).expect("a file system");
        assert!(space.admit(available / 8).is_ok());
        assert!(is_full(space.admit(available)));
        assert!(is_full(space.admit(available / 8 * 5)));
        assert!(space.proceed(available / 8 * 5).is_ok(), "what has begun may go on");
    }

    #[test]
    fn what_is_under_way_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let space = Space::open(root.path(), Some(0)).expect("a file system");
        let available = space.available().expect("asked");
        let first = space.admit(available / 4 * 3).expect("fits");
        assert!(is_full(space.admit(available / 2)));
        drop(first);
        assert!(space.admit(available / 2).is_ok());
    }

    #[test]
    fn the_ballast_goes_when_the_device_is_full_and_comes_back() {
        let root = tempfile::tempdir().expect("a directory");
        let space = Space::open(root.path(), None).expect("a file system");
        let path = root.path().join(BALLAST);
        if space.kept().ballast == Ballast::Unsupported {
            return;
        }
        let size = BALLAST_BYTES_MAX.min(space.reserve_bytes);
        assert_eq!(fs::metadata(&path).expect("made at once").len(), size);
        assert_eq!(space.owed(), space.start_ballast_bytes(), "made with the next change");
        assert_eq!(space.give_up(), Ballast::Given);
        assert!(!path.exists());
        space.kept().ballast = Ballast::Given;
        assert_eq!(space.owed(), size + space.start_ballast_bytes(), "content does not take the place of the ballast");
        space.tend();
        assert_eq!(fs::metadata(&path).expect("made again").len(), size);
    }

    #[test]
    fn what_is_kept_for_starts_is_taken_in_parts_and_comes_back() {
        let root = tempfile::tempdir().expect("a directory");
        let space = Space::open(root.path(), None).expect("a file system");
        if space.kept().ballast == Ballast::Unsupported {
            return;
        }
        let (path, size) = (root.path().join(START_BALLAST), space.start_ballast_bytes());
        space.tend();
        assert_eq!(fs::metadata(&path).expect("made after the other one").len(), size);
        assert_eq!(space.owed(), 0);
        space.make_room_for_a_start();
        assert_eq!(fs::metadata(&path).expect("there is room").len(), size);
        // As a start on a full device leaves it.
        fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(1)).expect("it can be cut");
        let space = Space::open(root.path(), None).expect("a file system");
        assert_eq!(fs::metadata(&path).expect("made again").len(), size);
        assert_eq!(space.owed(), 0);
    }
}
