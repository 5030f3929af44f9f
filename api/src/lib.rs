//! The OCI distribution protocol over the engine.
//!
//! ```text
//!   server     sockets, TLS, HTTP/1.1 and HTTP/2, time limits; knows nothing of registries
//!     v current    the registry that answers now, which can be exchanged
//!     v registry   one request in, one answer out
//!     v front      who the client is, whether he may send one more, the path below which it all is
//!     v access     who sends it, and whether he may: a seam, and the table of permissions
//!     v router     path and method -> handler              protocol  pure parsing of what clients send
//!     v handlers   one file per noun of the specification  limits    every limit, in one table
//!     v engine     the content-addressed store             body      verified bytes on their way out
//! ```
//!
//! This crate is the only reader of manifests: the engine below it knows digests, labels and edges.
//! The conventions between the two are
//!
//! - a repository is a namespace, a tag is a name in it;
//! - the label of a membership is empty for a blob, and the media type for a manifest;
//! - what is said of a manifest goes in with it, by way of [`document`], whoever brings it;
//! - a manifest *needs* its config, layers or children, and *refers* to its subject; the payload of
//!   that edge is the JSON descriptor that the subject's referrers list shows.
#![forbid(unsafe_code)]

pub mod access;
mod body;
mod cors;
mod current;
pub mod document;
pub mod front;
mod handed;
mod handlers;
pub mod health;
pub mod limits;
mod maintenance;
pub mod metrics;
mod pressure;
pub mod protocol;
mod registry;
mod router;
pub mod server;

pub use body::{BodyError, ResponseBody};
pub use cors::{Cors, CorsError};
pub use current::Current;
pub use maintenance::{Document, Maintenance, Operators};
pub use registry::{Policy, Registry};
