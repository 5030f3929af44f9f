//! A registry with users and policies, over real sockets: the matrix of permissions, and what depends on what is
//! stored.

#[cfg(feature = "conditions")]
mod conditions;
#[cfg(feature = "bearer")]
mod foreign;
#[cfg(feature = "bearer")]
mod issuer;
mod logins;
mod matrix;
mod repositories;
mod rig;
#[cfg(feature = "bearer")]
mod signer;
#[cfg(feature = "bearer")]
mod workload;
