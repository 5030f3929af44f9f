//! The tasks of HTTP/2 streams: owned by their connection, cut one by one when a client stalls.
//!
//! A client can stop reading one stream and keep the connection lively with others or with pings, so
//! the socket's stall clock does not see it. Each stream task therefore carries an [`Owed`] mark: set
//! when the body handed out a piece, cleared when it is asked for the next. A piece that is owed for
//! `stall_timeout_ms` ends the task, and with it the stream (RST_STREAM, RFC 9113 section 6.4).

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{
    task::{JoinSet, futures::TaskLocalFuture},
    time::Instant,
};

use super::timeout::Deadline;

tokio::task_local! {
    static OWED: Arc<Owed>;
}

/// Since when the client has not taken a piece of the answer.
#[derive(Default)]
pub(super) struct Owed {
    since: Mutex<Option<Instant>>,
    stalled: AtomicBool,
}

impl Owed {
    /// The mark of the stream task that is running; a mark nobody watches outside of one.
    pub(super) fn current() -> Arc<Owed> {
        OWED.try_with(Arc::clone).unwrap_or_default()
    }

    pub(super) fn set(&self) {
        *self.since() = Some(Instant::now());
    }

    pub(super) fn clear(&self) {
        *self.since() = None;
    }

    /// Whether the client was given up.
    pub(super) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream tasks of one connection; they end with it. `http2_streams_max` bounds their number.
#[derive(Default)]
pub(super) struct StreamTasks(Arc<Mutex<JoinSet<()>>>);

impl StreamTasks {
    /// What hyper starts streams with. It does not keep the tasks alive: each of them holds a clone.
    pub(super) fn executor(&self, stall_timeout: Duration) -> StreamExecutor {
        StreamExecutor { tasks: Arc::downgrade(&self.0), stall_timeout }
    }
}

#[derive(Clone)]
pub(super) struct StreamExecutor {
    tasks: Weak<Mutex<JoinSet<()>>>,
    stall_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // Without an owner the connection has ended; dropping the stream resets it.
        let Some(tasks) = self.tasks.upgrade() else { return };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(watched(stream, self.stall_timeout));
    }
}

/// `stream`, ended early once its client stalls.
fn watched<F: Future<Output = ()>>(
    stream: F,
    stall_timeout: Duration,
) -> TaskLocalFuture<Arc<Owed>, impl Future<Output = ()>> {
    let owed = Arc::<Owed>::default();
    let mark = owed.clone();
    OWED.scope(mark, async move {
        let mut stream = pin!(stream);
        let mut deadline = Deadline::default();
        poll_fn(|context| {
            if stream.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            match *owed.since() {
                Some(since) => deadline.arm(since + stall_timeout),
                None => deadline.disarm(),
            }
            ready!(deadline.poll_passed(context));
            owed.stalled.store(true, Ordering::Relaxed);
            Poll::Ready(())
        })
        .await;
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_client_takes_nothing_is_ended() {
        let begin = Instant::now();
        watched(
            async {
                sleep(Duration::from_secs(500)).await;
                Owed::current().set();
                std::future::pending::<()>().await;
            },
            STALL,
        )
        .await;
        assert_eq!(begin.elapsed().as_secs(), 560);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_moves_goes_on_and_a_slow_handler_is_not_the_clients_fault() {
        let begin = Instant::now();
        watched(
            async {
                for _ in 0..10 {
                    Owed::current().set();
                    sleep(Duration::from_secs(59)).await;
                    Owed::current().clear();
                    sleep(Duration::from_secs(100)).await;
                }
            },
            STALL,
        )
        .await;
        assert_eq!(begin.elapsed().as_secs(), 1_590);
    }
}
