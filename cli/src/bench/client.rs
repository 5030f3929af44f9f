//! One connection to a registry, kept alive, with one request at a time on it.
//!
//! In: a request. Out: a [`Reply`] whose body has been read to its end and counted. The connection
//! is driven by the task that uses it, so a request wakes no other thread.

use std::{
    error::Error as _,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    gauge::Gauge,
    target::{Credentials, Target},
    upload::Upload,
};

/// Bytes of a body that are kept for a caller or an error message; the others are only counted.
pub const KEPT_BYTES_MAX: usize = 64 << 10;

/// Why a request failed, in a few words that are the same for the same cause, so that they can be
/// counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request, described; the client adds what every request carries.
pub struct Call<'a> {
    pub method: Method,
    /// Path and query, as sent.
    pub path: &'a str,
    pub content_type: Option<&'static str>,
    pub accept: Option<&'static str>,
    pub body: Upload,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Length of the body as it arrived.
    pub body_bytes: u64,
    /// The first bytes of the body, if they were asked for or the status is not a success.
    pub kept: Vec<u8>,
    /// From the start of sending to the head of the response.
    pub first_byte: Duration,
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

struct Link {
    sender: SendRequest<Upload>,
    /// None once the connection has ended.
    driver: Option<Driver>,
}

pub struct Client {
    target: Arc<Target>,
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    gauge: Arc<Gauge>,
    link: Option<Link>,
}

impl Client {
    /// Does not connect yet. With `tls`, it will speak it.
    pub fn new(
        target: &Arc<Target>,
        credentials: Option<&Credentials>,
        tls: Option<&TlsConnector>,
        gauge: &Arc<Gauge>,
    ) -> Self {
        Self {
            target: Arc::clone(target),
            authorization: credentials.map(|credentials| credentials.0.clone()),
            tls: tls.cloned(),
            gauge: Arc::clone(gauge),
            link: None,
        }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Closes the connection; the next request opens another.
    pub fn disconnect(&mut self) {
        self.link = None;
    }

    /// Sends a request and reads the whole answer, whatever its status; keeps the start of the
    /// body if `keep`. Errors: the connection cannot be made or breaks.
    pub async fn exchange(&mut self, call: Call<'_>, keep: bool) -> Result<Reply, Problem> {
        let request = self.request(call)?;
        let mut link = self.ready_link().await?;
        let start = Instant::now();
        let response = drive(&mut link.driver, link.sender.send_request(request)).await;
        let response = response.map_err(|error| broken("no answer", &error))?;
        let first_byte = start.elapsed();
        let keep = keep || !response.status().is_success();
        let reply = self.read(&mut link, response, keep, first_byte).await?;
        self.link = Some(link);
        self.gauge.requests.fetch_add(1, Ordering::Relaxed);
        Ok(reply)
    }

    fn request(&self, call: Call<'_>) -> Result<Request<Upload>, Problem> {
        let uri: Uri = call.path.parse().map_err(|error| Problem(format!("not a path that can be sent: {error}")))?;
        let empty = call.body.bytes_left() == 0;
        let mut request = Request::new(call.body);
        let headers = request.headers_mut();
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("orlop-bench/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(accept) = call.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(content_type) = call.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // RFC 9110 section 8.6: methods that give a body a meaning declare even an empty one.
        if empty && matches!(call.method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        Ok(request)
    }

    /// The connection of the last request if it can take another, or a new one.
    async fn ready_link(&mut self) -> Result<Link, Problem> {
        if let Some(mut link) = self.link.take()
            && drive(&mut link.driver, link.sender.ready()).await.is_ok()
            && link.driver.is_some()
        {
            return Ok(link);
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<Link, Problem> {
        let Target { host, port, .. } = &*self.target;
        let refused = |error: &dyn fmt::Display| Problem(format!("cannot connect to {host} port {port}: {error}"));
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| refused(&error))?;
        stream.set_nodelay(true).map_err(|error| refused(&error))?;
        match &self.tls {
            None => handshake(TokioIo::new(stream)).await,
            Some(connector) => {
                let name = ServerName::try_from(host.clone()).map_err(|error| refused(&error))?;
                let stream = connector.connect(name, stream).await.map_err(|error| refused(&error))?;
                handshake(TokioIo::new(stream)).await
            }
        }
    }

    async fn read(
        &mut self,
        link: &mut Link,
        response: Response<Incoming>,
        keep: bool,
        first_byte: Duration,
    ) -> Result<Reply, Problem> {
        let (head, mut body) = response.into_parts();
        let mut reply =
            Reply { status: head.status.as_u16(), headers: head.headers, body_bytes: 0, kept: Vec::new(), first_byte };
        while let Some(frame) = drive(&mut link.driver, body.frame()).await {
            let frame = frame.map_err(|error| broken("the answer broke off", &error))?;
            let Ok(data) = frame.into_data() else { continue };
            reply.body_bytes += data.len() as u64;
            self.gauge.body_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            if keep {
                reply.keep(&data);
            }
        }
        Ok(reply)
    }
}

impl Reply {
    fn keep(&mut self, data: &Bytes) {
        let room = KEPT_BYTES_MAX - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
    }
}

async fn handshake<T>(io: T) -> Result<Link, Problem>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let shaken = http1::handshake(io).await;
    let (sender, connection) = shaken.map_err(|error| broken("cannot speak HTTP/1.1", &error))?;
    Ok(Link { sender, driver: Some(Box::pin(connection)) })
}

/// Runs `future` to its end while driving the connection it waits for. The connection goes first:
/// it has what the future waits for, and sees that the peer has closed before a request is sent.
async fn drive<T>(driver: &mut Option<Driver>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Some(connection) = driver
            && connection.as_mut().poll(context).is_ready()
        {
            // Why it ended reaches the future: its channel to the connection is closed now.
            *driver = None;
        }
        match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(value),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn broken(what: &str, error: &hyper::Error) -> Problem {
    match error.source() {
        Some(source) => Problem(format!("{what}: {error}: {source}")),
        None => Problem(format!("{what}: {error}")),
    }
}
