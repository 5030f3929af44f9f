//! Signals that end the service, the first one gracefully, the second at once; and the one that has it read its
//! configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Added to a signal's number to make an exit code, as shells do.
const SIGNAL_EXIT_BASE: i32 = 128;

/// The signals that end the service.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP: what was configured may have changed. zot ends at it.
pub struct Hangup(Signal);

impl Hangup {
    /// From now on the signal no longer kills the process. Must be called inside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Hangup)
    }

    /// Waits for the next one; several that come together are one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime ends.
            std::future::pending::<()>().await;
        }
    }
}

impl Signals {
    /// From now on these signals no longer kill the process by themselves.
    /// Must be called inside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Ends at the first signal. A second one ends the process without waiting for anything:
    /// whatever was acknowledged is on disk already.
    pub async fn stop(mut self) {
        let first = self.next().await;
        tracing::info!(signal = first.as_raw_value(), "stopping: open requests may end; a second signal stops at once");
        tokio::spawn(async move {
            let second = self.next().await;
            tracing::warn!(signal = second.as_raw_value(), "stopped at once by a second signal");
            std::process::exit(SIGNAL_EXIT_BASE + second.as_raw_value());
        });
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}
