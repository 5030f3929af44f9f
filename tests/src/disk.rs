//! The disk behind the registry's back: room, temporary roots, and what lies in a store.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::statvfs;
use tempfile::TempDir;

use crate::registry::profile_directory;

/// A directory for one test, below the build directory: that is a real disk, where the system's
/// directory for temporary files may be memory.
///
/// # Panics
/// If it cannot be made.
pub fn temporary_directory() -> TempDir {
    let parent = profile_directory().join("stores");
    fs::create_dir_all(&parent).unwrap_or_else(|error| panic!("cannot create {}: {error}", parent.display()));
    tempfile::Builder::new().prefix("store-").tempdir_in(parent).expect("a temporary directory can be made")
}

/// Fails the test with a clear message unless `bytes` are free where the stores lie.
pub fn require_room(bytes: u64) {
    let directory = temporary_directory();
    let stat = statvfs(directory.path()).expect("the file system can be asked");
    let free = stat.f_bavail * stat.f_frsize;
    assert!(
        free >= bytes,
        "this test needs {} MiB of free disk at {}, there are {} MiB: free some or set CARGO_TARGET_DIR",
        bytes >> 20,
        directory.path().display(),
        free >> 20
    );
}

/// A regular file in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    pub path: PathBuf,
    pub size: u64,
}

/// Every regular file below `directory`, sorted; none if it is not there.
///
/// # Panics
/// If the directory cannot be read.
pub fn files(directory: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let entry = entry.unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()));
            // A file may vanish while the registry runs.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else {
                found.push(File { path: entry.path(), size: metadata.size() });
            }
        }
    }
    found.sort();
    found
}

/// The files that hold blobs' bytes.
pub fn blob_files(root: &Path) -> Vec<File> {
    files(&root.join("blobs"))
}

/// The files of unfinished uploads.
pub fn upload_files(root: &Path) -> Vec<File> {
    files(&root.join("uploads"))
}

/// Flips one bit in the middle of a file, as a failing disk does.
///
/// # Panics
/// If the file cannot be read or written.
pub fn damage(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let middle = file.metadata().expect("an open file has metadata").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("the middle can be read");
    byte[0] ^= 1;
    file.write_all_at(&byte, middle).expect("the middle can be written");
    file.sync_all().expect("the file can be synced");
}
