//! What is said of a request.

use http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use orlop_api::front::{BasePath, Front};
use orlop_tests::{
    Collector,
    collector::Mood,
    http::{empty, full, request, request_with},
    stream::sha256,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{DOCUMENT, INDEX, Rig, expect, has, with};

/// More than sockets and buffers between a server and a client that does not read.
const LARGE_BYTES: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_push_and_a_pull_are_spans_with_what_the_conventions_ask_for() {
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    let mut client = rig.kept();
    let blob = sha256(b"a blob");
    let begun = expect(client.call(Method::POST, "/v2/team/app/blobs/uploads/", "").await, 202).location();
    let id = begun.rsplit('/').next().expect("an id").split('?').next().expect("an id").to_owned();
    let mark = if begun.contains('?') { '&' } else { '?' };
    let finish = format!("{begun}{mark}digest={blob}&password=sentinel-1");
    expect(client.call(Method::PUT, &finish, "a blob").await, 201);
    let put = request_with(Method::PUT, "/v2/team/app/manifests/v1", ("content-type", INDEX), full(DOCUMENT));
    expect(client.send(with(put, &[("authorization", "Basic sentinel-2"), ("cookie", "sentinel-3")])).await, 201);
    let get = request(Method::GET, &format!("/v2/team/app/blobs/{blob}"), empty());
    let get = with(get, &[("user-agent", "docker/27.1"), ("x-forwarded-for", "192.0.2.9")]);
    expect(client.send(get).await, 200);
    expect(client.call(Method::GET, "/nothing/here?sentinel-4", "").await, 404);
    let spans = collector.wait_for(5).await;

    let names: Vec<&str> = spans.iter().map(|span| span.name()).collect();
    let expected = [
        "POST /v2/<name>/blobs/uploads/",
        "PUT /v2/<name>/blobs/uploads/<id>",
        "PUT /v2/<name>/manifests/<reference>",
        "GET /v2/<name>/blobs/<digest>",
        "GET",
    ];
    assert_eq!(names, expected);
    has(
        &spans[1],
        &[
            ("http.request.method", "PUT".into()),
            ("http.response.status_code", 201.into()),
            ("http.request.body.size", 6.into()),
            ("http.response.body.size", 0.into()),
            ("url.path", "/v2/team/app/blobs/uploads/<id>".into()),
        ],
    );
    has(&spans[2], &[("http.request.body.size", DOCUMENT.len().into()), ("enduser.id", Value::Null)]);
    has(
        &spans[3],
        &[
            ("http.request.method", "GET".into()),
            ("http.route", "/v2/<name>/blobs/<digest>".into()),
            ("url.path", format!("/v2/team/app/blobs/{blob}").into()),
            ("url.scheme", "http".into()),
            ("http.response.status_code", 200.into()),
            ("http.response.body.size", 6.into()),
            ("orlop.repository", "team/app".into()),
            ("server.address", "127.0.0.1".into()),
            ("server.port", rig.address.port().into()),
            // Nobody has said that this client may speak for others.
            ("client.address", "127.0.0.1".into()),
            ("network.peer.address", "127.0.0.1".into()),
            ("network.protocol.version", "1.1".into()),
            ("user_agent.original", "docker/27.1".into()),
            ("error.type", Value::Null),
            ("orlop.repeat", Value::Null),
        ],
    );
    has(&spans[4], &[("http.route", Value::Null), ("url.path", "/nothing/here".into())]);
    for span in &spans {
        assert_eq!(span.of_service("service.name"), "orlop");
        assert_eq!(span.of_service("service.version"), "1.2.3");
        assert_eq!(span.headers["x-tenant"], "ci");
        assert_eq!(
            (&span.span["kind"], &span.span["flags"], &span.span["status"]),
            (&json!(2), &json!(1), &Value::Null)
        );
        assert_eq!(span.span["parentSpanId"], Value::Null);
        let time = |key: &str| span.span[key].as_str().expect("a string").parse::<u128>().expect("nanoseconds");
        assert!(time("startTimeUnixNano") < time("endTimeUnixNano"));
        let text = span.span.to_string();
        assert!(!text.contains("sentinel") && !text.contains(&id), "{text}");
    }
    assert_eq!(rig.stop().await, (5, 0));
}

/// Decision 11: such an answer needs no handler, and not even hyper.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_given_again_is_a_span_like_any_other() {
    const PULLS: usize = 6;
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 1.0).await;
    let mut client = rig.kept();
    let put = request_with(Method::PUT, "/v2/app/manifests/v1", ("content-type", INDEX), full(DOCUMENT));
    expect(client.send(put).await, 201);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for _ in 0..PULLS {
        let get = request(Method::GET, "/v2/app/manifests/v1?ns=sentinel", empty());
        expect(client.send(with(get, &[("traceparent", parent), ("user-agent", "containerd")])).await, 200);
    }
    let spans = collector.wait_for(PULLS + 1).await;
    let is_repeat = |span: &&orlop_tests::collector::Received| span.attribute("orlop.repeat") == true;
    let (again, first): (Vec<_>, Vec<_>) = spans[1..].iter().partition(is_repeat);
    assert!(!again.is_empty() && !first.is_empty(), "both ways were taken: {spans:#?}");
    assert_eq!(again.len() as u64, rig.count("orlop_http_repeated_total"), "each has a span");
    let shown = |span: &orlop_tests::collector::Received| {
        let mut span = span.span.clone();
        for its_own in ["spanId", "startTimeUnixNano", "endTimeUnixNano"] {
            assert!(span[its_own].take().is_string());
        }
        span["attributes"].as_array_mut().expect("a list").retain(|attribute| attribute["key"] != "orlop.repeat");
        span
    };
    for span in again {
        assert_eq!(shown(span), shown(first[0]), "nothing else tells them apart");
        assert!(!span.span.to_string().contains("sentinel"));
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_lasts_to_the_end_of_the_body_and_says_when_that_was_cut_off() {
    let collector = Collector::start(Mood::Takes).await;
    let rig = Rig::start(&collector.endpoint(), 0.0).await;
    let content = vec![b'x'; LARGE_BYTES];
    let digest = sha256(&content);
    let path = format!("/v2/app/blobs/uploads/?digest={digest}");
    rig.client().post(&path, content).await.expect(201);
    let parent = |trace: char| format!("00-{}-b7ad6b7169203331-01", trace.to_string().repeat(32));

    let mut stream = TcpStream::connect(rig.address).await.expect("accepted");
    let head = |trace: char| {
        let parent = parent(trace);
        format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nhost: a\r\ntraceparent: {parent}\r\nconnection: close\r\n\r\n")
    };
    stream.write_all(head('a').as_bytes()).await.expect("sent");
    let mut begin = [0; 1024];
    stream.read_exact(&mut begin).await.expect("the begin of the answer");
    assert!(begin.starts_with(b"HTTP/1.1 200"));
    // Another request of the same trace of the client ends meanwhile; this one has not.
    let other = request(Method::GET, "/v2/", empty());
    rig.client().send(with(other, &[("traceparent", &parent('b'))])).await.expect(200);
    let spans = collector.wait_for(1).await;
    assert_eq!((spans.len(), &spans[0].span["traceId"]), (1, &json!("b".repeat(32))));
    drop(stream);
    let spans = collector.wait_for(2).await;
    let cut = &spans[1];
    assert_eq!(cut.span["traceId"], "a".repeat(32));
    assert_eq!(cut.span["status"], json!({ "code": 2 }));
    has(cut, &[("http.response.status_code", 200.into()), ("error.type", "connection".into())]);
    let sent = cut.attribute("http.response.body.size").as_u64().expect("a number");
    assert!(sent > 0 && sent < LARGE_BYTES as u64, "{sent}");

    let mut stream = TcpStream::connect(rig.address).await.expect("accepted");
    stream.write_all(head('c').as_bytes()).await.expect("sent");
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).await.expect("the answer");
    assert!(whole.len() > LARGE_BYTES);
    let spans = collector.wait_for(3).await;
    assert_eq!(spans[2].span["status"], Value::Null);
    has(&spans[2], &[("http.response.body.size", LARGE_BYTES.into()), ("error.type", Value::Null)]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_base_paths_odd_methods_and_http_2_are_told() {
    let collector = Collector::start(Mood::Takes).await;
    let mut front = Front { base_path: BasePath::new("/registry").expect("a path"), ..Front::default() };
    front.proxies.trusted = vec!["127.0.0.1".parse().expect("a network")];
    let rig = Rig::behind(&collector.endpoint(), 1.0, front).await;
    let fields = [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https"), ("host", "u:sentinel@r.test:444")];
    for path in ["/registry/v2/app/tags/list", "/livez", "/v2/app/tags/list"] {
        rig.client().send(with(request(Method::GET, path, empty()), &fields)).await;
    }
    let odd = Method::from_bytes(b"BREW").expect("a method");
    rig.client().send(request(odd, "/registry/v2/", empty())).await.expect(405);
    let stream = TcpStream::connect(rig.address).await.expect("accepted");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let two = Request::get("http://two.test/registry/v2/").body(empty()).expect("a request");
    let answer = sender.send_request(two).await.expect("an answer");
    answer.into_body().collect().await.expect("its body");
    let spans = collector.wait_for(5).await;
    let route = |at: usize| spans[at].attribute("http.route");
    assert_eq!(route(0), "/registry/v2/<name>/tags/list");
    has(
        &spans[0],
        &[
            ("client.address", "192.0.2.9".into()),
            ("network.peer.address", "127.0.0.1".into()),
            ("url.scheme", "https".into()),
            ("server.address", "r.test".into()),
            ("server.port", 444.into()),
            ("orlop.repository", "app".into()),
        ],
    );
    assert_eq!((route(1), route(2)), ("/livez".into(), Value::Null));
    has(&spans[3], &[("http.request.method", "_OTHER".into()), ("http.request.method_original", "BREW".into())]);
    assert_eq!(spans[3].name(), "HTTP /registry/v2/");
    has(&spans[4], &[("network.protocol.version", "2".into()), ("server.address", "two.test".into())]);
    assert!(spans.iter().all(|span| !span.span.to_string().contains("sentinel")));
    rig.stop().await;
}
