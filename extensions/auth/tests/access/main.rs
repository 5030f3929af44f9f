//! A registry with users and policies, over real sockets: the matrix of permissions, and what depends on what is
//! stored.

mod browser;
mod certificates;
#[cfg(feature = "conditions")]
mod conditions;
#[cfg(feature = "bearer")]
mod foreign;
mod github;
#[cfg(feature = "bearer")]
mod issuer;
mod keys;
#[cfg(feature = "ldap")]
mod ldap;
mod logins;
mod matrix;
mod openid;
mod provider;
mod renewal;
mod repeats;
mod repositories;
mod rig;
mod sessions;
#[cfg(feature = "bearer")]
mod signer;
#[cfg(feature = "ldap")]
mod slapd;
mod throttle;
mod uploads;
#[cfg(feature = "bearer")]
mod workload;
