//! A tree of files as an input says.
//!
//! In a file, `@` and a digit stands for the digest of the file of that number in the input, `#` and a digit
//! for its size and `%` and a digit for its hexadecimal digits, so that what belongs together can be found.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use orlop_engine::{Algorithm, Digest};

/// Files of one input; the rest of it is ignored.
const FILES_MAX: usize = 24;

/// What ends a file; no text has it.
const END: u8 = 0xff;

/// Where files go: what `@` stands for in a path is the digest of the file itself, or of another one.
const PLACES: [&str; 20] = [
    "a/index.json",
    "a/oci-layout",
    "a/blobs/sha256/%",
    "b/c/index.json",
    "b/c/oci-layout",
    "b/c/blobs/sha256/%",
    "index.json",
    "oci-layout",
    "blobs/sha256/%",
    "a/blobs/sha512/%",
    "docker/registry/v2/repositories/a/_manifests/revisions/sha256/%/link",
    "docker/registry/v2/repositories/a/_manifests/tags/v1/current/link",
    "docker/registry/v2/repositories/a/_layers/sha256/%/link",
    "docker/registry/v2/blobs/sha256/%2/%/data",
    "docker/registry/v2/repositories/b/c/_manifests/revisions/sha256/%/link",
    "docker/registry/v2/repositories/b/c/_manifests/tags/v1/current/link",
    // Links and what is no file: the content says where, and where to.
    "LINK",
    "DIRECTORY",
    "FILE",
    "CLOSED",
];

/// Writes the tree.
pub fn write(data: &[u8], root: &Path) {
    fs::create_dir(root).expect("scratch can be written");
    let mut written: Vec<Digest> = Vec::new();
    let mut sizes = Vec::new();
    for file in data.split(|byte| *byte == END).take(FILES_MAX) {
        let Some((place, content)) = file.split_first() else { continue };
        let content = filled_in(content, &written, &sizes);
        let digest = Digest::of(Algorithm::Sha256, &content);
        // A path may have bytes that no file name has, or end below a file: then there is no such file.
        let _ = put(root, PLACES[usize::from(*place) % PLACES.len()], &content, &digest, &written);
        written.push(digest);
        sizes.push(content.len());
    }
}

fn put(root: &Path, place: &str, content: &[u8], own: &Digest, written: &[Digest]) -> io::Result<()> {
    let (first, rest) = match content.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&content[..at], &content[at + 1..]),
        None => (content, &[][..]),
    };
    let named = String::from_utf8_lossy(first).into_owned();
    match place {
        "LINK" => {
            let path = inside(root, &named)?;
            symlink(String::from_utf8_lossy(rest).into_owned(), path)
        }
        "DIRECTORY" => fs::create_dir_all(inside(root, &named)?.join("x")),
        "FILE" => fs::write(inside(root, &named)?, rest),
        "CLOSED" => fs::set_permissions(inside(root, &named)?, fs::Permissions::from_mode(0o000)),
        // A link of distribution is filed under what it names.
        _ if place.ends_with("/link") && !place.contains("/tags/") => {
            let target = written.iter().rev().find(|digest| content == digest.to_string().as_bytes()).unwrap_or(own);
            fs::write(inside(root, &place.replace('%', &target.hex()))?, content)
        }
        _ => {
            let hex = own.hex();
            fs::write(inside(root, &place.replace("%2", &hex[..2]).replace('%', &hex))?, content)
        }
    }
}

/// A path below the root whose directories are there, and which is reached over no link: this writes only
/// into its own tree.
fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut inside = root.to_owned();
    let mut components = Path::new(path).components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(io::ErrorKind::InvalidInput.into()) };
        inside.push(name);
        if components.peek().is_some() && !inside.is_dir() {
            fs::create_dir(&inside)?;
        }
        if inside.is_symlink() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    }
    Ok(inside)
}

fn filled_in(content: &[u8], written: &[Digest], sizes: &[usize]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some((byte, more)) = rest.split_first() {
        rest = more;
        let number = more.first().filter(|digit| digit.is_ascii_digit()).map(|digit| usize::from(digit - b'0'));
        let known = number.and_then(|number| Some((written.get(number)?, sizes.get(number)?)));
        match (byte, known) {
            (b'@', Some((digest, _))) => filled.extend(digest.to_string().bytes()),
            (b'#', Some((_, size))) => filled.extend(size.to_string().bytes()),
            (b'%', Some((digest, _))) => filled.extend(digest.hex().bytes()),
            _ => {
                filled.push(*byte);
                continue;
            }
        }
        rest = &more[1..];
    }
    filled
}
