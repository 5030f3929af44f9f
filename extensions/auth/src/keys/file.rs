//! The file of all keys: `accounts/api-keys` below the root of the store, a JSON document. It is written whole under
//! another name, synced, and renamed: it is the state before a change or the one after it, whatever happens.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::key::{Record, RecordError};

/// The largest file, in bytes: 10,000 keys with long labels have some ten million.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The form that is written.
const VERSION: u32 = 1;

/// Why the keys cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {reason}; restore the file, or move it away and have every key made anew", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{}: {error}; restore the file, or move it away and have every key made anew", path.display())]
    Record { path: PathBuf, error: RecordError },
}

/// All that is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    version: u32,
    pub owners: BTreeMap<String, OwnerRecord>,
}

/// What is kept of somebody who has keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerRecord {
    /// His groups, as far as nobody can be asked about them.
    pub groups: Vec<Box<str>>,
    pub keys: Vec<Record>,
}

impl Document {
    pub fn new(owners: BTreeMap<String, OwnerRecord>) -> Self {
        Document { version: VERSION, owners }
    }
}

/// Reads the file; without one there are no keys.
pub fn read(path: &Path) -> Result<Document, KeysError> {
    let unreadable = |source| KeysError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Document::new(BTreeMap::new())),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    let damaged = |reason: String| KeysError::Damaged { path: path.to_owned(), reason };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(damaged(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    // The message of the parser names a place, and nothing of what is there.
    let document: Document = serde_json::from_slice(&text)
        .map_err(|error| damaged(format!("it is damaged in line {}, column {}", error.line(), error.column())))?;
    match document.version {
        VERSION => Ok(document),
        other => Err(damaged(format!("it has version {other}, and this program knows {VERSION}"))),
    }
}

/// Has the file be this document, durably. Errors: it is as it was.
pub fn write(path: &Path, document: &Document) -> io::Result<()> {
    let text = serde_json::to_vec(document)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{} would have more than {FILE_BYTES_MAX} bytes", path.display())));
    }
    let directory = path.parent().ok_or_else(|| io::Error::other("a file without a directory"))?;
    if !directory.exists() {
        DirBuilder::new().mode(0o700).create(directory)?;
        if let Some(root) = directory.parent() {
            File::open(root)?.sync_all()?;
        }
    }
    let staged = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&staged)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_for_nobody_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("accounts").join("api-keys");
        assert!(read(&path).expect("none").owners.is_empty());
        let owner = OwnerRecord { groups: vec!["a".into()], keys: Vec::new() };
        let document = Document::new(BTreeMap::from([("alice".to_owned(), owner)]));
        write(&path, &document).expect("written");
        write(&path, &document).expect("written again");
        assert_eq!(*read(&path).expect("there").owners["alice"].groups[0], *"a");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a parent"))), (0o600, 0o700));
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn what_cannot_be_understood_is_no_empty_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api-keys");
        for text in ["", "{}", "[]", r#"{"version":2,"owners":{}}"#, r#"{"version":1,"owners":{},"more":"secret"}"#] {
            fs::write(&path, text).expect("written");
            let error = read(&path).map(drop).expect_err("refused").to_string();
            assert!(error.contains("restore") && !error.contains("secret"), "{error}");
        }
    }
}
