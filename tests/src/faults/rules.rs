//! What a store must never do to a disk, whatever comes out in the end.
//!
//! In: each operation before it is done. Out: the rule that it breaks.

use super::{Class, Kind, tree::Tree};

/// The directory that the store is in, below the mount point.
pub const STORE: &str = "root";

/// What an operation is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The node that it works on, if there is one already.
    pub node: Option<u64>,
    /// The path that the node has, or gets.
    pub path: Option<&'a str>,
}

/// The rule that an operation breaks.
pub fn broken(tree: &Tree, kind: Kind, subject: Subject<'_>) -> Option<String> {
    let Subject { node, path } = subject;
    let class = Class::of(path);
    let shown = path.unwrap_or("a file without a name");
    match kind {
        Kind::Write | Kind::Resize | Kind::Allocate if class == Class::Blob => {
            Some(format!("{kind:?} of {shown}, which has its final name"))
        }
        Kind::Link | Kind::Rename if class == Class::Blob => {
            let is_durable = node.is_some_and(|node| tree.file(node).is_ok_and(super::pages::File::is_durable));
            (!is_durable).then(|| format!("{kind:?} to {shown}: it gets its final name before its bytes are durable"))
        }
        Kind::Create if class == Class::Blob => Some(format!("{shown} is made under its final name")),
        Kind::Create | Kind::MakeDirectory | Kind::Link | Kind::Rename => {
            let is_inside = path.is_some_and(|path| path == STORE || path.starts_with(&format!("{STORE}/")));
            (!is_inside).then(|| format!("{kind:?} of {shown}, outside the store"))
        }
        _ => None,
    }
}
