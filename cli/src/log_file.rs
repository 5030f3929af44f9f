//! A file that log lines are appended to, and that can be opened again after somebody has moved it away.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A file under its path. Each line is written whole and at once.
pub struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Lines name repositories and clients, so the file is made for its owner alone.
    /// Errors: it cannot be opened for appending.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = Mutex::new(open(path)?);
        Ok(Arc::new(LogFile { path: path.to_owned(), file }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on in the file that has the path now. What was written is in the old one, whole.
    /// Errors: it cannot be opened; lines go on into the old one.
    pub fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.file() = file;
        Ok(())
    }

    // Nothing panics under the lock.
    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn lines_go_on_in_the_file_that_has_the_path() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let (path, old) = (directory.path().join("log.json"), directory.path().join("log.json.1"));
        let file = LogFile::open(&path).expect("opens");
        let write = |line: &str| (&*file).write_all(line.as_bytes()).expect("written");
        write("1\n");
        fs::rename(&path, &old).expect("moved");
        write("2\n");
        file.reopen().expect("opens again");
        write("3\n");
        assert_eq!(fs::read_to_string(&old).expect("there"), "1\n2\n");
        assert_eq!(fs::read_to_string(&path).expect("there"), "3\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);

        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        file.reopen().expect_err("a directory");
        write("4\n");
    }
}
