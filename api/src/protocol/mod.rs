//! The distribution protocol as pure functions: texts and bytes come in, typed values or a
//! `ProtocolError` come out. Nothing here waits, reads a file or keeps state.
//!
//! What became true when a value of this module exists: it was checked in full. A `Repository` is a
//! name of the specification's grammar, a `Route` has a valid digest, a `Manifest` has no field
//! that two readers could understand differently. No later stage checks again.
//!
//! Source: OCI distribution specification ("spec" below), OCI image specification, RFC 9110.

pub mod base64;
pub mod descriptor;
pub mod error;
pub mod json;
pub mod layout;
pub mod link;
pub mod manifest;
pub mod media_type;
pub mod multipart;
pub mod name;
pub mod percent;
pub mod query;
pub mod range;
pub mod reference;
pub mod route;
pub mod upload_range;

pub use descriptor::Descriptor;
pub use error::{ErrorCode, ProtocolError};
pub use manifest::{Manifest, Need};
pub use media_type::ManifestType;
pub use name::Repository;
pub use query::Query;
pub use range::{ByteRange, Selection};
pub use reference::{Reference, Tag};
pub use route::{Account, Route, RouteError};
