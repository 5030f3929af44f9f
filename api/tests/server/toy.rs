//! A server with a handler whose every behaviour a test can ask for, and a bare client.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_api::{
    front::Front,
    health::Health,
    limits::Limits,
    metrics::{Metrics, RouteClass},
    server::{
        Handler, Live, MayRepeat, Peer, Repeat, Repeatable, Repeated, RequestBody, RequestBodyError, RouteSlot, Server,
        ServerOptions, Tls,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// How long a test waits for what must happen. Never waited for in full when the test passes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The size of the `/large` answer: more than any socket or window buffers.
pub const LARGE_BYTES: u64 = 64 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type ToyBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a test can see of, and say to, the handler.
pub struct Gate {
    /// One permit lets one `/gated` request answer.
    pub open: Semaphore,
    /// One permit for each `/gated` request that arrived.
    pub entered: Semaphore,
    /// Requests for `/smuggled`.
    pub smuggled: AtomicUsize,
    /// No answer holds any more.
    pub changed: AtomicBool,
}

struct Toy {
    gate: Arc<Gate>,
    front: Arc<Front>,
}

impl Handler for Toy {
    type Body = ToyBody;
    type Rules = Arc<Front>;

    fn rules(&self) -> Arc<Front> {
        self.front.clone()
    }

    async fn handle(&self, _: Arc<Front>, request: Request<RequestBody>) -> Response<ToyBody> {
        request.extensions().get::<RouteSlot>().unwrap().set(RouteClass::Base);
        let peer = request.extensions().get::<Peer>().unwrap().clone();
        match request.uri().path() {
            "/hello" => self.repeatable(&request, text("hello")),
            "/hi" => self.repeatable(&request, text("hello")),
            "/scheme" => text(peer.scheme.as_str().to_owned()),
            "/client" => text(peer.client.to_string()),
            "/port" => text(peer.address.port().to_string()),
            "/count" => count(request.into_body()).await,
            "/large" => self.repeatable(&request, Response::new(Filling { left: LARGE_BYTES }.boxed_unsync())),
            "/breaks-again" => self.repeatable(&request, text("first half")),
            "/fails" => Response::new(Breaks { sent: false, panics: false }.boxed_unsync()),
            "/panics-in-body" => Response::new(Breaks { sent: false, panics: true }.boxed_unsync()),
            "/panics" => panic!("asked for by the test"),
            "/slow" => {
                sleep(Duration::from_millis(900)).await;
                text("slow")
            }
            "/gated" => {
                self.gate.entered.add_permits(1);
                self.gate.open.acquire().await.unwrap().forget();
                text("gated")
            }
            "/smuggled" => {
                self.gate.smuggled.fetch_add(1, Ordering::SeqCst);
                text("smuggled")
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}

impl Toy {
    /// An answer with its length announced, to be given again as long as the gate says so.
    fn repeatable(&self, request: &Request<RequestBody>, mut response: Response<ToyBody>) -> Response<ToyBody> {
        let length = response.body().size_hint().exact().expect("a known length");
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        if request.extensions().get::<MayRepeat>().is_some() {
            let again = Again { gate: self.gate.clone(), path: request.uri().path().to_owned() };
            response.extensions_mut().insert(Repeatable::<ToyBody>(Arc::new(again)));
        }
        response
    }
}

struct Again {
    gate: Arc<Gate>,
    path: String,
}

impl Repeat<ToyBody> for Again {
    fn again(&self) -> Option<Repeated<ToyBody>> {
        if self.gate.changed.load(Ordering::SeqCst) {
            return None;
        }
        Some(match &*self.path {
            "/large" => Repeated::Stream(Filling { left: LARGE_BYTES }.boxed_unsync()),
            "/breaks-again" => Repeated::Stream(Breaks { sent: false, panics: false }.boxed_unsync()),
            "/hi" => Repeated::Stream(Full::new(Bytes::from("hello")).map_err(|never| match never {}).boxed_unsync()),
            _ => Repeated::Memory(Bytes::from("hello")),
        })
    }

    fn bytes_kept(&self) -> usize {
        5
    }
}

/// Answers the length of the body.
async fn count(mut body: RequestBody) -> Response<ToyBody> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Err(RequestBodyError::TooSlow { .. }) => return status(StatusCode::REQUEST_TIMEOUT),
            Err(RequestBodyError::Aborted(_)) => return status(StatusCode::BAD_REQUEST),
        }
    }
    text(bytes.to_string())
}

fn text(text: impl Into<Bytes>) -> Response<ToyBody> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

fn status(status: StatusCode) -> Response<ToyBody> {
    let mut response = text("");
    *response.status_mut() = status;
    response
}

/// A body of known length, made while it is sent.
struct Filling {
    left: u64,
}

impl Body for Filling {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        static PIECE: [u8; 256 << 10] = [7; 256 << 10];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

/// A body that breaks after its first frame.
struct Breaks {
    sent: bool,
    panics: bool,
}

impl Body for Breaks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.sent {
            self.sent = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first")))));
        }
        assert!(!self.panics, "asked for by the test");
        Poll::Ready(Some(Err("asked for by the test".into())))
    }
}

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub metrics: Arc<Metrics>,
    pub health: Health,
    pub gate: Arc<Gate>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    pub fn plain(change: impl FnOnce(&mut Limits)) -> Self {
        Running::start(None, change)
    }

    pub fn start(tls: Option<Tls>, change: impl FnOnce(&mut Limits)) -> Self {
        Running::behind(Front::default(), tls, change)
    }

    pub fn behind(front: Front, tls: Option<Tls>, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let gate = Arc::new(Gate {
            open: Semaphore::new(0),
            entered: Semaphore::new(0),
            smuggled: AtomicUsize::new(0),
            changed: AtomicBool::new(false),
        });
        let metrics = Metrics::new("test", Vec::new);
        let health = Health::new(|| Ok(()));
        let options = ServerOptions {
            address: "127.0.0.1:0".parse().unwrap(),
            tls,
            live: Live::new(limits).unwrap(),
            metrics: metrics.clone(),
            health: health.clone(),
            repeats: true,
            tracer: None,
        };
        let server = Server::bind(Toy { gate: gate.clone(), front: Arc::new(front) }, options).unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Running { address, metrics, health, gate, stop, task }
    }

    /// Asks the server to stop; the task ends when it has drained.
    pub fn stop(self) -> JoinHandle<io::Result<()>> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// An HTTP/2 connection with prior knowledge.
    pub async fn connect_http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        speak_http2(TcpStream::connect(self.address).await.unwrap()).await
    }

    /// Waits until the metrics have this line.
    pub async fn shows(&self, line: &str) {
        shows(&self.metrics, line).await;
    }
}

