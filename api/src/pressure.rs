//! Whether the process has nearly used up the memory it may use.
//!
//! In: a bound in bytes. Out: yes or no, as of a few milliseconds ago. While it is yes, requests that
//! bring bytes are refused before their body is read, because the alternative is the kernel's: it kills
//! the process, and with it everybody's request. Pulls go on for longer: they hold little each, but thousands that
//! hardly read hold it for minutes.
//!
//! What is in use says nothing of what was let in and is about to grow: a document is in memory as it came,
//! parsed, in its group, in the journal's and the index's buffers. So documents in hand are counted as well.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::protocol::manifest::MANIFEST_BYTES_MAX;

/// Time between two looks, in milliseconds. What a fast network brings meanwhile must fit between the
/// bound and the memory there is.
const LOOK_EVERY_MS: u64 = 10;

/// Pulls go on until this part of the bound is in use beyond it.
const PULLS_PART: u64 = 6;

/// Documents in hand take at most this part of the bound, or one document of the largest kind. Until it is
/// answered a document takes a few times its size.
const DOCUMENTS_PART: u64 = 32;

/// Requests with bodies take at most this part of the bound with the buffers of their connections ...
const SENDERS_PART: u64 = 2;

/// ... after what the process has for itself, in bytes: in a small container that is much of it.
const OWN_BYTES: u64 = 64 << 20;

/// Buffers of a connection that a body comes through.
const SENDER_BUFFERS: u64 = 2;

pub struct Pressure {
    /// `None`: there is no bound.
    bytes_max: Option<u64>,
    began: Instant,
    /// Milliseconds from the beginning to the last look, and one more: 0 is before the first.
    looked_ms: AtomicU64,
    used_bytes: AtomicU64,
    /// Bytes of documents that may still be taken in hand.
    documents: Semaphore,
    /// Bodies that may still be read, or read away.
    senders: Semaphore,
}

/// Leave to read a body. Given back when dropped.
pub type Sender<'a> = SemaphorePermit<'a>;

/// What one document in hand takes. Given back when dropped.
#[derive(Default)]
pub struct Share<'a>(Option<SemaphorePermit<'a>>);

impl Pressure {
    /// For connections that buffer so many bytes before they are read.
    pub fn new(bytes_max: Option<u64>, buffer_bytes: u64) -> Self {
        let each = (SENDER_BUFFERS * buffer_bytes).max(1);
        let senders = bytes_max.map_or(u64::MAX, |max| max.saturating_sub(OWN_BYTES) / SENDERS_PART / each);
        let senders = usize::try_from(senders).unwrap_or(usize::MAX);
        let documents = bytes_max.map_or(u64::MAX, |bytes_max| bytes_max / DOCUMENTS_PART);
        let documents = usize::try_from(documents).unwrap_or(usize::MAX);
        Pressure {
            bytes_max,
            began: Instant::now(),
            looked_ms: AtomicU64::new(0),
            used_bytes: AtomicU64::new(0),
            documents: Semaphore::new(documents.clamp(MANIFEST_BYTES_MAX, Semaphore::MAX_PERMITS)),
            senders: Semaphore::new(senders.clamp(1, Semaphore::MAX_PERMITS)),
        }
    }

