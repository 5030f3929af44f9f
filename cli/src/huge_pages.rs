//! Transparent huge pages: not for this process.

/// Keeps the kernel from backing the heap with pages of 2 MiB. The allocator asks for them, and
/// with thousands of connections that touch a page of memory here and there it makes 19 KiB of
/// resident memory for each idle one 31 KiB (docs/performance.md, "Memory").
pub fn disable() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages could not be disabled");
    }
}
