//! A registry with users and policies, over real sockets: the matrix of permissions, and what depends on what is
//! stored.

mod browser;
mod certificates;
mod github;
mod keys;
#[cfg(feature = "ldap")]
mod ldap;
mod logins;
mod matrix;
mod openid;
mod provider;
mod repositories;
mod rig;
mod sessions;
#[cfg(feature = "ldap")]
mod slapd;
mod throttle;
mod uploads;
