//! `log.audit`: who changed what, in a file of its own.
//!
//! ```text
//!   events with an audit target   requests that change something, removals by collection and policies
//!     v line     one JSON object with the same keys in the same places
//!     v queue    bounded; full, it drops lines and counts them, and nobody waits
//!     v writer   a thread: appends, finds a file that was moved away
//! ```
//!
//! What has become true: a request never waits for the disk that the audit log is on.

mod line;
mod queue;
mod writer;

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tracing::{Event, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, layer::Context, registry::LookupSpan};

pub use self::queue::Counts;
use self::{line::Line, queue::Queue};

/// Removals: they are in the ordinary log as well.
pub const REMOVALS: &str = "audit";

/// Requests that change something: the ordinary log has its own line for each request.
pub const REQUESTS: &str = "orlop_api::audit";

/// How long the end of the process waits for the last lines.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// The queue of this process, if it has an audit log.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Opens the file and starts to write what arrives at the layer. Call once.
/// Errors: the file cannot be opened for appending.
pub fn start<S>(path: &Path) -> io::Result<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let queue = Arc::<Queue>::default();
    writer::start(path, queue.clone())?;
    let _ = QUEUE.set(queue.clone());
    let targets = Targets::new().with_target(REMOVALS, LevelFilter::INFO).with_target(REQUESTS, LevelFilter::INFO);
    Ok(Audit { queue }.with_filter(targets))
}

/// Waits until all lines are written, for a while.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIME_MAX);
    }
}

/// Lines written and lost so far, if there is an audit log.
pub fn counts() -> Option<Counts> {
    QUEUE.get().map(|queue| queue.counts())
}

struct Audit {
    queue: Arc<Queue>,
}

impl<S: Subscriber> Layer<S> for Audit {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.queue.push(Line::of(event).to_text());
    }
}
