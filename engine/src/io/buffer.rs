//! Aligned buffers and the pool that bounds how many bytes of them are out at once.
//!
//! In: requests for capacity. Out: [`Buffer`]s, owned by exactly one place at a time (a writer, a
//! disk, a response). What is true: the bytes out never exceed the pool's limit if it has one, and memory given
//! to a disk is not reused before the disk has given it back.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::Semaphore;

/// Bytes. Address, file offset and length of every write are multiples of this: the largest
/// logical block size of common devices, and the page size.
pub const ALIGNMENT: usize = 4096;

/// Bytes of returned memory that a pool keeps for reuse beside what is out.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// Only memory of these sizes is kept: the chunk sizes of the engine.
const KEPT_SIZES: [usize; 5] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];

/// A bounded source of [`Buffer`]s. Cloning shares it.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    /// One permit is [`ALIGNMENT`] bytes. Fair: a large request is not overtaken by small ones.
    room: Semaphore,
    pages_max: usize,
    /// Bytes up to which memory is kept for reuse, with what is out.
    reuse_bytes_max: usize,
    bytes_out: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lists: [Vec<Memory>; KEPT_SIZES.len()],
    bytes: usize,
}

impl Pool {
    /// A pool with at most `bytes_max` bytes out, rounded up to [`ALIGNMENT`]. It keeps up to 32 MiB of returned
    /// memory for reuse, as far as that and what is out are no more than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self::with(bytes_max, bytes_max.div_ceil(ALIGNMENT).max(1).saturating_mul(ALIGNMENT))
    }

    /// A pool that never has anybody wait. It keeps up to 32 MiB of returned memory for reuse, as far as that and what
    /// is out are no more than `reuse_bytes_max`.
    pub fn unbounded(reuse_bytes_max: usize) -> Self {
        Self::with(usize::MAX, reuse_bytes_max)
    }

    fn with(bytes_max: usize, reuse_bytes_max: usize) -> Self {
        let pages_max = bytes_max.div_ceil(ALIGNMENT).clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS));
        Pool(Arc::new(Inner {
            room: Semaphore::new(pages_max),
            pages_max,
            reuse_bytes_max,
            bytes_out: AtomicUsize::new(0),
            kept: Mutex::default(),
        }))
    }

    /// Takes an empty buffer of at least `capacity` bytes, rounded up to [`ALIGNMENT`]. Waits in
    /// line while the bytes out would exceed the limit. A request beyond the limit gets a buffer
    /// as large as the limit.
    pub async fn take(&self, capacity: usize) -> Buffer {
        let pages = self.pages(capacity);
        let permit = self.0.room.acquire_many(pages).await.expect("the semaphore is never closed");
        permit.forget();
        self.give(pages)
    }

    /// Like [`Pool::take`]; `None` instead of waiting.
    pub fn try_take(&self, capacity: usize) -> Option<Buffer> {
        let pages = self.pages(capacity);
        self.0.room.try_acquire_many(pages).ok()?.forget();
        Some(self.give(pages))
    }

    /// Bytes of capacity of the buffers that are out now, frozen ones included.
    pub fn bytes_out(&self) -> usize {
        self.0.bytes_out.load(Ordering::Acquire)
    }

    /// Whether less than half of the limit is left: time to give back what can be given back.
    pub fn is_scarce(&self) -> bool {
        self.bytes_out() > self.0.pages_max / 2 * ALIGNMENT
    }

    fn pages(&self, capacity: usize) -> u32 {
        let pages = capacity.div_ceil(ALIGNMENT).clamp(1, self.0.pages_max);
        u32::try_from(pages).expect("pages_max was cut to u32")
    }

    /// Makes the buffer that the already taken permits stand for.
    fn give(&self, pages: u32) -> Buffer {
        let capacity = pages as usize * ALIGNMENT;
        let bytes_out = self.0.bytes_out.fetch_add(capacity, Ordering::AcqRel) + capacity;
        let memory = self.0.reuse(capacity).unwrap_or_else(|| {
            self.0.let_go(bytes_out);
            Memory::new(capacity)
        });
        Buffer { memory: Some(memory), len: 0, capacity, pool: self.clone() }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("bytes_max", &(self.0.pages_max * ALIGNMENT))
            .field("bytes_out", &self.bytes_out())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees what is kept, of any size, until it has room beside what is out.
    fn let_go(&self, bytes_out: usize) {
        let most = self.reuse_bytes_max.saturating_sub(bytes_out);
        let mut kept = self.kept();
        let Kept { lists, bytes } = &mut *kept;
        for (list, size) in lists.iter_mut().zip(KEPT_SIZES) {
            while *bytes > most && list.pop().is_some() {
                *bytes -= size;
            }
        }
    }

    fn reuse(&self, capacity: usize) -> Option<Memory> {
        let list = KEPT_SIZES.iter().position(|size| *size == capacity)?;
        let mut kept = self.kept();
        let memory = kept.lists[list].pop()?;
        kept.bytes -= capacity;
        Some(memory)
    }

    fn release(&self, memory: Memory) {
        let capacity = memory.capacity;
        if let Some(list) = KEPT_SIZES.iter().position(|size| *size == capacity) {
            let mut kept = self.kept();
            // What is given back here still counts as out.
            let others_out = self.bytes_out.load(Ordering::Acquire).saturating_sub(capacity);
            if kept.bytes + capacity <= KEPT_BYTES_MAX.min(self.reuse_bytes_max.saturating_sub(others_out)) {
                kept.bytes += capacity;
                kept.lists[list].push(memory);
            }
        }
        self.bytes_out.fetch_sub(capacity, Ordering::AcqRel);
        // Last, so that whoever waited finds the memory in the list.
        self.room.add_permits(capacity / ALIGNMENT);
    }
}

