//! What somebody may do, asked where it is decided.

use crate::Namespace;

/// The rights behind a batch. It is asked on the commit thread, about what is true at that moment, so that
/// nothing can change between the permission and the deed. It must be quick and wait for nothing.
pub trait Guard: Send + Sync + 'static {
    /// Whether a name may be bound: one that is new, or one that exists and moves.
    fn may_bind(&self, name: &str, is_new: bool) -> bool;

    /// Whether a name may be removed, by itself or with what it is bound to.
    fn may_unbind(&self, name: &str) -> bool;

    /// Whether content may be taken over from a namespace.
    fn may_mount_from(&self, namespace: &Namespace) -> bool;
}
