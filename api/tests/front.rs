//! What stands before the routes of a registry, over real sockets: how many requests a client may send, and the path
//! that everything is below.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::Method;
use orlop_api::{
    Policy, Registry,
    front::{BasePath, ForwardedBy, Front, Proxies, Rate, Rates},
    limits::Limits,
};
use support::TestRegistry;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

const CONTENT: &str = "content";

/// Requests that come faster than a second has them.
const FLOOD: usize = 60;

struct Served {
    address: SocketAddr,
    registry: Registry,
    inside: TestRegistry,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Served {
    async fn start(front: Front) -> Self {
        let inside = TestRegistry::new().await;
        let registry = Registry::new(inside.engine.clone(), Limits::default(), Policy::default()).with_front(front);
        let server = registry.bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async { drop(stopped.await) }));
        Served { address, registry, inside, stop, task }
    }

    async fn connect(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(self.address).await.unwrap())
    }

    async fn ask(&self, method: &str, target: &str, fields: &str) -> Answer {
        ask(&mut self.connect().await, method, target, fields).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }
}

/// Sends the head of a request and reads the answer; a body that it announces never comes.
async fn ask(stream: &mut BufReader<TcpStream>, method: &str, target: &str, fields: &str) -> Answer {
    let exchange = async {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.read_line(&mut head).await.unwrap() > 0, "the connection ended within {head:?}");
        }
        let status = head[9..12].parse().unwrap();
        let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
        stream.read_exact(&mut body).await.unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    };
    timeout(PATIENCE, exchange).await.expect("an answer")
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn rate(requests: u32) -> Rate {
    Rate::new(requests).unwrap()
}

fn repeated(served: &Served) -> u64 {
    let metrics = served.registry.metrics().encode();
    let line = metrics.lines().find_map(|line| line.strip_prefix("orlop_http_repeated_total "));
    line.expect("the metric").parse().unwrap()
}

/// The most requests that a rate lets through in the time since `began`.
fn most(rate: u32, began: Instant) -> usize {
    rate as usize + (began.elapsed().as_secs_f64() * f64::from(rate)).ceil() as usize
}

#[tokio::test]
async fn a_client_that_sends_too_many_is_told_when_to_come_again() {
    let served = Served::start(Front { rates: Some(Rates::new(Some(rate(2)), Vec::new())), ..Front::default() }).await;
    let began = Instant::now();
    let mut taken = 0;
    for _ in 0..FLOOD {
        let answer = served.ask("GET", "/v2/", "").await;
        if answer.status == 200 {
            taken += 1;
            continue;
        }
        assert_eq!(answer.status, 429);
        assert!(answer.body.contains("\"TOOMANYREQUESTS\""), "{}", answer.body);
        assert_eq!(answer.field("retry-after"), Some("1"));
        assert_eq!(answer.field("x-rate-limit-limit"), Some("2.00"));
        assert_eq!(answer.field("x-rate-limit-duration"), Some("1"));
    }
    assert!((2..=most(2, began)).contains(&taken), "{taken}");
    for _ in 0..FLOOD {
        assert_eq!(served.ask("GET", "/livez", "").await.status, 200, "a probe");
    }
    served.stop().await;
}

