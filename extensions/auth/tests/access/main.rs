//! A registry with users and policies, over real sockets: the matrix of permissions, and what depends on what is
//! stored.

mod certificates;
mod keys;
#[cfg(feature = "ldap")]
mod ldap;
mod logins;
mod matrix;
mod repositories;
mod rig;
#[cfg(feature = "ldap")]
mod slapd;
