//! The socket as the protocol above sees it: counted, and cut when the client stops reading.
//!
//! It lies below TLS, so its byte counts are what crosses the network and its stall clock sees
//! handshakes as well.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{activity::Activity, observation::Deliveries, timeout::Deadline};
use crate::metrics::Metrics;

/// A socket that reports to its connection's [`Activity`] and [`Deliveries`].
pub(super) struct Socket<S> {
    inner: S,
    activity: Arc<Activity>,
    deliveries: Arc<Deliveries>,
    metrics: Arc<Metrics>,
    stall_timeout: Duration,
    stall: Deadline,
}

impl<S> Socket<S> {
    pub(super) fn new(
        inner: S,
        activity: Arc<Activity>,
        deliveries: Arc<Deliveries>,
        metrics: Arc<Metrics>,
        stall_timeout: Duration,
    ) -> Self {
        Socket { inner, activity, deliveries, metrics, stall_timeout, stall: Deadline::default() }
    }

    /// Passes on the outcome of a write, or an error once the writes were pending for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall.disarm();
            return outcome;
        }
        if !self.stall.armed() {
            self.stall.arm(Instant::now() + self.stall_timeout);
        }
        if self.stall.poll_passed(context).is_pending() {
            return Poll::Pending;
        }
        self.activity.stall();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the client took no byte for {:?}", self.stall_timeout),
        )))
    }

    fn wrote(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.metrics.bytes_out(bytes);
        }
        self.watch(context, outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.metrics.bytes_in(bytes);
            self.activity.bytes_read();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        if let Poll::Ready(Ok(())) = outcome {
            // The layers above flush the socket only after handing it all they had buffered.
            self.deliveries.delivered();
        }
        self.watch(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn socket(stall_timeout: Duration) -> (Socket<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (server, client) = duplex(1_000);
        let activity = Arc::new(Activity::new(stall_timeout, stall_timeout));
        let metrics = Metrics::new("test", Vec::new);
        (Socket::new(server, activity, Arc::default(), metrics, stall_timeout), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_after_the_stall_timeout() {
        let (mut socket, _client) = socket(Duration::from_secs(60));
        let begin = Instant::now();
        let error = socket.write_all(&[0; 5_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), 60);
        assert!(socket.activity.stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_bytes_slowly_is_served() {
        let (mut socket, mut client) = socket(Duration::from_secs(60));
        let begin = Instant::now();
        let reader = async {
            let mut taken = 0;
            while taken < 5_000 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                taken += client.read(&mut [0; 500]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[0; 5_000]), reader);
        written.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 500);
        assert!(!socket.activity.stalled());
    }
}