    /// Leave to read a body, unless there are too many already.
    pub fn try_send(&self) -> Option<Sender<'_>> {
        self.senders.try_acquire().ok()
    }

    /// The same as soon as there are fewer: what is not read waits in the kernel, and then with the client.
    pub async fn send(&self) -> Sender<'_> {
        self.senders.acquire().await.expect("it is never closed")
    }

    /// Takes `bytes` more of a document in hand. Gives whether there was room for them. Nobody waits for room:
    /// who holds some while he waits for more can keep it from all others, and they from him.
    pub fn take<'a>(&'a self, share: &mut Share<'a>, bytes: usize) -> bool {
        let more = u32::try_from(bytes).ok().and_then(|bytes| self.documents.try_acquire_many(bytes).ok());
        let has_room = more.is_some();
        share.0 = match (share.0.take(), more) {
            (Some(mut held), Some(more)) => {
                held.merge(more);
                Some(held)
            }
            (held, more) => held.or(more),
        };
        has_room
    }

    /// Whether more than the bound is in use.
    pub fn is_high(&self) -> bool {
        self.bytes_max.is_some_and(|bytes_max| self.used_bytes() > bytes_max)
    }

    /// Whether so much more is in use that pulls have to wait as well.
    pub fn is_highest(&self) -> bool {
        let of = |bytes_max: u64| bytes_max.saturating_add(bytes_max / PULLS_PART);
        self.bytes_max.is_some_and(|bytes_max| self.used_bytes() > of(bytes_max))
    }

    /// Bytes in use at the last look.
    fn used_bytes(&self) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let is_due = looked == 0 || now.saturating_sub(looked) >= LOOK_EVERY_MS;
        // Of those that find it due one looks; the others take the answer there is.
        if is_due && self.looked_ms.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.used_bytes.store(used_bytes().unwrap_or(0), Ordering::Relaxed);
        }
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// Bytes of memory that cannot be read again from a file (proc_pid_status(5)). `None` where the system
/// does not tell.
fn used_bytes() -> Option<u64> {
    own_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

fn own_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read() {
        assert_eq!(own_bytes("VmRSS:\t 9 kB\nRssAnon:\t    1234 kB\nRssFile:\t 5 kB\n"), Some(1234 * 1024));
        assert_eq!(own_bytes("RssAnon:\tmuch\n"), None);
        assert_eq!(own_bytes(""), None);
    }

    #[test]
    fn pressure_is_high_beyond_the_bound_only() {
        assert!(Pressure::new(Some(0), 1).is_high());
        assert!(!Pressure::new(Some(u64::MAX), 1).is_high());
        assert!(!Pressure::new(None, 1).is_high());
        assert!(Pressure::new(Some(0), 1).is_highest());
        assert!(!Pressure::new(None, 1).is_highest());
        // Between the two: pushes are refused, pulls are not.
        let pressure = Pressure::new(Some(6 << 40), 1);
        for (used, is_high, is_highest) in
            [(6 << 40, false, false), (7 << 40, true, false), ((7 << 40) + 1, true, true)]
        {
            pressure.looked_ms.store(u64::MAX, Ordering::Relaxed);
            pressure.used_bytes.store(used, Ordering::Relaxed);
            assert_eq!((pressure.is_high(), pressure.is_highest()), (is_high, is_highest), "{used}");
        }
    }

    #[test]
    fn bodies_under_way_are_bounded_by_the_buffers_they_take() {
        let pressure = Pressure::new(Some(OWN_BYTES + SENDERS_PART * SENDER_BUFFERS * 100), 50);
        let held = [pressure.try_send(), pressure.try_send()];
        assert!(held.iter().all(Option::is_some));
        assert!(pressure.try_send().is_none(), "two buffers of 50 bytes each are all");
        drop(held);
        assert!(pressure.try_send().is_some());
        assert!(Pressure::new(Some(0), 50).try_send().is_some(), "one may always");
    }

    #[test]
    fn documents_in_hand_are_bounded_and_give_back_what_they_took() {
        let pressure = Pressure::new(Some(0), 1);
        let (mut first, mut second) = (Share::default(), Share::default());
        assert!(pressure.take(&mut first, MANIFEST_BYTES_MAX / 2));
        assert!(pressure.take(&mut second, MANIFEST_BYTES_MAX / 4));
        assert!(!pressure.take(&mut second, MANIFEST_BYTES_MAX / 2), "three quarters are taken");
        assert!(pressure.take(&mut first, MANIFEST_BYTES_MAX / 4), "a refusal takes nothing");
        assert!(!pressure.take(&mut second, 1));
        drop(first);
        assert!(pressure.take(&mut second, MANIFEST_BYTES_MAX * 3 / 4), "all that the first took");
        drop(second);
        assert!(pressure.take(&mut Share::default(), MANIFEST_BYTES_MAX), "and a whole one has room");
        assert!(Pressure::new(None, 1).take(&mut Share::default(), 64 * MANIFEST_BYTES_MAX));
    }
}
