//! Index keys. A namespace in a key ends with NUL (it can have none), a digest has the length its
//! first byte tells, so every prefix below is unambiguous and every look-up by prefix stays within
//! one namespace.

use crate::{Digest, Namespace, commit::EdgeKind};

/// `Namespaces`: the namespace itself.
pub fn namespace(namespace: &Namespace) -> Vec<u8> {
    namespace.as_str().as_bytes().to_vec()
}

/// The prefix of everything of one namespace in the tables keyed by it.
pub fn within(namespace: &Namespace) -> Vec<u8> {
    let mut key = Vec::with_capacity(namespace.as_str().len() + 72);
    key.extend_from_slice(namespace.as_str().as_bytes());
    key.push(0);
    key
}

/// `Members`, and `Usage` of those that are documents: namespace NUL digest.
pub fn member(namespace: &Namespace, digest: &Digest) -> Vec<u8> {
    let mut key = within(namespace);
    digest.encode(&mut key);
    key
}

/// `Holders`: digest namespace.
pub fn holder(digest: &Digest, namespace: &Namespace) -> Vec<u8> {
    let mut key = digest.to_key();
    key.extend_from_slice(namespace.as_str().as_bytes());
    key
}

/// `Names`: namespace NUL name.
pub fn name(namespace: &Namespace, name: &str) -> Vec<u8> {
    let mut key = within(namespace);
    key.extend_from_slice(name.as_bytes());
    key
}

/// `Bindings`: namespace NUL digest name.
pub fn binding(namespace: &Namespace, digest: &Digest, name: &str) -> Vec<u8> {
    let mut key = member(namespace, digest);
    key.extend_from_slice(name.as_bytes());
    key
}

/// `Edges` with (source, target), `Reverse` with (target, source): namespace NUL digest kind digest.
pub fn edge(namespace: &Namespace, from: &Digest, kind: EdgeKind, to: &Digest) -> Vec<u8> {
    let mut key = edges(namespace, from, kind);
    to.encode(&mut key);
    key
}

/// The prefix of all edges of one kind at one digest.
pub fn edges(namespace: &Namespace, from: &Digest, kind: EdgeKind) -> Vec<u8> {
    let mut key = member(namespace, from);
    key.push(kind as u8);
    key
}

/// `Garbage`, a member that is new or lost what kept it, or something that is no member any more
/// and was referred to: namespace NUL digest.
pub fn candidate(namespace: &Namespace, digest: &Digest) -> Vec<u8> {
    member(namespace, digest)
}

/// `Garbage`, content that lost its last holder: NUL digest.
pub fn unheld(digest: &Digest) -> Vec<u8> {
    let mut key = vec![0];
    digest.encode(&mut key);
    key
}

/// `Garbage`, a namespace that lost a member: namespace NUL.
pub fn emptied(namespace: &Namespace) -> Vec<u8> {
    within(namespace)
}

/// `Sizes`, a namespace: namespace NUL, which is [`within`]. A quota: NUL prefix.
pub fn quota(prefix: &str) -> Vec<u8> {
    let mut key = vec![0];
    key.extend_from_slice(prefix.as_bytes());
    key
}

/// `Meta`: there when the table `Sizes` has a row for every namespace.
pub const SIZED: &[u8] = b"sized";

/// `Meta`: how many namespaces there are and may be, while that is limited.
pub const NAMESPACES: &[u8] = b"namespaces";

/// `Meta`: the collection epoch, a counter of 64 bits.
pub const EPOCH: &[u8] = b"epoch";

/// `Meta`: where the store's clock stood, 64 bits.
pub const CLOCK: &[u8] = b"clock";

/// `Meta`: the format version, 32 bits.
pub const FORMAT: &[u8] = b"format";

/// `Meta`: present while a process has the store open, and after one that did not close it.
pub const UNCLEAN: &[u8] = b"unclean";

/// `Meta`: present while files that no record points to may be left from an unclean end.
pub const ORPHANS: &[u8] = b"orphans";

/// `Meta`: how far the journal is; absent while it does not have every change.
pub const JOURNAL: &[u8] = b"journal";

/// Splits namespace NUL rest.
pub fn split_namespace(key: &[u8]) -> Option<(Namespace, &[u8])> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let namespace = Namespace::new(std::str::from_utf8(&key[..end]).ok()?).ok()?;
    Some((namespace, &key[end + 1..]))
}

/// Splits an `Edges` or `Reverse` key.
pub fn split_edge(key: &[u8]) -> Option<(Namespace, Digest, EdgeKind, Digest)> {
    let (namespace, rest) = split_namespace(key)?;
    let (from, rest) = Digest::decode(rest)?;
    let (kind, rest) = rest.split_first()?;
    let (to, rest) = Digest::decode(rest)?;
    rest.is_empty().then_some((namespace, from, EdgeKind::from_code(*kind)?, to))
}

/// The kind in an `Edges` or `Reverse` key.
pub fn edge_kind(key: &[u8]) -> Option<EdgeKind> {
    let end = key.iter().position(|byte| *byte == 0)?;
    let (_, rest) = Digest::decode(&key[end + 1..])?;
    EdgeKind::from_code(*rest.first()?)
}

/// Splits a key that is namespace NUL digest.
pub fn split_member(key: &[u8]) -> Option<(Namespace, Digest)> {
    let (namespace, rest) = split_namespace(key)?;
    let (digest, rest) = Digest::decode(rest)?;
    rest.is_empty().then_some((namespace, digest))
}

/// Splits a `Holders` key.
pub fn split_holder(key: &[u8]) -> Option<(Digest, Namespace)> {
    let (digest, rest) = Digest::decode(key)?;
    Some((digest, Namespace::new(std::str::from_utf8(rest).ok()?).ok()?))
}

/// Splits a `Bindings` key.
pub fn split_binding(key: &[u8]) -> Option<(Namespace, Digest, &str)> {
    let (namespace, rest) = split_namespace(key)?;
    let (digest, rest) = Digest::decode(rest)?;
    Some((namespace, digest, std::str::from_utf8(rest).ok()?))
}
