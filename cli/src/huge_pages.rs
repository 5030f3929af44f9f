//! Transparent huge pages: not for this process.

/// Keeps the kernel from backing the heap with pages of 2 MiB. The allocator asks for them, and
/// with thousands of connections that touch a page of memory here and there it makes a resident
/// set of 194 MiB one of 346 MiB (10,000 idle connections; docs/performance.md).
pub fn disable() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages could not be disabled");
    }
}
