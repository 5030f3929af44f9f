//! Tells HTTP/2 with prior knowledge from HTTP/1 by the first bytes of a connection.
//!
//! In: an open stream. Out: the protocol, and a stream that still begins with every byte received.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::metrics::Protocol;

/// What an HTTP/2 client sends first (RFC 9113 section 3.4). No HTTP/1 request begins like this.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until the first byte that differs from the preface, or its end. `None` when the client
/// closed without sending anything. The caller limits the time.
pub(super) async fn detect<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<Option<(Protocol, Rewound<S>)>> {
    let mut prefix = [0; PREFACE.len()];
    let mut filled = 0;
    let protocol = loop {
        let bytes = stream.read(&mut prefix[filled..]).await?;
        filled += bytes;
        if filled == 0 {
            return Ok(None);
        }
        if bytes == 0 || prefix[..filled] != PREFACE[..filled] {
            break Protocol::Http1;
        }
        if filled == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    let mut stream = Rewound::new(stream);
    stream.put_back(Bytes::copy_from_slice(&prefix[..filled]));
    Ok(Some((protocol, stream)))
}

/// What connections are served on: a socket, or TLS over one.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A stream that bytes can be put back to.
pub(super) struct Rewound<S> {
    /// Still to be read, before what the stream has.
    prefix: Bytes,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    pub(super) fn new(inner: S) -> Self {
        Rewound { prefix: Bytes::new(), inner }
    }

    /// Bytes that were read from this stream last and are to be read again.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.prefix = match (bytes.is_empty(), self.prefix.is_empty()) {
            (true, _) => return,
            (_, true) => bytes,
            // A part of what was put back before has not been read again yet.
            _ => [&bytes[..], &self.prefix[..]].concat().into(),
        };
    }

    /// Waits until there is something to read; false at the end of the stream.
    pub(super) async fn await_bytes(&mut self) -> io::Result<bool> {
        let mut first = [0; PREFACE.len()];
        if self.prefix.is_empty() {
            let bytes = self.inner.read(&mut first).await?;
            self.prefix = Bytes::copy_from_slice(&first[..bytes]);
        }
        Ok(!self.prefix.is_empty())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let bytes = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// Sends `sent` one byte at a time and returns what was detected and read afterwards.
    async fn detected(sent: &[u8]) -> Option<(Protocol, Vec<u8>)> {
        let (server, mut client) = duplex(1);
        let send = async move {
            for byte in sent {
                client.write_all(&[*byte]).await.unwrap();
            }
        };
        let receive = async {
            let (protocol, mut stream) = detect(server).await.unwrap()?;
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            Some((protocol, received))
        };
        tokio::join!(send, receive).1
    }

    #[tokio::test]
    async fn what_is_put_back_comes_first() {
        let mut stream = Rewound::new(&b"ef"[..]);
        stream.put_back(Bytes::from_static(b"abcd"));
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        stream.put_back(Bytes::copy_from_slice(&two));
        stream.put_back(Bytes::new());
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"abcdef");
    }

    #[tokio::test]
    async fn the_protocol_is_found_and_no_byte_is_lost() {
        for (sent, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Protocol::Http1),
            (b"P", Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes", Protocol::Http2),
        ] {
            assert_eq!(detected(sent).await, Some((expected, sent.to_vec())));
        }
        assert_eq!(detected(b"").await, None);
    }
}
