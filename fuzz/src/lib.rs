//! Fuzz targets for everything that reads what strangers send.
//!
//! Bytes come in; a target compares the reader under test with a slow, obvious one, or checks what
//! must hold of any result. It panics if they disagree. `cargo test` replays the committed corpora
//! (`fuzz/corpus/<target>/`); `scripts/fuzz` searches for new inputs.

pub mod digests;
pub mod engine;
pub mod http;
pub mod manifests;
pub mod names;
pub mod queries;
pub mod ranges;
pub mod records;
pub mod references;
pub mod routes;
pub mod upload_ranges;
pub mod wire;

mod server;
mod slow;

/// A target: its name, which is that of its corpus and its binary, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: [Target; 12] = [
    ("names", names::run),
    ("digests", digests::run),
    ("references", references::run),
    ("routes", routes::run),
    ("queries", queries::run),
    ("ranges", ranges::run),
    ("upload_ranges", upload_ranges::run),
    ("manifests", manifests::run),
    ("records", records::run),
    ("wire", wire::run),
    ("engine", engine::run),
    ("http", http::run),
];
