//! The one door to time and randomness, so that a simulation can replay from a seed.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time and randomness as the engine sees them.
pub trait Environment: Send + Sync + 'static {
    /// Milliseconds since 1970, for showing to people only: it may jump.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment; never goes back. Everything that expires uses this.
    fn monotonic(&self) -> Duration;

    /// 128 bits nobody can guess.
    fn random(&self) -> u128;
}

/// The machine's clocks and the kernel's random numbers.
pub struct System {
    start: Instant,
}

impl Default for System {
    fn default() -> Self {
        System { start: Instant::now() }
    }
}

impl Environment for System {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the kernel gave no random numbers: {error}"),
            }
        }
        u128::from_ne_bytes(bytes)
    }
}
