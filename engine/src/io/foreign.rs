//! Files and directories of other trees on the store's file system.
//!
//! In: descriptors that somebody outside the store opened. Out: handles of a real disk, and names
//! for its files elsewhere. What has become true: a file is the same file here and there, bytes,
//! owner and mode included. The disk keeps names only; it writes to no foreign file.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{fs::OFlags, io::Errno};

use super::{Handle, Linked, file::OpenFile, root::link_descriptor};

/// A file of another tree as one of a real disk. Errors: `InvalidInput` for a file that is not
/// regular, or is open for writing: the disk cuts and syncs what it is given.
pub(crate) fn adopted(file: File) -> io::Result<Handle> {
    let access = rustix::fs::fcntl_getfl(&file)? & OFlags::RWMODE;
    if access != OFlags::RDONLY || !file.metadata()?.is_file() {
        let reason = "a file of another tree must be a regular file, open for reading only";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(OpenFile::file(file.into(), None, None).into_handle())
}

/// Makes `copy`, a new file of a real disk, share the bytes of `original` until one of them is
/// written (ioctl_ficlone(2)). False if the file system, or the two of them, cannot.
pub(crate) fn share_bytes(copy: &Handle, original: &File) -> io::Result<bool> {
    match rustix::fs::ioctl_ficlone(OpenFile::of(copy)?.plain(), original) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// A second descriptor of a file of a real disk.
pub(crate) fn descriptor(file: &Handle) -> io::Result<File> {
    Ok(OpenFile::of(file)?.plain().try_clone_to_owned()?.into())
}

/// Gives a file of a real disk the name `name` in a directory outside the store.
pub(crate) fn link_out(file: &Handle, directory: BorrowedFd<'_>, name: &str) -> io::Result<Linked> {
    match link_descriptor(OpenFile::of(file)?.plain(), directory.as_fd(), name) {
        Ok(()) => Ok(Linked::New),
        Err(Errno::EXIST) => Ok(Linked::Exists),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a link was refused because of where the file lies or whose it is, so that only a copy
/// helps: another file system, a file of another user (`fs.protected_hardlinks`, Linux
/// Documentation/admin-guide/sysctl/fs.rst), too many links already, or no links at all.
pub(crate) fn refuses_links(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EXDEV | libc::EPERM | libc::EMLINK | libc::EOPNOTSUPP))
}
