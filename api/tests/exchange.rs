//! Rules that are exchanged while a registry serves: what was answered by the old ones is not answered again.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, request::Parts};
use orlop_api::{
    Current, Policy, Registry,
    access::{Access, Action, Actions, Identifying, Subject},
    front::{ForwardedBy, Front, Proxies, Rate, Rates},
    limits::Limits,
};
use support::TestRegistry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, oneshot},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Lets nobody in particular read everything, or nothing. Whoever asks waits at the gate.
struct Gate {
    is_open: bool,
    entered: Semaphore,
    pass: Semaphore,
}

impl Gate {
    fn new(is_open: bool, permits: usize) -> Arc<Self> {
        Arc::new(Gate { is_open, entered: Semaphore::new(0), pass: Semaphore::new(permits) })
    }
}

impl Access for Gate {
    fn identify<'a>(&'a self, _head: &'a Parts) -> Identifying<'a> {
        Box::pin(async {
            self.entered.add_permits(1);
            self.pass.acquire().await.expect("it is never closed").forget();
            Ok(Subject::anonymous())
        })
    }

    fn actions(&self, _subject: &Subject, _repository: &str) -> Actions {
        if self.is_open { Actions::of(&[Action::Read]) } else { Actions::NONE }
    }

    fn is_fixed(&self, _repository: &str, _tag: &str) -> bool {
        false
    }

    fn may_read_some(&self, _subject: &Subject) -> bool {
        self.is_open
    }

    fn may_see_metrics(&self, _subject: &Subject) -> bool {
        false
    }

    fn is_admin(&self, _subject: &Subject) -> bool {
        false
    }

    fn greets(&self, _subject: &Subject, _head: &Parts) -> bool {
        self.is_open
    }

    fn challenges(&self, _head: &Parts) -> Vec<HeaderValue> {
        vec![HeaderValue::from_static("Basic realm=\"x\"")]
    }

    fn token(&self, _subject: &Subject) -> Option<String> {
        None
    }
}

struct Served {
    address: SocketAddr,
    current: Current,
    registry: Registry,
    target: String,
    store: TestRegistry,
    _stop: oneshot::Sender<()>,
}

impl Served {
    async fn start(access: Arc<Gate>) -> Self {
        let store = TestRegistry::new().await;
        let blob = store.push_blob("a", b"content").await;
        let registry = Registry::new(store.engine.clone(), Limits::default(), Policy::default());
        let server = registry.clone().with_access(access).bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let (address, current) = (server.local_addr().unwrap(), Current::clone(server.handler()));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(async { drop(stopped.await) }));
        Served { address, current, registry, target: format!("/v2/a/blobs/{blob}"), store, _stop: stop }
    }

    fn exchange(&self, access: Option<Arc<Gate>>) {
        let next = self.current.registry().renewed(Limits::default(), Policy::default(), Front::default());
        let next = match access {
            Some(access) => next.with_access(access),
            None => next,
        };
        self.current.exchange(next).unwrap();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn ask(&self, stream: &mut TcpStream) -> u16 {
        self.send(stream).await;
        status(stream).await
    }

    async fn send(&self, stream: &mut TcpStream) {
        stream.write_all(format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.target).as_bytes()).await.unwrap();
    }

    /// Requests that were answered without the handler.
    fn repeated(&self) -> u64 {
        let text = self.registry.metrics().encode();
        let line = text.lines().find_map(|line| line.strip_prefix("orlop_http_repeated_total "));
        line.expect("a counter").parse().unwrap()
    }
}

/// Reads one answer to its end and gives its status.
async fn status(stream: &mut TcpStream) -> u16 {
    let mut received = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&received).to_ascii_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
                if body.len() >= length.parse().unwrap() {
                    return head[9..12].parse().unwrap();
                }
            }
            assert!(stream.read_buf(&mut received).await.unwrap() > 0, "closed after {text:?}");
        }
    };
    timeout(PATIENCE, read).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_again_to_everybody_is_refused_by_the_next_rules() {
    let served = Served::start(Gate::new(true, 100)).await;
    let mut kept_alive = served.connect().await;
    for _ in 0..4 {
        assert_eq!(served.ask(&mut kept_alive).await, 200);
    }
    // A connection begins where answers are given again.
    assert_eq!(served.ask(&mut served.connect().await).await, 200);
    let repeated = served.repeated();
    assert!(repeated > 0, "the answer was kept");

    served.exchange(Some(Gate::new(false, 100)));
    assert_eq!(served.ask(&mut kept_alive).await, 401, "over the same connection");
    assert_eq!(served.ask(&mut served.connect().await).await, 401);
    assert_eq!(served.repeated(), repeated);

    served.exchange(None);
    for _ in 0..4 {
        assert_eq!(served.ask(&mut kept_alive).await, 200, "without access control");
    }
    assert_eq!(served.ask(&mut served.connect().await).await, 200);
    assert!(served.repeated() > repeated);
    served.exchange(Some(Gate::new(false, 100)));
    assert_eq!(served.ask(&mut kept_alive).await, 401);
    drop(served.store);
}

