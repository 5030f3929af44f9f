//! Everything a namespace says about its documents, and their way out as files.

use std::{fs::File, os::fd::AsFd, sync::Arc};

use super::blob::{Blob, Source};
use crate::{
    Digest, Engine, Namespace,
    commit::decoded,
    error::{Error, Result},
    format::{Malformed, MemberRecord, keys},
    index::Table,
    io::{Linked, foreign},
    store::blocking,
};

/// A document of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub digest: Digest,
    pub label: Vec<u8>,
}

impl Engine {
    /// Documents after `after` in the order of their digests. Looks at `limit` members of the
    /// namespace; gives the last one looked at, to go on after, while there may be more.
    pub async fn documents(
        &self,
        namespace: &Namespace,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<Digest>)> {
        let after = after.map(|digest| keys::member(namespace, digest));
        let pairs = self.store().scan(Table::Members, keys::within(namespace), after, limit).await?;
        let is_last = pairs.len() < limit;
        let (mut documents, mut seen) = (Vec::new(), None);
        for (key, value) in pairs {
            let (_, digest) = keys::split_member(&key).ok_or(Malformed { record: "member key" })?;
            let label = decoded(MemberRecord::decode(&value))?.label;
            seen = Some(digest);
            if !label.is_empty() {
                documents.push(Listed { digest, label });
            }
        }
        Ok((documents, seen.filter(|_| !is_last)))
    }
}

impl Blob {
    /// Gives content that has a file of its own the name `name` in a directory outside the store;
    /// nothing is copied or read. `None` for content that is in the index.
    ///
    /// Errors: `CannotLink`, for a directory on another file system for example; `Io`.
    pub async fn link_into(&self, directory: &Arc<File>, name: &str) -> Result<Option<Linked>> {
        let Source::File(file) = &self.opened.source else { return Ok(None) };
        let (file, directory, name, digest) = (file.clone(), directory.clone(), name.to_owned(), self.digest);
        let linked = move || match foreign::link_out(&file, directory.as_fd(), &name) {
            Ok(linked) => Ok(Some(linked)),
            Err(source) if foreign::refuses_links(&source) => Err(Error::CannotLink { digest, source }),
            Err(source) => Err(Error::io("linking a blob", source)),
        };
        blocking(linked).await
    }
}
