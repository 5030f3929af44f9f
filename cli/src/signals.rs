//! Signals that end the service: the first one gracefully, the second at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Added to a signal's number to make an exit code, as shells do.
const SIGNAL_EXIT_BASE: i32 = 128;

/// The signals that end the service. SIGHUP is one of them, as in zot.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals no longer kill the process by themselves.
    /// Must be called inside a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
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
            _ = self.hangup.recv() => SignalKind::hangup(),
        }
    }
}
