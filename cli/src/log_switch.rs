//! A log of its own for some events, which can be turned on and off.
//!
//! In: events. Out: those that begin with one of these targets, from the level `info` on, while it is on. Turned off, an
//! event costs what one costs that no log has asked for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tracing::{Metadata, callsite::rebuild_interest_cache, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

/// Clones are the same switch. It is off at first.
#[derive(Clone)]
pub struct Switch {
    targets: &'static [&'static str],
    is_on: Arc<AtomicBool>,
}

impl Switch {
    pub fn of(targets: &'static [&'static str]) -> Self {
        Switch { targets, is_on: Arc::default() }
    }

    pub fn turn(&self, is_on: bool) {
        if self.is_on.swap(is_on, Ordering::AcqRel) != is_on {
            // Each place in the code that logs remembers who wants to hear of it.
            rebuild_interest_cache();
        }
    }

    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    fn lets(&self, metadata: &Metadata<'_>) -> bool {
        let is_its = self.targets.iter().any(|target| metadata.target().starts_with(target));
        is_its && *metadata.level() <= LevelFilter::INFO && self.is_on()
    }
}

impl<S> Filter<S> for Switch {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.lets(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.is_on() { LevelFilter::INFO } else { LevelFilter::OFF })
    }
}
