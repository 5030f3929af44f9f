//! `log.audit`: who changed what, in a file of its own.
//!
//! ```text
//!   events with an audit target   requests that change something, removals by collection and policies
//!     v line     one JSON object with the same keys in the same places
//!     v queue    bounded; full, it drops lines and counts them, and nobody waits
//!     v writer   a thread: appends, finds a file that was moved away
//! ```
//!
//! What has become true: a request never waits for the disk that the audit log is on. The file can be exchanged: lines
//! that were there before are in the old one.

mod line;
mod queue;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

pub use self::queue::Counts;
use self::{line::Line, queue::Queue, writer::Output};
use crate::log_switch::Switch;

/// Removals: they are in the ordinary log as well.
pub const REMOVALS: &str = "audit";

/// Requests that change something: the ordinary log has its own line for each request.
pub const REQUESTS: &str = "orlop_api::audit";

/// How long the end of the process waits for the last lines.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// The lines of this process.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Set once there is a thread that writes.
static IS_WRITTEN: OnceLock<()> = OnceLock::new();

/// The audit log, if there is one at the moment.
pub struct Log {
    is_on: Switch,
}

/// A file that is open, with a thread that can write to it.
pub struct Opened(Output);

/// What takes the lines of this process, and what says where they go; nowhere at first. Call once.
pub fn layer<S>() -> (impl Layer<S> + use<S>, Log)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let is_on = Switch::of(&[REMOVALS, REQUESTS]);
    (Audit { queue: queue().clone() }.with_filter(is_on.clone()), Log { is_on })
}

/// Errors: the file cannot be opened for appending.
pub fn open(path: &Path) -> io::Result<Opened> {
    let output = Output::open(path)?;
    if IS_WRITTEN.get().is_none() {
        writer::start(queue().clone())?;
        let _ = IS_WRITTEN.set(());
    }
    Ok(Opened(output))
}

impl Log {
    /// The file, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        queue().path()
    }

    /// Lines go there from now on.
    pub fn exchange(&self, Opened(output): Opened) {
        queue().exchange(Some(output));
        self.is_on.turn(true);
    }

    /// There is none any more.
    pub fn close(&self) {
        self.is_on.turn(false);
        queue().exchange(None);
    }
}

/// Waits until all lines are written, for a while.
pub fn flush() {
    queue().flush(FLUSH_TIME_MAX);
}

/// Lines written and lost so far, if there has been an audit log.
pub fn counts() -> Option<Counts> {
    IS_WRITTEN.get().map(|()| queue().counts())
}

fn queue() -> &'static Arc<Queue> {
    QUEUE.get_or_init(Arc::default)
}

struct Audit {
    queue: Arc<Queue>,
}

impl<S: Subscriber> Layer<S> for Audit {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.queue.push(Line::of(event).to_text());
    }
}
