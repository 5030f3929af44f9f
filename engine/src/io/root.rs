//! The directory that a real disk lives in, and everything that takes a path below it.
//!
//! In: [`StorePath`]s. Out: open files and changed names. What is true: no path leaves the root
//! and no symbolic link is followed, whatever other processes do to the tree meanwhile, because
//! the kernel resolves each path against the open root in one call (openat2(2)), or, where that
//! call does not exist, against one open directory per component.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{Entry, EntryKind, Linked, StorePath, file::OpenFile};

/// Directories remembered as durable. Beyond it they are only synced more often.
const DURABLE_DIRECTORIES_MAX: usize = 65_536;

/// Where files get a name for the time being if the file system has no unnamed files.
const TEMPORARY_DIRECTORY: &str = "tmp";
const TEMPORARY_PREFIX: &str = "unnamed-";

/// What is added to the name of a file that was in the place of a directory.
pub(crate) const STRAY_SUFFIX: &str = ".stray";

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIRECTORY_MODE: Mode = Mode::RWXU;

/// An open root directory.
pub(super) struct Root {
    directory: OwnedFd,
    /// Whether openat2(2) is there (Linux 5.6, unless a sandbox refuses it).
    resolves: bool,
    /// Whether the file system makes unnamed files.
    unnamed: AtomicBool,
    /// Held while the temporary files of an earlier process are removed.
    cleaning: Mutex<()>,
    /// Whether the file system takes `O_DIRECT`.
    direct: AtomicBool,
    /// Whether a synced directory takes with it that its files have a name.
    counts_links: bool,
    /// Directories whose names are known to be durable. Locked while one is being made, so that
    /// nobody builds on a directory that is there but not durable yet.
    durable: Mutex<HashSet<StorePath>>,
}

