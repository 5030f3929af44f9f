//! Which real disk serves a directory: io_uring where it works, threads elsewhere.
//!
//! In: a directory and a wish. Out: an open disk, what it became, and why if that was not the
//! first choice.

use std::{fmt, io, path::Path, sync::Arc};

use super::{Disk, Threads, root::Root};

/// A way to reach the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// [`Backend::Ring`] if a probe that writes, syncs and reads succeeds, else
    /// [`Backend::Threads`].
    #[default]
    Auto,
    /// io_uring; an error where it is refused.
    Ring,
    /// Ordinary system calls on a pool of threads.
    Threads,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Auto => "auto",
            Backend::Ring => "ring",
            Backend::Threads => "threads",
        })
    }
}

/// An open disk and what was chosen for it.
pub struct Opened {
    pub disk: Arc<dyn Disk>,
    /// [`Backend::Ring`] or [`Backend::Threads`].
    pub backend: Backend,
    /// Why io_uring was refused, if [`Backend::Auto`] found that: for the log.
    pub note: Option<String>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("backend", &self.backend).field("note", &self.note).finish_non_exhaustive()
    }
}

/// Opens the existing directory `root` as a disk. Blocks for the few milliseconds of the probe.
///
/// Errors: those of opening the directory; with [`Backend::Ring`] a refused io_uring (Linux
/// before 5.10, a container's seccomp profile, `kernel.io_uring_disabled`), and any error of the
/// probe that does not mean "not allowed here", such as EIO.
pub fn open_disk(root: &Path, backend: Backend) -> io::Result<Opened> {
    let root = Root::open(root)?;
    if backend == Backend::Threads {
        return Ok(threads(root, None));
    }
    match open_ring(Arc::clone(&root)) {
        Ok(disk) => Ok(Opened { disk, backend: Backend::Ring, note: None }),
        Err(error) if backend == Backend::Auto && is_refusal(&error) => {
            let note = refusal_note(&error);
            tracing::info!(%note, "the disk uses threads instead of io_uring");
            Ok(threads(root, Some(note)))
        }
        Err(error) => Err(error),
    }
}

fn threads(root: Arc<Root>, note: Option<String>) -> Opened {
    Opened { disk: Arc::new(Threads::new(root)), backend: Backend::Threads, note }
}

#[cfg(feature = "ring")]
fn open_ring(root: Arc<Root>) -> io::Result<Arc<dyn Disk>> {
    let ring = super::Ring::new(root)?;
    ring.probe()?;
    Ok(Arc::new(ring))
}

#[cfg(not(feature = "ring"))]
fn open_ring(_root: Arc<Root>) -> io::Result<Arc<dyn Disk>> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Whether an error says that io_uring is not allowed or not there, rather than that the disk is
/// broken, which no other backend would mend.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOMEM))
}

/// The setting is 0 where every process may use io_uring, 1 for a privileged group, 2 for nobody
/// (Documentation/admin-guide/sysctl/kernel.rst, since Linux 6.6).
fn refusal_note(error: &io::Error) -> String {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let setting = setting.as_deref().map_or("unknown", str::trim_end);
    format!("io_uring was refused: {error}; kernel.io_uring_disabled is {setting}")
}
