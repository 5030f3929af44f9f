//! Which requests are written down.

use std::{io, sync::Arc};

use orlop_api::{
    metrics::Statistic,
    server::{Ended, Head, Span, Tracer},
};

use crate::{
    client::Client,
    context::{self, Parent},
    exporter::Exporter,
    ids::Ids,
    options::Options,
    otlp::Service,
    span::SpanData,
};

/// Traces of one process. A caller that has decided whether its trace is written down decides for its requests as
/// well; of the others a share is.
#[derive(Debug)]
pub struct Telemetry {
    exporter: Arc<Exporter>,
    ids: Ids,
    /// See [`crate::Sample`].
    threshold: u64,
    base_path: String,
}

impl Telemetry {
    /// Starts to send what is written down. Nothing is asked of the collector before there is something to send. Must
    /// be called within a tokio runtime.
    ///
    /// Errors: TLS cannot be set up.
    pub fn start(options: Options) -> io::Result<Self> {
        let client = Client::new(options.endpoint, options.headers)?;
        let service = Service { name: options.service_name, version: options.service_version };
        Ok(Telemetry {
            exporter: Arc::new(Exporter::start(client, service)),
            ids: Ids::default(),
            threshold: options.sample.threshold(),
            base_path: options.base_path,
        })
    }

    /// Sends what is left, for [`crate::STOP_TIME_MAX`] at most. To be called after the last request.
    pub async fn close(&self) {
        self.exporter.close().await;
    }
}

impl Tracer for Telemetry {
    fn begin(&self, head: &Head<'_>) -> Option<Box<dyn Span>> {
        let (trace, parent) = match Parent::read(&head.field("traceparent")) {
            Some(parent) if parent.is_sampled => (parent.trace, Some(parent)),
            Some(_) => return None,
            None => {
                let trace = self.ids.trace();
                let is_sampled = (trace as u64) >> 1 < self.threshold;
                (is_sampled.then_some(trace)?, None)
            }
        };
        let parent = parent.map(|parent| (parent, context::state(&head.field("tracestate"))));
        let span = SpanData::begin(trace, self.ids.next(), parent, head, &self.base_path);
        Some(Box::new(Begun { span, exporter: self.exporter.clone() }))
    }

    fn statistics(&self) -> Vec<Statistic> {
        self.exporter.counts().statistics()
    }
}

/// A span under way.
struct Begun {
    span: SpanData,
    exporter: Arc<Exporter>,
}

impl Span for Begun {
    fn end(self: Box<Self>, ended: Ended) {
        let Begun { mut span, exporter } = *self;
        span.end(&ended);
        exporter.push(span);
    }
}
