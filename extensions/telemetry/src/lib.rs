//! Traces: a span for each request that is sampled, sent to a collector.
//!
//! ```text
//!   head of a request
//!     v tracer       is it written down?       context  what the caller says of its trace    ids  new traces
//!     v span         what is said of it, semantic conventions for HTTP servers
//!   end of its answer
//!     v exporter     a queue and a task: batches, in time or never       counts  what became of the spans
//!     v otlp         a batch as OTLP/JSON
//!     v client       POST to the collector
//! ```
//!
//! In: [`Options`], which the configuration is read into, and requests by way of the seam
//! [`orlop_api::server::Tracer`]. Out: spans at a collector, at best: whatever is wrong there never slows down a
//! request or the stop; spans are dropped and counted instead.

#![forbid(unsafe_code)]

mod client;
mod context;
mod counts;
mod exporter;
mod ids;
mod options;
mod otlp;
mod span;
mod tracer;

pub use exporter::{BATCH_SPANS_MAX, QUEUE_SPANS_MAX, STOP_TIME_MAX};
pub use options::{Endpoint, EndpointError, HeaderError, Headers, Options, SAMPLE_DEFAULT, Sample, SampleError};
pub use tracer::Telemetry;
