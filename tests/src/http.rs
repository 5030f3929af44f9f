//! A raw HTTP client: one connection a request, nothing retried, nothing hidden.
//!
//! In: a request as the test wants it on the wire. Out: an [`Answer`] with the whole body, or a
//! [`Response`] to read piece by piece. Malformed requests go through [`Client::raw`].

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::tls::Certificates;

/// How long one exchange may take. The longest moves 10 GiB on a busy machine.
const EXCHANGE_MAX: Duration = Duration::from_secs(300);

/// Bodies that tests send.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why there was no answer.
#[derive(Debug)]
pub enum Failure {
    Io(io::Error),
    Http(hyper::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Io(error) => write!(f, "{error}"),
            Failure::Http(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Failure::Http(error)
    }
}

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A complete answer.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the registry sends ASCII headers"))
    }

    /// Every value of a header that may be repeated or hold a comma-separated list.
    pub fn header_list(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        let values = values.map(|value| value.to_str().expect("the registry sends ASCII headers"));
        values.flat_map(|value| value.split(',')).map(str::trim).collect()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// Asserts the status and the first error's code in the body, in the form that the OCI
    /// distribution specification gives ("Error Codes").
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.json()["errors"][0]["code"], code, "{answer:?}");
        answer
    }

    /// Where the answer leads, as a path and query on the same server.
    #[track_caller]
    pub fn location(&self) -> String {
        let location = self.header("location");
        assert!(!location.is_empty(), "no Location: {self:?}");
        match location.split_once("://") {
            Some((_, rest)) => rest[rest.find('/').expect("a URL with a path")..].to_owned(),
            None => location.to_owned(),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Bytes of a body that a failed assertion shows.
        const SHOWN_BYTES_MAX: usize = 1024;
        let shown = &self.body[..self.body.len().min(SHOWN_BYTES_MAX)];
        write!(f, "{:?} {} {:?}, {} bytes: ", self.version, self.status, self.headers, self.body.len())?;
        f.write_str(&String::from_utf8_lossy(shown))
    }
}

/// How to reach one registry.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    http2: bool,
}

impl Client {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, http2: false }
    }

    pub fn tls(address: SocketAddr, certificates: &Certificates, http2: bool) -> Self {
        let protocol = if http2 { "h2" } else { "http/1.1" };
        Self { address, tls: Some(certificates.client_config(protocol)), http2 }
    }

    /// Sends a request and reads the head of the answer; the body follows as it is read.
    pub async fn open(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let exchange = async {
            let stream = self.connect().await?;
            if self.http2 {
                let uri = format!("https://{}{}", self.address, request.uri());
                *request.uri_mut() = uri.parse().expect("an origin and a path make a URI");
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                return Ok(sender.send_request(request).await?);
            }
            let host = HeaderValue::from_str(&self.address.to_string()).expect("an address is ASCII");
            request.headers_mut().entry(header::HOST).or_insert(host);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            Ok(sender.send_request(request).await?)
        };
        timeout(EXCHANGE_MAX, exchange).await.map_err(|late| Failure::Io(late.into()))?
    }

    /// Sends a request and reads the whole answer.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Answer, Failure> {
        let (head, body) = self.open(request).await?.into_parts();
        let body = timeout(EXCHANGE_MAX, body.collect()).await.map_err(|late| Failure::Io(late.into()))??;
        Ok(Answer { status: head.status, version: head.version, headers: head.headers, body: body.to_bytes() })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Panics
    /// If the connection breaks.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|failure| panic!("{what}: no answer: {failure}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, empty())).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send(request(Method::HEAD, path, empty())).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, empty())).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(request(Method::POST, path, full(body))).await
    }

    pub async fn patch(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(request(Method::PATCH, path, full(body))).await
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send(request(Method::PUT, path, full(body))).await
    }

    /// Sends bytes as they are and returns all that comes back until the server closes: it does so
    /// after a request with `connection: close` and after one that is no HTTP.
    ///
    /// # Panics
    /// If the server does not close.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await.expect("the registry accepts connections");
        // The server may refuse before it has read everything; what it says is what counts.
        let _ = stream.write_all(bytes).await;
        let mut received = Vec::new();
        let read = timeout(EXCHANGE_MAX, stream.read_to_end(&mut received)).await;
        // A reset after the answer leaves what was received before it.
        let _ = read.expect("the registry closes the connection");
        received
    }

    /// Sends bytes as they are and closes the connection at once.
    ///
    /// # Panics
    /// If the server does not take them.
    pub async fn cut(&self, bytes: &[u8]) {
        let mut stream = self.connect().await.expect("the registry accepts connections");
        stream.write_all(bytes).await.expect("the bytes are taken");
        stream.flush().await.expect("the bytes are sent");
    }

    /// A connection to write to and to drop in the middle.
    pub async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::IpAddress(self.address.ip().into());
        Ok(Box::new(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?))
    }
}

/// What a connection can do.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A request without further headers.
///
/// # Panics
/// If `path` is no path: use [`Client::raw`] for such.
pub fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// A request with one header.
///
/// # Panics
/// If `path` is no path or the header no header.
pub fn request_with(method: Method, path: &str, header: (&str, &str), body: Body) -> Request<Body> {
    let mut request = request(method, path, body);
    let name = header.0.parse::<header::HeaderName>().expect("a header name");
    request.headers_mut().append(name, header.1.parse().expect("a header value"));
    request
}
