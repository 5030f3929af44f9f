//! Where log lines go, which can be exchanged while they are written.
//!
//! In: lines, and now and then another target. Out: each line whole in one of them. The new target is open before the
//! old one is let go, so that there is no line that goes nowhere.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use tracing_subscriber::fmt::MakeWriter;

use crate::log_file::LogFile;

/// One place for lines. Clones are the same.
#[derive(Clone)]
pub struct Output(Arc<ArcSwap<Target>>);

/// What is at the place.
pub enum Target {
    Nowhere,
    Stdout,
    Stderr,
    File(Arc<LogFile>),
}

/// Writes one line to what was there when it began.
pub struct Line(Guard<Arc<Target>>);

impl Output {
    pub fn new(target: Target) -> Self {
        Output(Arc::new(ArcSwap::from_pointee(target)))
    }

    /// Lines that begin from now on go there.
    pub fn exchange(&self, target: Target) {
        self.0.store(Arc::new(target));
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<Arc<LogFile>> {
        match &**self.0.load() {
            Target::File(file) => Some(file.clone()),
            Target::Nowhere | Target::Stdout | Target::Stderr => None,
        }
    }
}

impl MakeWriter<'_> for Output {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self.0.load())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &**self.0 {
            Target::Nowhere => Ok(bytes.len()),
            Target::Stdout => io::stdout().write(bytes),
            Target::Stderr => io::stderr().write(bytes),
            Target::File(file) => (&**file).write(bytes),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &**self.0 {
            Target::Nowhere => Ok(()),
            Target::Stdout => io::stdout().write_all(bytes),
            Target::Stderr => io::stderr().write_all(bytes),
            Target::File(file) => (&**file).write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &**self.0 {
            Target::Nowhere => Ok(()),
            Target::Stdout => io::stdout().flush(),
            Target::Stderr => io::stderr().flush(),
            Target::File(file) => (&**file).flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_is_whole_in_the_place_where_it_began() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        let output = Output::new(Target::File(LogFile::open(&old).expect("opens")));
        let mut begun = output.make_writer();
        begun.write_all(b"first ").expect("written");
        output.exchange(Target::File(LogFile::open(&new).expect("opens")));
        output.make_writer().write_all(b"second\n").expect("written");
        begun.write_all(b"half\n").expect("written");
        assert_eq!(fs::read_to_string(&old).expect("there"), "first half\n");
        assert_eq!(fs::read_to_string(&new).expect("there"), "second\n");
        assert_eq!(output.file().expect("a file").path(), new);
        output.exchange(Target::Nowhere);
        output.make_writer().write_all(b"third\n").expect("written");
        assert!(output.file().is_none());
        assert_eq!(fs::read_to_string(&new).expect("there"), "second\n");
    }
}
