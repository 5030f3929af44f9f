//! What all workers of a phase have moved so far; the progress line and the watch read it.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Gauge {
    /// HTTP requests that were answered.
    pub requests: AtomicU64,
    /// Bytes of bodies, sent and received.
    pub body_bytes: AtomicU64,
}

impl Gauge {
    /// Requests and bytes at this moment.
    pub fn read(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.body_bytes.load(Ordering::Relaxed))
    }
}
