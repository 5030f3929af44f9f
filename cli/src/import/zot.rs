//! A zot root: every repository is an OCI layout in the directory of its name, repositories may lie
//! within each other, and beside them are zot's own files: `cache.db` and `meta.db`, sessions, keys,
//! databases of a scanner. Content that several repositories have is hard-linked between them, so
//! the database about it is not needed.

use std::io;

use orlop_api::protocol::Repository;

use super::{
    layout,
    source::{Oddity, Place, Places},
    tree::{Tree, join},
};

/// Every directory that is a layout and whose path is the name of a repository, in byte order.
pub fn places(tree: &Tree) -> io::Result<Places> {
    let mut found = Places::default();
    let mut waiting = vec![String::new()];
    while let Some(directory) = waiting.pop() {
        for name in tree.directories(&directory)? {
            if is_inside_of_repository(&name) {
                continue;
            }
            let path = join(&directory, &name);
            match (Repository::parse(&path), layout::is_layout(tree, &path)) {
                (Ok(repository), true) => found.places.push(Place { repository, path: path.clone() }),
                (Ok(_), false) => {}
                (Err(error), true) => {
                    found.oddities.push(Oddity { path: tree.shown(&path), reason: error.to_string() });
                    continue;
                }
                // What lies below cannot have the name of a repository either.
                (Err(_), false) => continue,
            }
            waiting.push(path);
        }
    }
    found.places.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Directories of a repository that hold its content and zot's work in progress.
fn is_inside_of_repository(name: &str) -> bool {
    name == "blobs" || name.ends_with(".uploads") || name.ends_with(".sync")
}
