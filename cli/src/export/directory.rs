//! The directory that becomes an OCI layout.
//!
//! Every file appears whole or not at all: a link is whole by nature, everything else is written
//! under another name and renamed. `index.json` comes last, after everything else is durable.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use orlop_api::protocol::layout::{Entry, INDEX_BYTES_MAX, Index, MARKER};
use orlop_engine::{Algorithm, Blob, Error, io::Linked};

use super::Halt;
use crate::exit::{Exit, Failure};

/// Where a file is written before it gets its name; one at a time.
const PARTIAL: &str = ".orlop-partial";

/// Content up to so many bytes is written in one piece.
const PIECE_BYTES_MAX: usize = 1 << 20;

pub struct Directory {
    path: PathBuf,
    /// `blobs/ALGORITHM` for each algorithm, in the order of [`Algorithm::ALL`].
    blobs: [Arc<File>; Algorithm::ALL.len()],
    may_copy: bool,
}

/// How content came into the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Linked,
    Copied,
    Written,
    /// It is there from an earlier time.
    Present,
}

impl Directory {
    /// Makes a layout of a new or empty directory, or goes on with one. Errors: the directory holds
    /// something else, or cannot be written.
    pub fn open(path: &Path, may_copy: bool) -> Result<Self, Failure> {
        let failed = |error: io::Error| failure(path, &error);
        fs::create_dir_all(path).map_err(failed)?;
        let marker = path.join("oci-layout");
        if !marker.is_file() {
            let mut entries = fs::read_dir(path).map_err(failed)?;
            if entries.any(|entry| entry.map_or(true, |entry| entry.file_name() != PARTIAL)) {
                let message = format!(
                    "{} is neither empty nor an OCI layout (it has no file oci-layout); choose another directory",
                    path.display()
                );
                return Err(Failure::new(Exit::Configuration, message));
            }
            write_whole(path, "oci-layout", |file| file.write_all(MARKER.as_bytes())).map_err(failed)?;
        }
        let open = |algorithm: Algorithm| {
            let directory = path.join("blobs").join(algorithm.name());
            // SHA-256 is expected to be there; the others only if they are used.
            fs::create_dir_all(&directory)?;
            Ok(Arc::new(File::open(directory)?))
        };
        let [one, two, three] = Algorithm::ALL;
        let blobs = [open(one).map_err(failed)?, open(two).map_err(failed)?, open(three).map_err(failed)?];
        Ok(Directory { path: path.to_owned(), blobs, may_copy })
    }

    /// Puts content where the layout has it. A file that is written gets the time `modified_ms`,
    /// milliseconds since 1970, so that an import of the layout knows when it was pushed.
    pub async fn give(&self, blob: &Blob, modified_ms: Option<u64>) -> Result<Given, Halt> {
        let digest = blob.digest();
        let directory = format!("blobs/{}", digest.algorithm());
        let (relative, hex) = (format!("{directory}/{}", digest.hex()), digest.hex());
        let path = self.path.join(&relative);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() && found.len() == blob.size() => return Ok(Given::Present),
            // What is there is something else, or not whole.
            Ok(_) => fs::remove_file(&path).map_err(|error| failure(&path, &error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failure(&path, &error).into()),
        }
        let place = Algorithm::ALL.iter().position(|algorithm| *algorithm == digest.algorithm());
        let target = &self.blobs[place.expect("every algorithm is in the list")];
        match blob.link_into(target, &hex).await {
            Ok(Some(Linked::New | Linked::Exists)) => return Ok(Given::Linked),
            Ok(None) => {}
            Err(Error::CannotLink { .. }) if self.may_copy => {}
            Err(error @ Error::CannotLink { .. }) => return Err(cannot_link(&self.path, &error).into()),
            Err(error) => return Err(error.into()),
        }
        let is_small = blob.size() <= PIECE_BYTES_MAX as u64;
        self.write(blob, &relative, modified_ms).await?;
        Ok(if is_small { Given::Written } else { Given::Copied })
    }

    /// Writes content out of the store, verified.
    async fn write(&self, blob: &Blob, relative: &str, modified_ms: Option<u64>) -> Result<(), Halt> {
        let partial = self.path.join(PARTIAL);
        let failed = |error: io::Error| failure(&partial, &error);
        let mut file = File::create(&partial).map_err(failed)?;
        let mut reader = blob.read(0..blob.size());
        while let Some(part) = reader.next().await {
            file.write_all(&part?).map_err(failed)?;
        }
        if let Some(modified_ms) = modified_ms {
            let modified = UNIX_EPOCH + Duration::from_millis(modified_ms);
            file.set_times(FileTimes::new().set_modified(modified)).map_err(failed)?;
        }
        fs::rename(&partial, self.path.join(relative)).map_err(failed)?;
        Ok(())
    }

    /// Replaces `index.json`. With `keeps_others`, what it listed before stays, except tags that
    /// are listed anew.
    pub fn list(&self, mut entries: Vec<Entry>, keeps_others: bool) -> Result<(), Failure> {
        let failed = |error: io::Error| failure(&self.path, &error);
        // All names and bytes first: one call for the whole file system instead of one for each file.
        rustix::fs::syncfs(&self.blobs[0]).map_err(|errno| failed(errno.into()))?;
        if keeps_others {
            entries.extend(self.others(&entries)?);
        }
        write_whole(&self.path, "index.json", |file| file.write_all(&Index::write(&entries))).map_err(failed)
    }

    /// Entries of the present `index.json` that `entries` says nothing about.
    fn others(&self, entries: &[Entry]) -> Result<Vec<Entry>, Failure> {
        let path = self.path.join("index.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|error| failure(&path, &error))?,
        };
        if text.len() as u64 > INDEX_BYTES_MAX {
            let message = format!("{} has more than {INDEX_BYTES_MAX} bytes", path.display());
            return Err(Failure::new(Exit::Configuration, message));
        }
        let index = Index::read(&text)
            .map_err(|reason| Failure::new(Exit::Configuration, format!("{}: {reason}", path.display())))?;
        let is_said = |other: &Entry| match other.tag() {
            Some(tag) => entries.iter().any(|entry| entry.tag() == Some(tag)),
            None => entries.iter().any(|entry| entry.tag().is_none() && entry.digest() == other.digest()),
        };
        Ok(index.entries.into_iter().filter(|other| !is_said(other)).collect())
    }
}

/// Writes a file under another name, makes it durable, and gives it its name.
fn write_whole(directory: &Path, name: &str, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let partial = directory.join(PARTIAL);
    let mut file = File::create(&partial)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&partial, directory.join(name))?;
    File::open(directory)?.sync_all()
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Root, format!("cannot write {}: {error}", path.display()))
}

fn cannot_link(path: &Path, error: &Error) -> Failure {
    let message = format!(
        "{error}: hard links need the store and {} on one file system; choose a directory there, or copy with --copy",
        path.display()
    );
    Failure::new(Exit::Root, message)
}
