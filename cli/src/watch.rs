//! Whether a file is another one than before.
//!
//! In: a path, looked at now and then. Out: once, that its content is another one. It is found by its path each time:
//! so that it may be written in place, replaced, or be behind a link that is moved, as those of mounted secrets are.
//!
//! A file that is being written is not to be believed: half of it may be valid, and say less than all of it. So
//! what is new counts when it is the same at two looks one after the other.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

/// While a file is younger than that, its times do not tell one state from the next: clocks of file systems tick as
/// slowly as every two seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// What is read of a file, in bytes: the largest configuration.
const READ_BYTES_MAX: u64 = 16 << 20;

/// Device, inode, length, and the times of content and inode.
type Mark = (u64, u64, u64, (i64, i64), (i64, i64));

/// The hash of what is in a file; `None` if it cannot be read.
type Content = Option<[u8; 32]>;

/// A file, and what was last seen of it.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    /// What was told of last.
    known: Content,
    /// What was found by the last look.
    found: Content,
    /// Tells by itself that nothing has changed since the last look.
    mark: Option<Mark>,
}

impl Watched {
    /// Everything that is there now is known.
    pub fn new(path: &Path) -> Self {
        let mut watched = Watched { path: path.to_owned(), known: None, found: None, mark: None };
        watched.look();
        watched.known = watched.found;
        watched
    }

    /// Whether there is something new, which is known from now on. A file that is gone is something new as well.
    pub fn has_changed(&mut self) -> bool {
        let before = self.found;
        self.look();
        let is_new = self.found == before && self.found != self.known;
        if is_new {
            self.known = self.found;
        }
        is_new
    }

    fn look(&mut self) {
        let Ok(metadata) = fs::metadata(&self.path) else {
            (self.found, self.mark) = (None, None);
            return;
        };
        let times = ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
        let mark = (metadata.dev(), metadata.ino(), metadata.len(), times.0, times.1);
        if self.mark == Some(mark) {
            return;
        }
        let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        self.mark = Some(mark).filter(|_| age.is_some_and(|age| age > SETTLED_AFTER));
        self.found = read(&self.path).ok();
    }
}

fn read(path: &Path) -> io::Result<[u8; 32]> {
    let mut content = Vec::new();
    File::open(path)?.take(READ_BYTES_MAX).read_to_end(&mut content)?;
    Ok(Sha256::digest(&content).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn looks<const N: usize>(watched: &mut Watched) -> [bool; N] {
        [(); N].map(|()| watched.has_changed())
    }

    #[test]
    fn what_is_new_is_told_once_it_stays() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("c.json");
        fs::write(&path, "one").expect("written");
        let mut watched = Watched::new(&path);
        assert_eq!(looks(&mut watched), [false, false, false], "nothing has changed");

        fs::write(&path, "two").expect("written in place, with the same length");
        assert_eq!(looks(&mut watched), [false, true, false]);

        fs::write(&path, "half of").expect("written");
        assert!(!watched.has_changed());
        fs::write(&path, "half of three").expect("written");
        assert_eq!(looks(&mut watched), [false, true, false], "only all of it counts");

        fs::write(&path, "four").expect("written");
        assert!(!watched.has_changed());
        fs::write(&path, "half of three").expect("written");
        assert_eq!(looks(&mut watched), [false, false], "back to what was known");
    }

    #[test]
    fn files_may_be_replaced_linked_removed_and_come_back() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("v1")).expect("made");
        fs::create_dir(at("v2")).expect("made");
        fs::write(at("v1/c.json"), "one").expect("written");
        fs::write(at("v2/c.json"), "two").expect("written");
        symlink("v1", at("data")).expect("linked");
        symlink("data/c.json", at("c.json")).expect("linked");
        let mut watched = Watched::new(&at("c.json"));
        assert_eq!(looks(&mut watched), [false, false]);
        // As Kubernetes does with what it mounts.
        symlink("v2", at("data.new")).expect("linked");
        fs::rename(at("data.new"), at("data")).expect("renamed");
        assert_eq!(looks(&mut watched), [false, true, false]);
        fs::remove_file(at("data")).expect("removed");
        assert_eq!(looks(&mut watched), [false, true, false]);
        symlink("v2", at("data")).expect("linked");
        assert_eq!(looks(&mut watched), [false, true, false]);
    }
}
