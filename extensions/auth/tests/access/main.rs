//! A registry with users and policies, over real sockets: the matrix of permissions, and what depends on what is
//! stored.

mod logins;
mod matrix;
mod renewal;
mod repositories;
mod rig;
