//! From ended spans to the collector, beside the requests.
//!
//! In: spans, one at a time, without waiting: what does not fit into the queue is dropped. Out: batches, one under way
//! at a time. At the end what is queued is sent, for [`STOP_TIME_MAX`] at most. Each span is counted once, as exported
//! or as dropped.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    task::JoinHandle,
    time::timeout,
};

use crate::{
    client::{Client, ExportError},
    counts::{Cause, Counts},
    otlp::{self, Service},
    span::SpanData,
};

/// Spans that wait for the collector: 5 KiB each at most.
pub const QUEUE_SPANS_MAX: usize = 2048;

/// Spans in one request.
pub const BATCH_SPANS_MAX: usize = 512;

/// How long a span waits for others to be sent with.
const BATCH_TIME_MAX: Duration = Duration::from_secs(1);

/// How often a batch is sent that may arrive at last, and how long is waited before the second time; before the third
/// twice as long.
const ATTEMPTS_MAX: u32 = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// How long the end waits for the collector to take what is left.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(3);

/// The queue, and the task that empties it.
#[derive(Debug)]
pub struct Exporter {
    /// `None` once it was closed.
    queue: Mutex<Option<Queue>>,
    counts: Arc<Counts>,
    /// Spans that were taken and are not counted yet.
    open: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Queue {
    spans: Sender<SpanData>,
    /// Dropped to say that nothing is tried again.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts the task. Must be called within a tokio runtime.
    pub fn start(client: Client, service: Service) -> Self {
        let (sender, spans) = channel(QUEUE_SPANS_MAX);
        let (stop, stopping) = watch::channel(());
        let (counts, open) = (Arc::<Counts>::default(), Arc::<AtomicUsize>::default());
        let work = Work { client, service, counts: counts.clone(), open: open.clone(), stopping, is_failing: false };
        let queue = Queue { spans: sender, stop, task: tokio::spawn(work.run(spans)) };
        Exporter { queue: Mutex::new(Some(queue)), counts, open }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Queues a span, or drops it.
    pub fn push(&self, span: SpanData) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = match &*queue {
            Some(Queue { spans, .. }) => {
                self.open.fetch_add(1, Ordering::Relaxed);
                if spans.try_send(span).is_ok() {
                    return;
                }
                self.open.fetch_sub(1, Ordering::Relaxed);
                Cause::Queue
            }
            None => Cause::Stop,
        };
        self.counts.dropped(cause, 1);
    }

    /// Sends what is queued, and ends. Spans that come later are dropped.
    pub async fn close(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Queue { spans, stop, mut task }) = queue else { return };
        // The task ends once it has sent everything.
        drop((spans, stop));
        if timeout(STOP_TIME_MAX, &mut task).await.is_ok() {
            return;
        }
        task.abort();
        // An error says that it was cut, as it should be.
        let _ = task.await;
        let left = self.open.swap(0, Ordering::Relaxed);
        self.counts.dropped(Cause::Stop, left);
        tracing::warn!(spans = left, "the collector of traces did not take the last spans in time; they are dropped");
    }
}

/// What the task works with.
struct Work {
    client: Client,
    service: Service,
    counts: Arc<Counts>,
    open: Arc<AtomicUsize>,
    /// Its sender is gone once the process stops.
    stopping: watch::Receiver<()>,
    /// The last batch was dropped, and the log says so.
    is_failing: bool,
}

impl Work {
    /// Sends batches until the queue is closed and empty.
    async fn run(mut self, mut spans: Receiver<SpanData>) {
        let mut batch = Vec::with_capacity(BATCH_SPANS_MAX);
        while gather(&mut spans, &mut batch).await {
            let body = Bytes::from(otlp::encode(&self.service, &batch));
            let outcome = self.send(body).await;
            self.settle(batch.len(), outcome);
            self.open.fetch_sub(batch.len(), Ordering::Relaxed);
            batch.clear();
        }
    }

    /// Sends a batch, again if it may arrive at last.
    async fn send(&mut self, body: Bytes) -> Result<usize, ExportError> {
        let mut attempt = 1;
        loop {
            let error = match self.client.send(body.clone()).await {
                Err(error) if error.may_pass() && attempt < ATTEMPTS_MAX => error,
                outcome => return outcome,
            };
            tracing::debug!(%error, attempt, "spans are not exported yet");
            if timeout(ATTEMPT_PAUSE * attempt, self.stopping.changed()).await.is_ok() {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Counts a batch, and tells the operator when that begins to fail and when it works again.
    fn settle(&mut self, spans: usize, outcome: Result<usize, ExportError>) {
        let endpoint = self.client.endpoint().uri();
        match outcome {
            Ok(rejected) => {
                let rejected = rejected.min(spans);
                self.counts.exported(spans - rejected);
                self.counts.dropped(Cause::Rejected, rejected);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(%endpoint, "the collector takes traces again");
                }
            }
            Err(error) => {
                self.counts.dropped(Cause::Failed, spans);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%endpoint, %error, "traces cannot be exported; until they can, spans are dropped");
                }
            }
        }
    }
}

/// Waits for a span, and a while for others. False when there will be none.
async fn gather(spans: &mut Receiver<SpanData>, batch: &mut Vec<SpanData>) -> bool {
    if spans.recv_many(batch, BATCH_SPANS_MAX).await == 0 {
        return false;
    }
    let others = async {
        while batch.len() < BATCH_SPANS_MAX {
            let room = BATCH_SPANS_MAX - batch.len();
            if spans.recv_many(batch, room).await == 0 {
                break;
            }
        }
    };
    // Late: then it is sent as it is.
    let _ = timeout(BATCH_TIME_MAX, others).await;
    true
}
