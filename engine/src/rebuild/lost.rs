//! Telling a store that lost its index from one that never had content.

use std::{fs, io, path::Path};

use super::index_path;
use crate::{
    error::{Error, Result},
    journal,
};

/// Refuses a root that has content but no index: an empty index beside it would look like an empty
/// store, and let its content be collected. Errors: `Store`.
pub(crate) fn refuse_lost_index(root: &Path) -> Result<()> {
    let failed = |source| Error::io("reading the root", source);
    let path = index_path(root);
    // The file that names RocksDB's current state.
    if path.join("CURRENT").exists() {
        return Ok(());
    }
    let found = match () {
        () if journal::has_content(&root.join(journal::DIRECTORY)).map_err(failed)? => "a journal",
        () if has_file(&root.join("blobs")).map_err(failed)? => "content under blobs/",
        () => return Ok(()),
    };
    let root = root.display();
    let reason = format!(
        "the index is missing, but there is {found}; run `orlop rebuild --root {root}` to make it again, or restore it"
    );
    Err(Error::Store { path, reason })
}

/// Says of a damaged index where it is and what can be done; every other error stays as it is.
pub(crate) fn with_remedy(root: &Path, error: Error) -> Error {
    match error {
        // As the index names itself: it does not know where it is.
        Error::Store { path, reason } if path == Path::new("index") => {
            let shown = root.display();
            let reason = format!(
                "{reason}; restore it from a backup, or let `orlop rebuild --replace --root {shown}` make it again from \
                 the journal"
            );
            Error::Store { path: index_path(root), reason }
        }
        other => other,
    }
}

/// Whether any file lies below a directory; one that does not exist has none.
fn has_file(directory: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_file(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}
