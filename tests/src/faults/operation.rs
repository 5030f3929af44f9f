//! What a store does to a disk, as kinds of operations on classes of files: what faults, power cuts and
//! rules are told by.

use std::fmt;

/// What is done. Looking something up is not counted: it changes nothing, and the kernel remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Open,
    Create,
    /// A file without a name is made.
    CreateUnnamed,
    MakeDirectory,
    Link,
    Unlink,
    Rename,
    Read,
    Write,
    Resize,
    Allocate,
    Sync,
    SyncDirectory,
    List,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Open,
        Kind::Create,
        Kind::CreateUnnamed,
        Kind::MakeDirectory,
        Kind::Link,
        Kind::Unlink,
        Kind::Rename,
        Kind::Read,
        Kind::Write,
        Kind::Resize,
        Kind::Allocate,
        Kind::Sync,
        Kind::SyncDirectory,
        Kind::List,
    ];

    /// Those that a full device refuses.
    pub const TAKING_ROOM: [Kind; 9] = [
        Kind::Create,
        Kind::CreateUnnamed,
        Kind::MakeDirectory,
        Kind::Link,
        Kind::Rename,
        Kind::Write,
        Kind::Allocate,
        // Where blocks are chosen late, it is the sync that finds none.
        Kind::Sync,
        Kind::SyncDirectory,
    ];

    pub const SYNCING: [Kind; 2] = [Kind::Sync, Kind::SyncDirectory];

    /// Those that change what is on the disk, or what will stay on it.
    pub const CHANGING: [Kind; 11] = [
        Kind::Create,
        Kind::CreateUnnamed,
        Kind::MakeDirectory,
        Kind::Link,
        Kind::Unlink,
        Kind::Rename,
        Kind::Write,
        Kind::Resize,
        Kind::Allocate,
        Kind::Sync,
        Kind::SyncDirectory,
    ];
}

/// What it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A blob under its final name, or a directory of such.
    Blob,
    /// A file that has no name yet, or that of an upload.
    Upload,
    /// The index's write-ahead log.
    IndexLog,
    /// Sorted tables and large values of the index.
    IndexTable,
    /// What says which files are the index.
    IndexManifest,
    /// Anything else of the index: its directory, locks, settings, diagnostics.
    Index,
    Journal,
    /// Anything else of the store.
    Other,
}

impl Class {
    /// `path` begins with the store's directory; `None` is a file without a name.
    pub fn of(path: Option<&str>) -> Self {
        let Some(path) = path else { return Class::Upload };
        let mut parts = path.split('/').skip(1);
        let name = path.rsplit('/').next().unwrap_or_default();
        match parts.next().unwrap_or_default() {
            "blobs" => Class::Blob,
            "uploads" | "tmp" => Class::Upload,
            "journal" => Class::Journal,
            "index" => match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
                "log" => Class::IndexLog,
                "sst" | "blob" => Class::IndexTable,
                _ if name.starts_with("MANIFEST") || name == "CURRENT" => Class::IndexManifest,
                _ => Class::Index,
            },
            _ => Class::Other,
        }
    }
}

/// One operation, for those who must find out what happened.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Counted from the mount.
    pub number: u64,
    pub kind: Kind,
    pub class: Class,
    /// As far as it has a name.
    pub path: String,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} {:?} {:?} {}", self.number, self.kind, self.class, self.path)
    }
}