/// Waits until the metrics have this line.
pub async fn shows(metrics: &Metrics, line: &str) {
    let wanted = format!("{line}\n");
    let seen = async {
        while !metrics.encode().contains(&wanted) {
            tokio::task::yield_now().await;
        }
    };
    if timeout(PATIENCE, seen).await.is_err() {
        panic!("{line:?} did not appear in\n{}", metrics.encode());
    }
}

/// Begins HTTP/2 on a stream.
pub async fn speak_http2<S>(stream: S) -> http2::SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2 handshake");
    tokio::spawn(connection);
    sender
}

pub fn get(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{address}{path}")).body(Empty::new()).unwrap()
}

/// An answer as a bare client reads it.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// HTTP/1 by hand, so that a test controls every byte and its time.
pub struct Client<S> {
    pub stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Client { stream, received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// GET on a kept-alive connection.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.reply().await.expect("an answer")
    }

    /// The next answer with a Content-Length; `None` when the connection ends first.
    pub async fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.more().await == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.header(header::CONTENT_LENGTH.as_str()).map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            if self.more().await == 0 {
                return None;
            }
        }
        reply.body = self.received.drain(..length).collect();
        Some(reply)
    }

    /// Everything until the connection ends, whether in order or by a reset.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await > 0 {}
        std::mem::take(&mut self.received)
    }

    async fn more(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let read = within(self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..read]);
        read
    }
}

/// `future`, which must end in time.
pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("within the patience of the test")
}
