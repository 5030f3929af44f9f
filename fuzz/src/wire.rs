//! Any bytes on a connection, as HTTP/1 or, after the preface, as frames of HTTP/2.
//!
//! An input is a byte that chooses the protocol, and what is sent. The server answers in its protocol
//! and ends the connection; it neither hangs, nor fails, nor stops to serve others.

use crate::server::{self, After};

/// What an HTTP/2 client sends first (RFC 9113 section 3.4), with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let (address, registry, _) = server::registry();
    let is_http2 = choice % 2 == 1;
    let sent = if is_http2 { [PREFACE, bytes].concat() } else { bytes.to_vec() };
    let received = server::exchange(address, &sent, After::End);
    if !is_http2 && !sent.starts_with(b"PRI * HTTP/2.0") {
        check(&received);
    }
    let plain = b"GET /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let after = server::exchange(address, plain, After::Wait);
    assert!(after.starts_with(b"HTTP/1.1 200"), "{}", after.escape_ascii());
    server::assert_no_panic(&registry);
}

/// Every answer that begins is one, and none says that the server failed.
fn check(received: &[u8]) {
    assert!(received.is_empty() || received.starts_with(b"HTTP/1."), "{}", received.escape_ascii());
    let failed = received.windows(13).any(|bytes| bytes == b"HTTP/1.1 500 ");
    assert!(!failed, "{}", received.escape_ascii());
}