/// A limit that is asked after the body costs what it was to save.
#[tokio::test]
async fn what_is_too_much_is_refused_by_its_head() {
    let rates = Rates::new(None, vec![(Method::POST, rate(1))]);
    let served = Served::start(Front { rates: Some(rates), ..Front::default() }).await;
    let digest = support::sha256(CONTENT.as_bytes());
    let head =
        format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
    // No body ever comes: those that are taken wait for it, and only a refusal is an answer.
    let mut streams = Vec::new();
    for _ in 0..FLOOD {
        let mut stream = served.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let mut answers = JoinSet::new();
    for mut stream in streams {
        answers.spawn(async move {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            (line, stream)
        });
    }
    let first = timeout(PATIENCE, answers.join_next()).await.expect("a refusal").unwrap().unwrap();
    assert!(first.0.starts_with("HTTP/1.1 429 "), "{}", first.0);
    for _ in 0..FLOOD {
        assert_eq!(served.ask("GET", "/v2/", "").await.status, 200, "another method");
    }
    drop(answers);
    served.stop().await;
}

#[tokio::test]
async fn answers_that_are_given_again_count_as_well() {
    const RATE: u32 = 20;
    let front = Front { rates: Some(Rates::new(Some(rate(RATE)), Vec::new())), ..Front::default() };
    let served = Served::start(front).await;
    let digest = served.inside.push_blob("a", CONTENT.as_bytes()).await;
    let began = Instant::now();
    let mut stream = served.connect().await;
    let mut taken = 0;
    for _ in 0..FLOOD * RATE as usize {
        let answer = ask(&mut stream, "GET", &format!("/v2/a/blobs/{digest}"), "").await;
        match answer.status {
            200 => taken += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert!((RATE as usize..=most(RATE, began)).contains(&taken), "{taken} in {:?}", began.elapsed());
    assert!(repeated(&served) > 0, "some of them were given again");
    served.stop().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_every_client_has_its_own_share() {
    for header in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
        let proxies = Proxies { trusted: vec!["127.0.0.1".parse().unwrap()], header };
        let front = Front { proxies, rates: Some(Rates::new(Some(rate(1)), Vec::new())), ..Front::default() };
        let served = Served::start(front).await;
        let digest = served.inside.push_blob("a", CONTENT.as_bytes()).await;
        let target = format!("/v2/a/blobs/{digest}");
        let mut stream = served.connect().await;
        let of = |client: usize| match header {
            ForwardedBy::XForwardedFor => format!("X-Forwarded-For: 127.0.0.1, 192.0.2.{client}\r\n"),
            ForwardedBy::Forwarded => format!("Forwarded: for=127.0.0.1, for=192.0.2.{client}\r\n"),
        };
        // Over one connection, so that most of them are given again.
        for client in 0..FLOOD {
            assert_eq!(ask(&mut stream, "GET", &target, &of(client)).await.status, 200, "{client}");
        }
        let began = Instant::now();
        let mut taken = 0;
        for _ in 0..FLOOD {
            taken += usize::from(ask(&mut stream, "GET", &target, &of(200)).await.status == 200);
        }
        assert!((1..=most(1, began)).contains(&taken), "{taken}");
        served.stop().await;
    }
}

/// The loopback rule is for whoever is on the machine: a proxy there is not, whoever it says it asks for.
#[tokio::test]
async fn no_client_behind_a_proxy_is_an_operator() {
    let proxies = Proxies { trusted: vec!["127.0.0.1".parse().unwrap()], ..Proxies::default() };
    let served = Served::start(Front { proxies, ..Front::default() }).await;
    for claim in ["X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=127.0.0.1\r\n"] {
        assert_eq!(served.ask("GET", "/v2/_orlop/gc", claim).await.status, 403, "{claim}");
    }
    assert_ne!(served.ask("GET", "/v2/_orlop/gc", "").await.status, 403, "from the machine itself");
    served.stop().await;
}

#[tokio::test]
async fn everything_is_below_the_base_path() {
    let front = Front { base_path: BasePath::new("/site/registry").unwrap(), ..Front::default() };
    let served = Served::start(front).await;
    let digest = served.inside.push_blob("a", CONTENT.as_bytes()).await;
    served.inside.push_blob("b", CONTENT.as_bytes()).await;
    for (path, status) in [
        ("/site/registry/v2/", 200),
        ("/site/registry/metrics", 200),
        ("/site/registry/livez", 200),
        ("/livez", 200),
        ("/v2/", 404),
        ("/metrics", 404),
        ("/site/registry", 404),
        ("/site/registryv2/", 404),
        ("/site/registry/site/registry/v2/", 404),
    ] {
        assert_eq!(served.ask("GET", path, "").await.status, status, "{path}");
    }
    let begun = served.ask("POST", "/site/registry/v2/a/blobs/uploads/", "Content-Length: 0\r\n").await;
    let location = begun.field("location").unwrap();
    assert!(location.starts_with("/site/registry/v2/a/blobs/uploads/"), "{location}");
    assert_eq!(served.ask("GET", location, "").await.status, 204);
    let catalog = served.ask("GET", "/site/registry/v2/_catalog?n=1", "").await;
    let link = catalog.field("link").unwrap();
    assert!(link.starts_with("</site/registry/v2/_catalog?"), "{link}");

    // Answers that are given again, with and without it.
    let mut stream = served.connect().await;
    let (below, beside) = (format!("/site/registry/v2/a/blobs/{digest}"), format!("/v2/a/blobs/{digest}"));
    for path in [&below, &below, &below, &beside, &beside, &beside, &below] {
        let answer = ask(&mut stream, "GET", path, "").await;
        match path == &below {
            true => assert_eq!((answer.status, answer.body.as_str()), (200, CONTENT)),
            false => assert_eq!(answer.status, 404),
        }
    }
    assert!(repeated(&served) > 0, "some of them were given again");
    served.stop().await;
}
