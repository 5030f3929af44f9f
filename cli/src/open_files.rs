//! The limit on open files: one for every connection, blob being read and table of the index.

use orlop_api::limits::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for every limit on connections that makes sense; some systems have no hard limit.
const OPEN_FILES_WANTED: u64 = 1 << 20;

/// Connections leave this part of the open files ...
const ROOM_PART: u64 = 4;

/// ... and at least this many to the requests that come over them: blobs, uploads, the index.
const ROOM_MIN: u64 = 96;

/// Raises the soft limit to the hard limit, which any process may do. The soft limit is often
/// 1024 for the sake of programs that use select(2); this one does not. Gives the limit in force.
pub fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    let Some(low) = current.filter(|current| *current < wanted) else {
        return current.unwrap_or(u64::MAX);
    };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, wanted, "the limit on open files could not be raised");
            low
        }
    }
}

/// Lowers the limit on connections to what leaves files for their requests: clients that only
/// connect must not take the descriptors that a push needs.
pub fn leave_room(limits: &mut Limits, open_files_max: u64) {
    let room = (open_files_max / ROOM_PART).max(ROOM_MIN);
    let connections_max = open_files_max.saturating_sub(room).max(1);
    if limits.connections_max > connections_max {
        tracing::warn!(
            connections_max,
            open_files_max,
            "fewer connections than configured are taken, for the process may open few files"
        );
        limits.connections_max = connections_max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_their_requests() {
        for (open_files, connections) in
            [(u64::MAX, 10_000), (1 << 20, 10_000), (1_024, 768), (256, 160), (97, 1), (10, 1)]
        {
            let mut limits = Limits::default();
            leave_room(&mut limits, open_files);
            assert_eq!(limits.connections_max, connections, "of {open_files}");
            limits.check().expect("a limit within its range");
        }
    }
}