/// Memory at an address that is a multiple of [`ALIGNMENT`]. All of it is initialised at all
/// times, so that giving the kernel or a caller a `&mut [u8]` of it is sound.
struct Memory {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: `Memory` owns its allocation alone and has no interior mutability.
unsafe impl Send for Memory {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Memory {}

impl Memory {
    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("a pool's capacity is at most 2^32 pages")
    }

    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: a pool's capacity is at least one page, so the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Memory { start, capacity }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation has `capacity` initialised bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.capacity) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) }
    }
}

/// Aligned memory with a filled part at its start. Dropping it gives the memory back to its pool.
pub struct Buffer {
    /// `None` only while it is being dropped.
    memory: Option<Memory>,
    len: usize,
    capacity: usize,
    pool: Pool,
}

impl Buffer {
    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("memory leaves the buffer in drop alone")
    }

    fn memory_mut(&mut self) -> &mut Memory {
        self.memory.as_mut().expect("memory leaves the buffer in drop alone")
    }

    /// The bytes filled so far.
    pub fn filled(&self) -> &[u8] {
        &self.memory().bytes()[..self.len]
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes there is memory for: a multiple of [`ALIGNMENT`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that can still be filled.
    pub fn spare(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends as much of `bytes` as fits; returns how many bytes that was.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.spare());
        let start = self.len;
        self.memory_mut().bytes_mut()[start..start + count].copy_from_slice(&bytes[..count]);
        self.len += count;
        count
    }

    /// Makes the buffer empty.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Keeps the first `len` filled bytes; nothing happens if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Fills with zeros up to the next multiple of [`ALIGNMENT`].
    pub fn pad_to_alignment(&mut self) {
        let start = self.len;
        // The capacity is a multiple of ALIGNMENT, so the padding always fits.
        let end = start.next_multiple_of(ALIGNMENT);
        self.memory_mut().bytes_mut()[start..end].fill(0);
        self.len = end;
    }

    /// The filled part as shared, immutable bytes, without a copy. The memory goes back to the
    /// pool when the last of them is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// The part not filled yet, for a disk to read into. Holds old bytes, never unset memory.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let start = self.len;
        &mut self.memory_mut().bytes_mut()[start..]
    }

    /// Counts the first `count` bytes of [`Buffer::room`] as filled.
    pub(super) fn advance(&mut self, count: usize) {
        assert!(count <= self.spare(), "advanced by {count} with room for {}", self.spare());
        self.len += count;
    }

    /// The address of the first byte: stable while the buffer is moved.
    #[cfg(feature = "ring")]
    pub(super) fn start(&self) -> NonNull<u8> {
        self.memory().start
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.0.release(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_fills_to_its_capacity() {
        let pool = Pool::new(1 << 20);
        let mut buffer = pool.try_take(5000).expect("an empty pool has room");
        assert_eq!(buffer.capacity(), 8192);
        assert_eq!(buffer.filled().as_ptr().addr() % ALIGNMENT, 0);
        assert_eq!(buffer.extend(&[7; 5000]), 5000);
        assert_eq!(buffer.extend(&[8; 5000]), 3192);
        assert_eq!(buffer.spare(), 0);
        buffer.truncate(4097);
        buffer.pad_to_alignment();
        assert_eq!(buffer.len(), 8192);
        assert_eq!(buffer.filled()[4096], 7);
        assert!(buffer.filled()[4097..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn padding_an_aligned_length_changes_nothing() {
        let pool = Pool::new(1 << 20);
        let mut buffer = pool.try_take(ALIGNMENT).expect("an empty pool has room");
        buffer.pad_to_alignment();
        assert_eq!(buffer.len(), 0);
        buffer.extend(&[1; ALIGNMENT]);
        buffer.pad_to_alignment();
        assert_eq!(buffer.len(), ALIGNMENT);
    }

    #[test]
    fn frozen_bytes_count_as_out_until_the_last_clone_goes() {
        let pool = Pool::new(64 << 10);
        let mut buffer = pool.try_take(64 << 10).expect("an empty pool has room");
        buffer.extend(b"kept");
        let bytes = buffer.freeze();
        let clone = bytes.slice(1..3);
        drop(bytes);
        assert_eq!(&clone[..], b"ep");
        assert_eq!(pool.bytes_out(), 64 << 10);
        assert!(pool.try_take(1).is_none());
        drop(clone);
        assert_eq!(pool.bytes_out(), 0);
        assert!(pool.try_take(1).is_some());
    }

    #[test]
    fn memory_is_reused_within_its_bound() {
        let pool = Pool::new(usize::MAX);
        let first = pool.try_take(1 << 20).expect("room");
        let address = first.filled().as_ptr().addr();
        drop(first);
        let again = pool.try_take(1 << 20).expect("room");
        assert_eq!(again.filled().as_ptr().addr(), address);
        assert!(again.is_empty(), "reused memory comes back empty");
        let many: Vec<_> = (0..40).map(|_| pool.try_take(1 << 20).expect("room")).collect();
        drop(many);
        assert_eq!(pool.0.kept().bytes, KEPT_BYTES_MAX);
    }

    #[test]
    fn what_is_kept_and_what_is_out_fit_the_limit_together() {
        let pool = Pool::new(4 << 20);
        let many: Vec<_> = (0..4).map(|_| pool.try_take(1 << 20).expect("room")).collect();
        drop(many);
        assert_eq!(pool.0.kept().bytes, 4 << 20, "nothing is out");
        let mut small: Vec<_> = (0..16).map(|_| pool.try_take(64 << 10).expect("room")).collect();
        assert_eq!(pool.0.kept().bytes, 3 << 20, "a quarter is out");
        small.truncate(8);
        assert_eq!(pool.0.kept().bytes, (3 << 20) + (512 << 10), "and what is given back is kept again");
        let large = pool.try_take(3 << 20).expect("room");
        assert!(pool.0.kept().bytes <= 512 << 10, "an odd size is not taken from what is kept");
        drop((small, large));
        assert_eq!(pool.bytes_out(), 0);
    }

    #[test]
    fn without_a_bound_memory_is_still_kept_within_one() {
        let pool = Pool::unbounded(2 << 20);
        let mut many: Vec<_> = (0..6).map(|_| pool.try_take(1 << 20).expect("there is always room")).collect();
        many.truncate(2);
        assert_eq!(pool.0.kept().bytes, 0, "as much as may be is out");
        many.truncate(1);
        assert_eq!(pool.0.kept().bytes, 1 << 20);
        many.push(pool.try_take(2 << 20).expect("there is always room"));
        assert_eq!(pool.0.kept().bytes, 0, "what is out has gone beyond it");
        drop(many);
        assert_eq!(pool.bytes_out(), 0);
    }

    #[test]
    fn a_request_beyond_the_limit_is_cut_to_it() {
        let pool = Pool::new(3 * ALIGNMENT);
        let buffer = pool.try_take(100 * ALIGNMENT).expect("an empty pool has room");
        assert_eq!(buffer.capacity(), 3 * ALIGNMENT);
    }

    #[tokio::test]
    async fn waiting_is_fair() {
        let pool = Pool::new(4 * ALIGNMENT);
        let held = pool.take(2 * ALIGNMENT).await;
        let large = tokio::spawn({
            let pool = pool.clone();
            async move { pool.take(4 * ALIGNMENT).await.capacity() }
        });
        tokio::task::yield_now().await;
        // Two pages are free, but the large request is first in line.
        assert!(pool.try_take(ALIGNMENT).is_none());
        drop(held);
        assert_eq!(large.await.expect("the task ends"), 4 * ALIGNMENT);
        assert!(pool.try_take(ALIGNMENT).is_some());
    }
}
