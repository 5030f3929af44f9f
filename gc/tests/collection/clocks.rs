//! Clocks that lie.

use std::sync::atomic::{AtomicU64, Ordering};

use orlop_engine::environment::{Environment, System};

/// Clocks that jump ten years at every look, back and forth; randomness as usual.
#[derive(Default)]
pub struct Jumping {
    system: System,
    looks: AtomicU64,
}

impl Environment for Jumping {
    fn unix_ms(&self) -> u64 {
        const TEN_YEARS_MS: u64 = 3650 * 24 * 3600 * 1000;
        match self.looks.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => self.system.unix_ms() + TEN_YEARS_MS,
            1 => self.system.unix_ms() - TEN_YEARS_MS,
            _ => 0,
        }
    }

    fn monotonic(&self) -> std::time::Duration {
        self.system.monotonic()
    }

    fn random(&self) -> u128 {
        self.system.random()
    }
}
