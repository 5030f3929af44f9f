//! Accepts connections within their limit, and ends them in order at a stop.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Handler,
    connection::{self, Shared},
    live::Live,
    slots::Slot,
};
use crate::{
    health::{Health, Phase},
    limits::milliseconds,
    metrics::Metrics,
};

/// The pauses after failures of accept. The first is short because a connection that ends frees the
/// descriptor that was missing; the last bounds the log to one line a second.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The kernel's send buffer towards a client on the same machine, in bytes. There the client copies
/// the bytes out of this very buffer: while it is smaller than the processor's cache they are still
/// in it. The kernel would let it grow to megabytes, which only a long line to the client needs.
const SAME_HOST_SEND_BYTES: usize = 512 << 10;

/// What is divided among the connections for bytes that the kernel took and has not sent, because the client does
/// not read. Each connection gets the part that it is when it begins, so those that begin beside few others keep more:
/// together ten thousand of them have up to eight times as much. The kernel's own bound (tcp_mem in tcp(7), by default a
/// sixteenth of the memory before it begins to throw packets away) is one for the whole machine: at it, everybody's
/// sockets are slow.
const SEND_BYTES_MAX: usize = 64 << 20;

/// The least of that for one connection, in bytes, and the most that the kernel would take by itself. The least is
/// also what a reader hands out at once where there are that many.
const SEND_BYTES: std::ops::Range<usize> = 16 << 10..4 << 20;

/// A listening socket, whose connections are within their limit.
pub(super) struct Listener {
    socket: TcpListener,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
}

impl Listener {
    pub(super) fn new(socket: TcpListener, live: Arc<Live>, metrics: Arc<Metrics>) -> Self {
        Listener { socket, live, metrics }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`, then drains. No connection task outlives this.
    pub(super) async fn run<H: Handler>(self, shared: Arc<Shared<H>>, health: &Health, stop: impl Future<Output = ()>) {
        let live = self.live.clone();
        let (drain, draining) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stopped = pin!(async {
            stop.await;
            health.advance(Phase::Draining);
            sleep(milliseconds(live.limits().drain_delay_ms)).await;
        });

        health.advance(Phase::Serving);
        loop {
            select! {
                biased;
                () = &mut stopped => break,
                Some(_) = connections.join_next() => {}
                (stream, address, slot) = self.next() => {
                    let (shared, draining) = (shared.clone(), draining.clone());
                    connections.spawn(async move {
                        connection::serve(shared, stream, address, draining).await;
                        drop(slot);
                    });
                }
            }
        }

        drop(self);
        let drain_timeout = milliseconds(live.limits().drain_timeout_ms);
        drain.send_replace(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(drain_timeout, all_ended).await.is_err() {
            tracing::warn!(connections = connections.len(), "requests did not end within drain_timeout_ms and are cut");
            connections.shutdown().await;
        }
        health.advance(Phase::Stopped);
    }

    /// The next connection, once there is a slot for it.
    async fn next(&self) -> (TcpStream, SocketAddr, Slot) {
        let slot = self.live.slots.take(|| self.live.limits().connections_max).await;
        let failed = |error: &io::Error| {
            self.metrics.accept_failed();
            tracing::warn!(%error, "a connection could not be accepted");
        };
        let (stream, address) = accept_patiently(|context| self.socket.poll_accept(context), failed).await;
        // Answers are written whole; waiting for more to send would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %address, "TCP_NODELAY was refused");
        }
        bound_send_buffer(&stream, address, self.live.slots.held());
        (stream, address, slot)
    }
}

/// Sets what the kernel takes of an answer before the client has read it, where there are `connections`. It goes on
/// as it would without, if it refuses.
fn bound_send_buffer(stream: &TcpStream, peer: SocketAddr, connections: u64) {
    let share = SEND_BYTES_MAX / usize::try_from(connections).unwrap_or(usize::MAX).max(1);
    if share >= SAME_HOST_SEND_BYTES && is_same_host(stream, peer) {
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(stream, SAME_HOST_SEND_BYTES);
    } else if share < SEND_BYTES.end {
        // Not the size of the buffer: what is on its way to a client far away does not count.
        let unsent = u32::try_from(share.max(SEND_BYTES.start)).expect("less than the most");
        let _ = SockRef::from(stream).set_tcp_notsent_lowat(unsent);
    }
}

/// Whether the client runs on this machine: it comes from an address of ours.
fn is_same_host(stream: &TcpStream, peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == peer)
}

/// Accepts until it succeeds, with growing pauses while the system has no descriptors or memory.
///
/// Dropping it, for instance because a connection ended, only shortens the pause.
async fn accept_patiently<T>(
    mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    failed: impl Fn(&io::Error),
) -> T {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        match poll_fn(&mut poll_accept).await {
            Ok(accepted) => return accepted,
            // That client has gone; the next one is not affected.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                failed(&error);
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    /// "Too many open files" of Linux and of every other Unix.
    const EMFILE: i32 = 24;

    #[tokio::test]
    async fn a_client_is_on_the_same_machine_if_its_address_is_ours() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = socket.accept().await.unwrap();
        assert!(is_same_host(&stream, peer));
        for (address, is_ours) in [("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true), ("192.0.2.1:1", false)] {
            assert_eq!(is_same_host(&stream, address.parse().unwrap()), is_ours, "{address}");
        }
    }

    #[tokio::test]
    async fn the_more_connections_the_less_is_sent_in_advance() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut unsent = Vec::new();
        for connections in [1, 1_000, 10_000] {
            let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
            let (stream, peer) = socket.accept().await.unwrap();
            let before = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
            bound_send_buffer(&stream, peer, connections);
            let now = SockRef::from(&stream).tcp_notsent_lowat().unwrap();
            unsent.push((now != before).then_some(now as usize));
        }
        assert_eq!(unsent, [None, Some(SEND_BYTES_MAX / 1_000), Some(SEND_BYTES.start)]);
    }

    #[tokio::test(start_paused = true)]
    async fn running_out_of_descriptors_is_survived_with_growing_pauses() {
        let begin = Instant::now();
        let failures = Cell::new(0);
        let accepted = accept_patiently(
            |_| {
                if failures.get() < 12 {
                    Poll::Ready(Err(io::Error::from_raw_os_error(EMFILE)))
                } else {
                    Poll::Ready(Ok("connection"))
                }
            },
            |_| failures.set(failures.get() + 1),
        )
        .await;
        assert_eq!(accepted, "connection");
        // 5 + 10 + ... + 640 ms, then four pauses of a second.
        assert_eq!(begin.elapsed(), Duration::from_millis(1_275 + 4_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_left_the_queue_causes_no_pause() {
        let begin = Instant::now();
        let mut left = 100;
        accept_patiently(
            |_| {
                left -= 1;
                let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
                Poll::Ready(if left > 0 { Err(gone) } else { Ok(()) })
            },
            |_| panic!("not a failure of the server"),
        )
        .await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
