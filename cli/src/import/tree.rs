//! A directory tree of another program, read without trusting what lies in it.
//!
//! In: a root and paths below it. Out: open regular files and names of directories. What has become
//! true: nothing outside the root was opened, because no symbolic link is followed.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// An open root.
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Whether openat2(2) is there (Linux 5.6, unless a sandbox refuses it).
    resolves: bool,
}

impl Tree {
    /// Opens the directory at `path`, which itself may be reached over symbolic links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let probe = OFlags::PATH | OFlags::CLOEXEC;
        let resolves = match rustix::fs::openat2(&root, ".", probe, Mode::empty(), resolution()) {
            Ok(_) => true,
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(errno) => return Err(errno.into()),
        };
        Ok(Tree { root, path: path.to_owned(), resolves })
    }

    /// Where a path below the root is, for people.
    pub fn shown(&self, path: &str) -> String {
        self.path.join(path).display().to_string()
    }

    /// A regular file, open for reading. Errors: `NotFound`; `InvalidData` for anything else.
    pub fn file(&self, path: &str) -> io::Result<File> {
        // O_NONBLOCK: opening a FIFO that nobody writes to must not hang.
        let file = File::from(self.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file")),
        }
    }

    /// Whether a regular file is there and can be opened.
    pub fn has_file(&self, path: &str) -> bool {
        self.file(path).is_ok()
    }

    /// A small file's content. Errors: also for one with more than `bytes_max` bytes.
    pub fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        read(self.file(path)?, bytes_max)
    }

    /// Names of the directories in a directory, sorted; none if it is not there. Names that are not
    /// UTF-8 cannot be part of what is looked for here and are left out, as are symbolic links.
    pub fn directories(&self, path: &str) -> io::Result<Vec<String>> {
        let directory = match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let is_directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => is_directory(&directory, entry.file_name())?,
                _ => false,
            };
            match entry.file_name().to_str() {
                Ok(name) if is_directory && name != "." && name != ".." => names.push(name.to_owned()),
                _ => {}
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = if path.is_empty() { "." } else { path };
        let opened = match self.resolves {
            true => rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolution()),
            false => self.walk_at(path, flags),
        };
        opened.map_err(|errno| match errno {
            Errno::LOOP => io::Error::new(io::ErrorKind::InvalidData, "a symbolic link, which is not followed"),
            errno => errno.into(),
        })
    }

    /// What openat2(2) does, one component at a time. No path here has a component `..`.
    fn walk_at(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at: Option<OwnedFd> = None;
        for component in parents.split('/').filter(|component| !component.is_empty()) {
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            at = Some(rustix::fs::openat(from, component, step, Mode::empty())?);
        }
        rustix::fs::openat(at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd), name, flags, Mode::empty())
    }
}

/// The whole content of an open file with at most `bytes_max` bytes.
pub fn read(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    match content.len() as u64 > bytes_max {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {bytes_max} bytes"))),
        false => Ok(content),
    }
}

/// When a file's content was last written, in milliseconds since 1970; 0 if nobody knows.
pub fn modified_ms(file: &File) -> u64 {
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A path of two parts, of which the first may be the root.
pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn resolution() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS
}

fn is_directory(directory: &OwnedFd, name: &std::ffi::CStr) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn nothing_is_reached_over_a_link() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let (inside, outside) = (scratch.path().join("inside"), scratch.path().join("outside"));
        for directory in [&inside, &outside] {
            fs::create_dir_all(directory.join("a/b")).expect("made");
            fs::write(directory.join("a/b/file"), "content").expect("written");
        }
        symlink(&outside, inside.join("link")).expect("linked");
        symlink("a", inside.join("relative")).expect("linked");
        symlink(outside.join("a/b/file"), inside.join("a/file")).expect("linked");
        rustix::fs::mknodat(CWD, inside.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("made");

        let mut tree = Tree::open(&inside).expect("opens");
        // With openat2(2), and as on a kernel without it.
        for resolves in [tree.resolves, false] {
            tree.resolves = resolves;
            assert_eq!(tree.read("a/b/file", 7).expect("a file"), b"content");
            assert_eq!(tree.read("a/b/file", 6).expect_err("too long").kind(), io::ErrorKind::InvalidData);
            assert_eq!(tree.directories("").expect("a directory"), ["a"]);
            assert_eq!(tree.directories("a").expect("a directory"), ["b"]);
            assert!(tree.directories("b").expect("nothing").is_empty());
            for path in ["link/a/b/file", "relative/b/file", "a/file", "a/b", "pipe", "../outside/a/b/file"] {
                let refused = tree.file(path);
                assert!(refused.is_err() || (path.starts_with("..") && !resolves), "{path} was opened");
            }
            assert_eq!(tree.file("a/c").expect_err("absent").kind(), io::ErrorKind::NotFound);
        }
    }
}
