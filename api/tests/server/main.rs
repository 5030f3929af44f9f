//! The connection layer over real loopback sockets, with a toy handler instead of a registry.

mod drain;
mod framing;
mod limits;
mod protocols;
mod proxies;
mod repeats;
mod timeouts;
mod toy;
