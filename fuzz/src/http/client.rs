//! A plain client of HTTP/1 on one connection, which is opened anew when it was closed.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::server::{self, After};

pub struct Client {
    address: SocketAddr,
    stream: TcpStream,
}

pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default()
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Client { address, stream: server::connect(address) }
    }

    /// Sends a request with a length. `headers` are whole lines.
    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {length}\r\n\r\n");
        self.exchange(&[head.as_bytes(), body].concat())
    }

    /// Sends a request in chunks of `piece` bytes.
    pub fn send_chunked(&mut self, method: &str, path: &str, body: &[u8], piece: usize) -> Reply {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut sent = head.into_bytes();
        for chunk in body.chunks(piece) {
            sent.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
        self.exchange(&sent)
    }

    fn exchange(&mut self, sent: &[u8]) -> Reply {
        self.stream.write_all(sent).expect("the server takes requests");
        let mut received = Vec::new();
        let end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more(&mut received);
        };
        let head = String::from_utf8(received[..end].to_vec()).expect("heads are ASCII");
        let status = head[9..12].parse().expect("a status");
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.header("content-length").parse().unwrap_or(0);
        while received.len() < end + length {
            self.more(&mut received);
        }
        assert_eq!(received.len(), end + length, "more than one answer");
        reply.body = received.split_off(end);
        if reply.header("connection") == "close" {
            self.stream = server::connect(self.address);
        }
        reply
    }

    fn more(&mut self, received: &mut Vec<u8>) {
        let mut buffer = [0; 16 << 10];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // By the fuzzer's own clock.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.expect("the server answers"),
            }
        };
        assert!(read > 0, "the server closed without an answer: {}", received.escape_ascii());
        received.extend_from_slice(&buffer[..read]);
    }

    /// Announces a body of `length` bytes, sends fewer, and goes away.
    pub fn cut(&mut self, method: &str, path: &str, length: usize, body: &[u8]) {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let sent = self.stream.write_all(&[head.as_bytes(), body].concat());
        sent.expect("the server takes requests");
        let _ = self.stream.shutdown(Shutdown::Both);
        self.stream = server::connect(self.address);
    }

    /// Sends anything on a connection of its own; everything that comes back until the server ends it.
    pub fn send_raw(&mut self, sent: &str) -> Vec<u8> {
        server::exchange(self.address, sent.as_bytes(), After::Wait)
    }
}
