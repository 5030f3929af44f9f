//! The limit on open files: one for every connection, blob being read and table of the index.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for every limit on connections that makes sense; some systems have no hard limit.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// Raises the soft limit to the hard limit, which any process may do. The soft limit is often
/// 1024 for the sake of programs that use select(2); this one does not.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        tracing::warn!(%error, wanted, "the limit on open files could not be raised");
    }
}
