//! Whether the process has nearly used up the memory it may use.
//!
//! In: a bound in bytes. Out: yes or no, as of a few milliseconds ago. While it is yes, requests that
//! bring bytes are refused before their body is read, because the alternative is the kernel's: it kills
//! the process, and with it everybody's request.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// Time between two looks, in milliseconds. What a fast network brings meanwhile must fit between the
/// bound and the memory there is.
const LOOK_EVERY_MS: u64 = 10;

pub struct Pressure {
    /// `None`: there is no bound.
    bytes_max: Option<u64>,
    began: Instant,
    /// Milliseconds from the beginning to the last look, and one more: 0 is before the first.
    looked_ms: AtomicU64,
    high: AtomicBool,
}

impl Pressure {
    pub fn new(bytes_max: Option<u64>) -> Self {
        Pressure { bytes_max, began: Instant::now(), looked_ms: AtomicU64::new(0), high: AtomicBool::new(false) }
    }

    /// Whether more than the bound is in use.
    pub fn is_high(&self) -> bool {
        let Some(bytes_max) = self.bytes_max else { return false };
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let is_due = looked == 0 || now.saturating_sub(looked) >= LOOK_EVERY_MS;
        // Of those that find it due one looks; the others take the answer there is.
        if is_due && self.looked_ms.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.high.store(used_bytes().is_some_and(|used| used > bytes_max), Ordering::Relaxed);
        }
        self.high.load(Ordering::Relaxed)
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
        assert!(Pressure::new(Some(0)).is_high());
        assert!(!Pressure::new(Some(u64::MAX)).is_high());
        assert!(!Pressure::new(None).is_high());
    }
}
