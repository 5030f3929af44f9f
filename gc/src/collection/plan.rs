//! What a collection intends, as a value.

use std::{fmt, ops::AddAssign};

use orlop_engine::{
    Digest, Namespace,
    collect::{Candidate, Sweep},
};
use serde::{Serialize, Serializer};

/// What kind of thing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A membership; the content may have other holders.
    Member,
    /// Stored content.
    Content,
    /// A session without a writer.
    Upload,
    /// A namespace without members.
    Namespace,
}

/// Why it goes. The words are part of the output of commands and of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// No document needs it and no name points at it.
    Unneeded,
    /// A document that no name points at and no document needs.
    Unnamed,
    /// A document that refers to something that is gone.
    Orphaned,
    /// No namespace holds the content.
    Unheld,
    /// A file that no record points at.
    Unrecorded,
    /// Nobody goes on with the upload.
    Abandoned,
    /// The namespace has no members.
    Empty,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal,)+ }) => {
        impl $type {
            /// As it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! { Kind { Member = "member", Content = "content", Upload = "upload", Namespace = "namespace", } }
words! {
    Reason {
        Unneeded = "unneeded",
        Unnamed = "unnamed",
        Orphaned = "orphaned",
        Unheld = "unheld",
        Unrecorded = "unrecorded",
        Abandoned = "abandoned",
        Empty = "empty",
    }
}

/// One thing that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removal {
    pub kind: Kind,
    pub reason: Reason,
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Bytes that become free.
    pub bytes: u64,
}

fn shown<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// How much of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub members: u64,
    pub contents: u64,
    /// Bytes of contents.
    pub bytes: u64,
    pub uploads: u64,
    pub namespaces: u64,
}

impl Totals {
    pub(super) fn add(&mut self, removal: &Removal) {
        match removal.kind {
            Kind::Member => self.members += 1,
            Kind::Content => {
                self.contents += 1;
                self.bytes += removal.bytes;
            }
            Kind::Upload => self.uploads += 1,
            Kind::Namespace => self.namespaces += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} members, {} contents ({} bytes), {} uploads, {} namespaces",
            self.members, self.contents, self.bytes, self.uploads, self.namespaces
        )
    }
}

/// Entries of the garbage table that stay there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Somebody was told that it is there.
    pub leased: u64,
    /// Its delay is not over.
    pub young: u64,
    /// A rule keeps it.
    pub ruled: u64,
}

impl AddAssign for Waiting {
    fn add_assign(&mut self, more: Waiting) {
        self.leased += more.leased;
        self.young += more.young;
        self.ruled += more.ruled;
    }
}

/// What a collection would remove, and why, as one snapshot shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The epoch of the snapshot.
    pub epoch: u64,
    /// Entries of the garbage table that were looked at.
    pub looked_at: u64,
    pub totals: Totals,
    pub waiting: Waiting,
    pub removals: Vec<Removal>,
    /// Whether the whole table was looked at; if not, there is more.
    pub is_whole: bool,
    #[serde(skip)]
    pub(super) steps: Vec<Step>,
    #[serde(skip)]
    pub(super) next: Option<Candidate>,
}

/// A step for the engine and the removal it is for, if it is for one.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub sweep: Sweep,
    pub removal: Option<usize>,
}

/// A table for people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.removals.is_empty() {
            writeln!(f, "{:<10} {:<10} {:>14} WHAT", "KIND", "REASON", "BYTES")?;
        }
        for removal in &self.removals {
            write!(f, "{:<10} {:<10} {:>14} ", removal.kind, removal.reason, removal.bytes)?;
            match (&removal.namespace, &removal.digest) {
                (Some(namespace), Some(digest)) => writeln!(f, "{namespace} {digest}")?,
                (Some(namespace), None) => writeln!(f, "{namespace}")?,
                (None, Some(digest)) => writeln!(f, "{digest}")?,
                (None, None) => writeln!(f)?,
            }
        }
        writeln!(f, "{}", self.totals)?;
        let Waiting { leased, young, ruled } = self.waiting;
        write!(
            f,
            "{} candidates looked at: {leased} leased, {young} within their delay, {ruled} kept by rules",
            self.looked_at
        )?;
        if !self.is_whole {
            write!(f, "\nand there are more candidates")?;
        }
        Ok(())
    }
}