impl Root {
    /// Opens the directory at `path`, which must exist.
    pub(super) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let probe = OFlags::PATH | OFlags::CLOEXEC;
        let resolves = match rustix::fs::openat2(&directory, ".", probe, Mode::empty(), Self::resolution()) {
            Ok(_) => true,
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(errno) => return Err(errno.into()),
        };
        let counts_links = has_journal(&directory);
        if !counts_links {
            tracing::info!(
                "the file system is not known to have a journal; files are synced once more after they got their names"
            );
        }
        Ok(Arc::new(Root {
            directory,
            resolves,
            counts_links,
            unnamed: AtomicBool::new(true),
            cleaning: Mutex::new(()),
            direct: AtomicBool::new(true),
            durable: Mutex::default(),
        }))
    }

    fn resolution() -> ResolveFlags {
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS
    }

    /// A new file without a name, open for reading and writing.
    pub(super) fn create(self: &Arc<Self>) -> io::Result<OpenFile> {
        if self.unnamed.load(Ordering::Acquire) {
            match self.open_at(&StorePath::root(), OFlags::TMPFILE | OFlags::RDWR, FILE_MODE) {
                Ok(plain) => {
                    let direct = self.open_direct(plain.as_fd())?;
                    return Ok(OpenFile::file(plain, direct, None));
                }
                // The second is how kernels and file systems from before O_TMPFILE refuse it.
                Err(Errno::OPNOTSUPP | Errno::ISDIR) => self.remove_stale_temporaries()?,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.create_temporary()
    }

    fn create_temporary(self: &Arc<Self>) -> io::Result<OpenFile> {
        let directory = StorePath::root().join(TEMPORARY_DIRECTORY);
        self.make_durable_directory(&directory)?;
        let random = RandomState::new().hash_one(std::process::id());
        let path = directory.join(&format!("{TEMPORARY_PREFIX}{random:016x}"));
        let plain = self.open_at(&path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW, FILE_MODE)?;
        let temporary = Temporary { root: Arc::clone(self), path };
        let direct = self.open_direct(plain.as_fd())?;
        Ok(OpenFile::file(plain, direct, Some(temporary)))
    }

    /// Removes what a crash left, once and before this process makes temporary files of its own:
    /// no other process may write below the root at the same time.
    fn remove_stale_temporaries(&self) -> io::Result<()> {
        let _alone = self.cleaning.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.unnamed.load(Ordering::Acquire) {
            return Ok(());
        }
        let directory = StorePath::root().join(TEMPORARY_DIRECTORY);
        for entry in self.list(&directory)? {
            if entry.name.starts_with(TEMPORARY_PREFIX) && entry.kind == EntryKind::File {
                self.unlink(&directory.join(&entry.name))?;
            }
        }
        self.unnamed.store(false, Ordering::Release);
        Ok(())
    }

    /// Opens an existing regular file or directory.
    pub(super) fn open_existing(&self, path: &StorePath, write: bool) -> io::Result<OpenFile> {
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        // O_NONBLOCK: opening a FIFO that nobody writes to must not hang.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let plain = match self.open_at(path, access | flags, Mode::empty()) {
            Err(Errno::ISDIR) => self.open_at(path, OFlags::RDONLY | flags, Mode::empty()),
            outcome => outcome,
        };
        let plain = plain.map_err(|errno| refusal(path, errno))?;
        match FileType::from_raw_mode(rustix::fs::fstat(&plain)?.st_mode) {
            FileType::Directory => Ok(OpenFile::directory(plain)),
            FileType::RegularFile => {
                // io_uring would answer EAGAIN instead of waiting.
                rustix::fs::fcntl_setfl(&plain, OFlags::empty())?;
                let direct = if write { self.open_direct(plain.as_fd())? } else { None };
                Ok(OpenFile::file(plain, direct, None))
            }
            other => Err(foreign(path, &format!("{other:?}"))),
        }
    }

    /// A second descriptor of a writable file that passes by the page cache, if there can be one.
    fn open_direct(&self, plain: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
        if !self.direct.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, descriptor_path(plain), flags, Mode::empty()) {
            Ok(direct) => Ok(Some(direct)),
            // The file system does not take the flag, or /proc is not there or hidden.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOENT | Errno::ACCESS | Errno::PERM) => {
                self.direct.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives `file` the name `path`, and makes missing directories durably.
    pub(super) fn link(&self, file: &OpenFile, path: &StorePath) -> io::Result<Linked> {
        Ok(self.link_in(file, path)?.0)
    }

    /// Like [`Root::link`]; a new name is durable on return.
    pub(super) fn link_durably(&self, file: &OpenFile, path: &StorePath) -> io::Result<Linked> {
        let (linked, parent) = self.link_in(file, path)?;
        if linked == Linked::New {
            // The descriptor is older than the name: it is told of every sync that failed since, also of somebody else's.
            rustix::fs::fsync(&parent)?;
            if !self.counts_links {
                // A file that was made without a name has no link in what was written of it, and e2fsck removes names
                // of such files.
                rustix::fs::fsync(file.plain())?;
            }
        }
        Ok(linked)
    }

    /// Links, and gives the directory in which the name is now.
    fn link_in(&self, file: &OpenFile, path: &StorePath) -> io::Result<(Linked, OwnedFd)> {
        let Some((parent, name)) = split(path) else {
            return Err(foreign(path, "the root itself"));
        };
        self.make_durable_directory(&parent)?;
        let linked = match self.open_directory(&parent) {
            Err(Errno::NOENT) => {
                // Another process removed it since: make it again, this once.
                self.forget_durable(&parent);
                self.make_durable_directory(&parent)?;
                self.open_directory(&parent)
            }
            outcome => outcome,
        };
        let parent = linked.map_err(|errno| refusal(path, errno))?;
        let linked = match link_descriptor(file.plain(), parent.as_fd(), name) {
            Ok(()) => Linked::New,
            Err(Errno::EXIST) => Linked::Exists,
            Err(errno) => return Err(errno.into()),
        };
        if linked == Linked::New {
            file.drop_temporary();
        }
        Ok((linked, parent))
    }

    /// Removes a name; one that is not there is removed already.
    pub(super) fn unlink(&self, path: &StorePath) -> io::Result<()> {
        let Some((parent, name)) = split(path) else {
            return Err(foreign(path, "the root itself"));
        };
        let parent = match self.open_directory(&parent) {
            Err(Errno::NOENT) => return Ok(()),
            outcome => outcome.map_err(|errno| refusal(path, errno))?,
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The entries of a directory; none if it does not exist.
    pub(super) fn list(&self, path: &StorePath) -> io::Result<Vec<Entry>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = match self.open_at(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            outcome => outcome.map_err(|errno| refusal(path, errno))?,
        };
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push(described(name.to_string_lossy().into_owned(), &stat)),
                // Removed since the directory was read.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(entries)
    }

    /// Makes `path` and its parents where they are missing; on return all their names are
    /// durable. A directory that was there already is synced once in a process's life: whoever
    /// made it may have stopped before that.
    fn make_durable_directory(&self, path: &StorePath) -> io::Result<()> {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = Vec::new();
        let mut at = path.clone();
        while !at.is_root() && !durable.contains(&at) {
            let parent = at.parent();
            missing.push(std::mem::replace(&mut at, parent));
        }
        while let Some(directory) = missing.pop() {
            let (parent, name) = split(&directory).expect("the root is never missing");
            let parent = self.open_directory(&parent).map_err(|errno| refusal(&directory, errno))?;
            match rustix::fs::mkdirat(&parent, name, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            if let Err(errno) = rustix::fs::fsync(&parent) {
                // The next sync would succeed, and without this name: it counts as written from now on. Only a
                // directory that is made anew has a name to be written. One with files in it stays.
                let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
                return Err(errno.into());
            }
            if durable.len() < DURABLE_DIRECTORIES_MAX {
                durable.insert(directory);
            }
        }
        Ok(())
    }

    /// Moves a plain file out of the place of a directory. Nothing is removed: its bytes may be somebody's. Anything else
    /// in that place stays.
    pub(super) fn displace(&self, path: &StorePath) -> io::Result<()> {
        let Some((parent, name)) = split(path) else { return Ok(()) };
        let parent = self.open_directory(&parent).map_err(|errno| refusal(path, errno))?;
        let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let stray = format!("{name}{STRAY_SUFFIX}");
        match rustix::fs::renameat_with(&parent, name, &parent, &stray, RenameFlags::NOREPLACE) {
            Ok(()) => tracing::warn!(%path, moved_to = stray, "a file was in the place of a directory of the store"),
            // Somebody else was faster.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.forget_durable(path);
        Ok(())
    }

    fn forget_durable(&self, path: &StorePath) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = path.clone();
        while !at.is_root() {
            durable.remove(&at);
            at = at.parent();
        }
    }

    /// A directory to change names in. fsync(2) needs a readable descriptor, so not `O_PATH`.
    fn open_directory(&self, path: &StorePath) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
    }

    fn open_at(&self, path: &StorePath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if self.resolves {
            return rustix::fs::openat2(&self.directory, path.as_path(), flags, mode, Self::resolution());
        }
        self.walk_at(path, flags, mode)
    }

    /// What openat2(2) does, one component at a time.
    fn walk_at(&self, path: &StorePath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let Some((parent, name)) = split(path) else {
            return rustix::fs::openat(&self.directory, ".", flags, mode);
        };
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: Option<OwnedFd> = None;
        for component in parent.as_str().split('/').filter(|component| !component.is_empty()) {
            let from = at.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
            at = Some(rustix::fs::openat(from, component, step, Mode::empty())?);
        }
        let from = at.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
        rustix::fs::openat(from, name, flags | OFlags::NOFOLLOW, mode)
    }
}

/// The name of a file that should not have one; removed when this is dropped.
pub(super) struct Temporary {
    root: Arc<Root>,
    path: StorePath,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = self.root.unlink(&self.path) {
            tracing::warn!(path = %self.path, %error, "a temporary file stays until the store is opened again");
        }
    }
}

/// Whether one transaction makes a name durable together with its file's number of links. Only where that is known:
/// anywhere else one more sync does no harm.
fn has_journal(directory: &OwnedFd) -> bool {
    const BTRFS: u32 = 0x9123_683e;
    const XFS: u32 = 0x5846_5342;
    const EXT: u32 = 0xef53;
    // The width of the field is not the same everywhere; that of a magic number is 32 bits.
    match rustix::fs::fstatfs(directory).map(|found| found.f_type as u32) {
        Ok(BTRFS | XFS) => true,
        Ok(EXT) => ext_has_journal(directory).unwrap_or(false),
        _ => false,
    }
}

/// What ext4 says of itself (Linux Documentation/ABI/testing/sysfs-fs-ext4); `None` where that can't be seen.
fn ext_has_journal(directory: &OwnedFd) -> Option<bool> {
    let device = rustix::fs::fstat(directory).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let task = std::fs::read_to_string(Path::new("/sys/fs/ext4").join(block.file_name()?).join("journal_task")).ok()?;
    Some(task.trim() != "<none>")
}

/// The directory and the last component; `None` for the root.
fn split(path: &StorePath) -> Option<(StorePath, &str)> {
    let name = path.as_str().rsplit('/').next().filter(|name| !name.is_empty())?;
    Some((path.parent(), name))
}

pub(super) fn link_descriptor(file: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::linkat(file, "", parent, name, AtFlags::EMPTY_PATH) {
        // Before Linux 6.10 this needs CAP_DAC_READ_SEARCH; the detour over /proc does not.
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {
            rustix::fs::linkat(CWD, descriptor_path(file), parent, name, AtFlags::SYMLINK_FOLLOW)
        }
        outcome => outcome,
    }
}

fn descriptor_path(descriptor: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

fn described(name: String, stat: &Stat) -> Entry {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Entry { name, size: u64::try_from(stat.st_size).unwrap_or(0), kind: EntryKind::File },
        FileType::Directory => Entry { name, size: 0, kind: EntryKind::Directory },
        _ => Entry { name, size: 0, kind: EntryKind::Other },
    }
}

/// Sorts a failed open: what is not a plain tree of files and directories is `InvalidData`.
fn refusal(path: &StorePath, errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP | Errno::MLINK => foreign(path, "a symbolic link"),
        Errno::NOTDIR => foreign(path, "below something that is not a directory"),
        Errno::NXIO | Errno::NODEV => foreign(path, "a socket, FIFO or device"),
        errno => errno.into(),
    }
}

fn foreign(path: &StorePath, found: &str) -> io::Error {
    let reason = format!("{path:?} is {found}; a regular file or directory was expected: remove what is there");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
