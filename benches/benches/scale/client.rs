//! One keep-alive connection, as thin as a client can be: what it costs is not measured with the
//! server.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest answer: a head and the body of an error.
const ANSWER_BYTES_MAX: usize = 16 << 10;

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; ANSWER_BYTES_MAX] })
    }

    /// Sends a whole request and reads the whole answer; gives its status.
    /// Errors: the connection breaks; the answer is not HTTP/1.1 with a length, or too long.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..]).await?;
            if count == 0 {
                return Err(io::Error::other("the answer is cut short or too long"));
            }
            filled += count;
            let received = &self.buffer[..filled];
            let Some(head_bytes) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&received[..head_bytes]).to_ascii_lowercase();
            let is_head = request.starts_with(b"HEAD ");
            let body_bytes = if is_head { 0 } else { content_length(&head) };
            if filled >= head_bytes + 4 + body_bytes {
                return status(&head).ok_or_else(|| io::Error::other(format!("not an answer: {head}")));
            }
        }
    }
}

fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
