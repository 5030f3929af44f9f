//! Fuzz targets for everything that reads what strangers send.
//!
//! Bytes come in; a target compares the reader under test with a slow, obvious one, or checks what
//! must hold of any result. It panics if they disagree. `cargo test` replays the committed corpora
//! (`fuzz/corpus/<target>/`); `scripts/fuzz` searches for new inputs.

pub mod configuration;
#[cfg(feature = "auth")]
pub mod credentials;
pub mod digests;
pub mod engine;
#[cfg(feature = "conditions")]
pub mod expressions;
pub mod forwarded;
pub mod globs;
pub mod http;
pub mod import;
#[cfg(feature = "bearer")]
pub mod keys;
pub mod manifests;
pub mod names;
pub mod patterns;
pub mod plain;
#[cfg(feature = "auth")]
pub mod policies;
pub mod queries;
pub mod ranges;
pub mod rebuild;
pub mod records;
pub mod references;
pub mod routes;
#[cfg(feature = "bearer")]
pub mod tokens;
pub mod upload_ranges;
#[cfg(feature = "auth")]
pub mod users;
pub mod wire;

// The binary `orlop` has no library, and needs the index on disk, whose build takes longer than all targets
// together. Its readers are compiled here once more.
#[path = "../../cli/src/config/mod.rs"]
#[allow(dead_code, reason = "the binary and its tests use the rest")]
mod config;
#[path = "../../cli/src/exit.rs"]
#[allow(dead_code, reason = "the binary and its tests use the rest")]
mod exit;
#[path = "../../cli/src/progress.rs"]
mod progress;

mod cursor;
mod positions;
mod scratch;
mod server;
mod slow;

/// A target: its name, which is that of its corpus and its binary, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: &[Target] = &[
    ("names", names::run),
    ("digests", digests::run),
    ("references", references::run),
    ("routes", routes::run),
    ("queries", queries::run),
    ("ranges", ranges::run),
    ("upload_ranges", upload_ranges::run),
    ("manifests", manifests::run),
    ("plain", plain::run),
    ("forwarded", forwarded::run),
    ("configuration", configuration::run),
    ("globs", globs::run),
    ("patterns", patterns::run),
    ("import", import::run),
    ("records", records::run),
    ("rebuild", rebuild::run),
    ("wire", wire::run),
    ("engine", engine::run),
    ("http", http::run),
    #[cfg(feature = "auth")]
    ("credentials", credentials::run),
    #[cfg(feature = "auth")]
    ("users", users::run),
    #[cfg(feature = "auth")]
    ("policies", policies::run),
    #[cfg(feature = "bearer")]
    ("tokens", tokens::run),
    #[cfg(feature = "bearer")]
    ("keys", keys::run),
    #[cfg(feature = "conditions")]
    ("expressions", expressions::run),
];