/// Where answers are given again, too, the client is whom the proxies of the moment say, and has the rates of the
/// moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_answer_is_given_by_the_front_of_the_moment() {
    let served = Served::start(Gate::new(true, 1000)).await;
    let mut kept_alive = served.connect().await;
    for _ in 0..4 {
        assert_eq!(served.ask(&mut kept_alive).await, 200);
    }
    let proxies = Proxies { trusted: vec!["127.0.0.0/8".parse().unwrap()], header: ForwardedBy::XForwardedFor };
    let slow = || Some(Rates::new(Rate::new(1), Vec::new()));
    let exchange = |front: Front| {
        let next = served.current.registry().renewed(Limits::default(), Policy::default(), front);
        served.current.exchange(next.with_access(Gate::new(true, 1000))).unwrap();
    };
    // Everybody for himself: many answers are given again, and the handlers are asked for the first ones only.
    let before = served.repeated();
    exchange(Front { rates: slow(), proxies, ..Front::default() });
    for number in 1..=20 {
        let fields = format!("X-Forwarded-For: 192.0.2.{number}\r\n");
        kept_alive
            .write_all(format!("GET {} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", served.target).as_bytes())
            .await
            .unwrap();
        assert_eq!(status(&mut kept_alive).await, 200, "{number}");
    }
    assert!(served.repeated() > before, "by the new front, too");
    // All of them are one client now, over the same connection.
    exchange(Front { rates: slow(), ..Front::default() });
    let refused = async { while served.ask(&mut kept_alive).await != 429 {} };
    timeout(PATIENCE, refused).await.expect("one is too many");
    exchange(Front::default());
    for _ in 0..20 {
        assert_eq!(served.ask(&mut kept_alive).await, 200);
    }
}

/// A request that was let in by the old rules ends by them; its answer is for itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_during_the_exchange_is_not_kept() {
    let open = Gate::new(true, 1);
    let served = Served::start(open.clone()).await;
    let mut slow = served.connect().await;
    assert_eq!(served.ask(&mut slow).await, 200);
    // For the second time: the answer would be kept.
    served.send(&mut slow).await;
    let entered = timeout(PATIENCE, open.entered.acquire_many(2));
    entered.await.expect("the request comes").unwrap().forget();

    served.exchange(Some(Gate::new(false, 100)));
    open.pass.add_permits(1);
    assert_eq!(status(&mut slow).await, 200, "by the rules at its begin");
    assert_eq!(served.ask(&mut slow).await, 401);
    assert_eq!(served.ask(&mut served.connect().await).await, 401);
    assert_eq!(served.repeated(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_for_connections_that_begin_later() {
    let served = Served::start(Gate::new(true, 100)).await;
    let mut before = served.connect().await;
    assert_eq!(served.ask(&mut before).await, 200);
    let limits = Limits { headers_max: 1, ..Limits::default() };
    let open = |limits| {
        let next = served.current.registry().renewed(limits, Policy::default(), Front::default());
        next.with_access(Gate::new(true, 100))
    };
    served.current.exchange(open(limits)).unwrap();
    let two = format!("GET {} HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n", served.target);
    before.write_all(two.as_bytes()).await.unwrap();
    assert_eq!(status(&mut before).await, 200, "as when it began");
    let mut after = served.connect().await;
    after.write_all(two.as_bytes()).await.unwrap();
    assert_eq!(status(&mut after).await, 431);

    let wrong = Limits { headers_max: 0, ..Limits::default() };
    assert!(served.current.exchange(open(wrong)).is_err());
}
