//! Scrub: everything that is stored is read again and compared, at a bounded rate, over and over.
//!
//! ```text
//!   options    how often and how fast
//!     v pace       bytes read -> how long to wait
//!     v run        one pass through all content: what is sound, what is damaged, what is neither
//!     v scrubber   passes in an interval or on request, on a thread that gives way to everything else
//! ```
//!
//! What is damaged is decided here; the engine looks, looks again, marks, and takes back.

mod options;
mod pace;
mod run;
mod scrubber;

pub use options::ScrubOptions;
pub use run::{PassReport, scrub};
pub use scrubber::{ScrubStatus, Scrubber, Scrubbing};
