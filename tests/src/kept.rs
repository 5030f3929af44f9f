//! A client that keeps its connection, for tests with more requests than a machine has ports.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    Answer,
    http::{Body, Failure, empty, full, request},
};

/// One connection over HTTP/1.1, one request at a time; opened again when the server closed it.
pub struct Kept {
    address: SocketAddr,
    sender: Option<SendRequest<Body>>,
}

impl Kept {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, sender: None }
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Body>, Failure> {
        let is_usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        Ok(self.sender.as_mut().expect("just made, if it was not there"))
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, mut request: Request<Body>) -> Result<Answer, Failure> {
        let host = HeaderValue::from_str(&self.address.to_string()).expect("an address is ASCII");
        request.headers_mut().insert(header::HOST, host);
        let (head, body) = self.sender().await?.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, version: head.version, headers: head.headers, body })
    }

    /// Sends a request without further headers.
    pub async fn call(&mut self, method: Method, path: &str, body: impl Into<bytes::Bytes>) -> Result<Answer, Failure> {
        let body = body.into();
        let body = if body.is_empty() && method != Method::POST { empty() } else { full(body) };
        self.send(request(method, path, body)).await
    }
}
