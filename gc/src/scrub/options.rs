//! How often and how fast.

use std::time::Duration;

/// What a scrub is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubOptions {
    /// From the end of a pass to the next one, by the store's clock, which stands still while the store is
    /// closed; `None`: only on request.
    pub interval: Option<Duration>,
    /// Bytes read in a second at most, over any time longer than that; `None`: as many as the machine gives.
    pub rate_bytes_max: Option<u64>,
}
