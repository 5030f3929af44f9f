//! Disk space that is allocated before the bytes come, which makes their writes asynchronous.
//!
//! In: the size that a client announced, and how far its bytes are written. Out: ranges to allocate
//! next. To announce costs a client nothing, so what it gets for it is bounded twice: by a step for
//! each upload, and by one amount for all of them. Without an allocation writes are slower, and
//! nothing else.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes allocated ahead of one upload at most. Allocating waits for the writes under way, which is
/// a millisecond for so many.
const STEP_BYTES: u64 = 64 << 20;

/// Not worth its call, unless the content ends there.
const STEP_BYTES_MIN: u64 = 1 << 20;

/// Bytes allocated ahead of all uploads at most: sixteen at full speed.
pub(crate) const AHEAD_BYTES_MAX: u64 = 1 << 30;

/// What all uploads have allocated and not written yet.
#[derive(Default)]
pub(crate) struct Ahead(AtomicU64);

impl Ahead {
    /// Takes up to `bytes`. Gives how many it took.
    fn take(&self, bytes: u64) -> u64 {
        let mut taken = 0;
        let more = |ahead: u64| {
            taken = bytes.min(AHEAD_BYTES_MAX.saturating_sub(ahead));
            Some(ahead + taken)
        };
        // Always answers with a number, so it is never an error.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The allocations of one upload's file.
pub(super) struct Reservation {
    ahead: Arc<Ahead>,
    /// Bytes that are expected.
    total: u64,
    /// The file has its blocks up to here.
    until: u64,
    /// Of `ahead`.
    taken: u64,
}

impl Reservation {
    /// For content of `total` bytes; 0: unknown.
    pub fn new(ahead: Arc<Ahead>, total: u64) -> Self {
        Reservation { ahead, total, until: 0, taken: 0 }
    }

    /// More is known of the size.
    pub fn expect(&mut self, total: u64) {
        self.total = self.total.max(total);
    }

    /// What to allocate now that the bytes up to `written` are on their way, if anything.
    pub fn next(&mut self, written: u64) -> Option<Range<u64>> {
        self.settle(written);
        let from = self.until.max(written);
        let is_due = from - written <= STEP_BYTES / 2;
        if !is_due || from >= self.total {
            return None;
        }
        let wanted = (self.total - from).min(STEP_BYTES - (from - written));
        let taken = self.ahead.take(wanted);
        if taken < wanted.min(STEP_BYTES_MIN) {
            self.ahead.give_back(taken);
            return None;
        }
        self.taken += taken;
        self.until = from + taken;
        Some(from..self.until)
    }

    /// The file was cut to its bytes, of which it has `len`.
    pub fn cut(&mut self, len: u64) {
        self.until = len;
        self.settle(len);
    }

    /// What was written is not ahead any more.
    fn settle(&mut self, written: u64) {
        let left = self.until.saturating_sub(written).min(self.taken);
        self.ahead.give_back(self.taken - left);
        self.taken = left;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ahead.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn taken(ahead: &Ahead) -> u64 {
        ahead.0.load(Ordering::Relaxed)
    }

    #[test]
    fn small_content_is_allocated_whole_and_unknown_content_not() {
        let ahead = Arc::<Ahead>::default();
        assert_eq!(Reservation::new(ahead.clone(), 0).next(0), None);
        let mut small = Reservation::new(ahead.clone(), 70_000);
        assert_eq!(small.next(0), Some(0..70_000));
        assert_eq!((small.next(0), small.next(65_536), taken(&ahead)), (None, None, 70_000 - 65_536));
        drop(small);
        assert_eq!(taken(&ahead), 0);
    }

    #[test]
    fn large_content_is_allocated_a_step_ahead_of_its_bytes_and_no_more() {
        let ahead = Arc::<Ahead>::default();
        let total = 200 * MIB + 17;
        let mut large = Reservation::new(ahead.clone(), total);
        let mut allocated = 0;
        for written in (0..=total).step_by(MIB as usize / 2) {
            if let Some(range) = large.next(written) {
                assert_eq!(range.start, allocated, "without gaps");
                allocated = range.end;
            }
            assert!(allocated > written || allocated == total, "the next bytes have their blocks: {written}");
            assert!(allocated <= written + STEP_BYTES, "{written}");
            assert_eq!(taken(&ahead), allocated - written);
        }
        assert_eq!(allocated, total);
    }

    #[test]
    fn all_uploads_together_are_bounded() {
        let ahead = Arc::<Ahead>::default();
        let mut all: Vec<Reservation> = (0..256).map(|_| Reservation::new(ahead.clone(), 1 << 30)).collect();
        let granted = all.iter_mut().filter_map(|upload| upload.next(0)).count() as u64;
        assert_eq!((granted, taken(&ahead)), (AHEAD_BYTES_MAX / STEP_BYTES, AHEAD_BYTES_MAX));
        // Who writes makes room, for itself and for others.
        assert_eq!(all[0].next(STEP_BYTES), Some(STEP_BYTES..2 * STEP_BYTES));
        assert_eq!(all[200].next(0), None);
        drop(all.remove(1));
        assert_eq!(all[200].next(MIB), Some(MIB..MIB + STEP_BYTES));
        drop(all);
        assert_eq!(taken(&ahead), 0);
    }

    #[test]
    fn what_is_cut_off_is_given_back_and_allocated_again() {
        let ahead = Arc::<Ahead>::default();
        let mut upload = Reservation::new(ahead.clone(), 1 << 30);
        upload.next(0);
        upload.cut(MIB);
        assert_eq!(taken(&ahead), 0);
        assert_eq!(upload.next(MIB), Some(MIB..MIB + STEP_BYTES));
    }

    #[test]
    fn a_later_announcement_counts_and_a_smaller_one_does_not() {
        let mut upload = Reservation::new(Arc::default(), 0);
        upload.expect(100);
        upload.expect(50);
        assert_eq!(upload.next(20), Some(20..100));
    }
}
