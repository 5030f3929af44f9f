//! The thread that appends lines to the file.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::queue::{Counts, Queue, Work};

/// Bytes written at once, about: less for a line of its own, more by the last line.
const CHUNK_BYTES: usize = 64 << 10;

/// How often lost lines are told of at most.
const ALARM_PERIOD: Duration = Duration::from_secs(10);

/// Starts the thread, and one that tells of lost lines: the first may be stuck in a write that never ends.
/// Errors: the system has no thread.
pub fn start(queue: Arc<Queue>) -> io::Result<()> {
    let lines = queue.clone();
    let write = move || {
        let mut output: Option<Output> = None;
        loop {
            match (lines.take(), &mut output) {
                (Work::Lines(texts), Some(output)) => lines.done(output.write(&texts)),
                // Said while it was being closed.
                (Work::Lines(_), None) => lines.done(Counts::default()),
                (Work::Output(next), _) => output = next,
            }
        }
    };
    thread::Builder::new().name("audit".to_owned()).spawn(write)?;
    let warn = move || {
        loop {
            let (lost, path) = queue.lost();
            let path = path.as_deref().unwrap_or(Path::new("-"));
            tracing::error!(lost, path = %path.display(), "lines of the audit log were lost; is its disk full or dead?");
            thread::sleep(ALARM_PERIOD);
        }
    };
    thread::Builder::new().name("audit-alarm".to_owned()).spawn(warn)?;
    Ok(())
}

/// Lines name repositories and clients, so the file is made for its owner alone.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// The file of the log.
pub struct Output {
    path: PathBuf,
    /// None after a failure: it is opened again.
    file: Option<File>,
    /// A write failed, and may have left a part of a line.
    is_cut: bool,
}

impl Output {
    /// Errors: it cannot be opened for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Output { path: path.to_owned(), file: Some(open(path)?), is_cut: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, lines: &VecDeque<String>) -> Counts {
        let mut counts = Counts::default();
        let mut chunk = String::new();
        let mut count = 0;
        for (index, line) in lines.iter().enumerate() {
            chunk.push_str(line);
            count += 1;
            if chunk.len() < CHUNK_BYTES && index + 1 < lines.len() {
                continue;
            }
            match self.append(&chunk) {
                Ok(()) => counts.written += count,
                Err(_) => counts.lost += count,
            }
            chunk.clear();
            count = 0;
        }
        counts
    }

    fn append(&mut self, chunk: &str) -> io::Result<()> {
        if self.is_moved() {
            // Nothing is lost with the old one: all its lines are complete.
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path)?),
        };
        let mut write = || {
            if self.is_cut {
                file.write_all(b"\n")?;
                self.is_cut = false;
            }
            file.write_all(chunk.as_bytes())
        };
        write().inspect_err(|_| {
            self.is_cut = true;
            self.file = None;
        })
    }

    /// Whether somebody moved the file away, as rotation does, and its name is another one now.
    fn is_moved(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(identity);
        open.is_none() || open != fs::metadata(&self.path).ok().map(identity)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn output(path: &Path) -> Output {
        Output::open(path).expect("opens")
    }

    fn lines(texts: &[&str]) -> VecDeque<String> {
        texts.iter().map(|text| format!("{text}\n")).collect()
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_for_its_owner() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
        let mut output = output(&path);
        assert_eq!(output.write(&lines(&["1", "2"])), Counts { written: 2, lost: 0 });
        fs::rename(&path, &old).expect("moved");
        assert_eq!(output.write(&lines(&["3"])), Counts { written: 1, lost: 0 });
        assert_eq!(fs::read_to_string(&old).expect("read"), "1\n2\n");
        assert_eq!(fs::read_to_string(&path).expect("read"), "3\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn many_lines_are_written_in_chunks() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path().join("audit.log");
        let long = "x".repeat(CHUNK_BYTES / 3);
        let texts = [long.as_str(); 10];
        assert_eq!(output(&path).write(&lines(&texts)), Counts { written: 10, lost: 0 });
        assert_eq!(fs::read_to_string(&path).expect("read").lines().count(), 10);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_the_next_line_begins_anew() {
        let mut output = output(Path::new("/dev/full"));
        assert_eq!(output.write(&lines(&["1", "2"])), Counts { written: 0, lost: 2 });
        let directory = tempfile::tempdir().expect("a scratch directory");
        output.path = directory.path().join("audit.log");
        assert_eq!(output.write(&lines(&["3"])), Counts { written: 1, lost: 0 });
        assert_eq!(fs::read_to_string(&output.path).expect("read"), "\n3\n");
        output.path = "/nowhere/at/all/audit.log".into();
        assert_eq!(output.write(&lines(&["4"])), Counts { written: 0, lost: 1 });
    }
}
