//! Numbers and sizes: connections and request heads, and what handlers cannot break.

use std::sync::Arc;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use orlop_api::{
    front::Front,
    health::Health,
    limits::Limits,
    metrics::Metrics,
    server::{Live, RequestBody, Server, ServerOptions},
};

use crate::toy::{Running, get, within};

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let server = Running::plain(|limits| limits.connections_max = 1);
    let mut first = server.connect().await;
    first.get("/hello").await;
    let mut second = server.connect().await;
    second.send("GET /port HTTP/1.1\r\nHost: test\r\n\r\n").await;
    for _ in 0..100 {
        first.get("/hello").await;
    }
    let mut byte = [0];
    let nothing = second.stream.try_read(&mut byte).unwrap_err();
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);

    drop(first);
    let reply = second.reply().await.unwrap();
    let port = second.stream.local_addr().unwrap().port().to_string();
    assert_eq!(reply.body, port.as_bytes());
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_with_431() {
    let server = Running::plain(|limits| limits.header_bytes_max = 8 << 10);
    let many: String = (0..101).map(|number| format!("X-{number}: 1\r\n")).collect();
    let many = format!("GET /hello HTTP/1.1\r\n{many}\r\n");
    // One byte more than allowed, and no more: unread bytes would reset the connection.
    let long = format!("{:x<length$}", "GET /hello HTTP/1.1\r\nX-Long: ", length = (8 << 10) + 1);
    for head in [many, long] {
        let mut client = server.connect().await;
        client.send(head).await;
        assert_eq!(client.reply().await.unwrap().status, 431);
    }
    server.shows("orlop_connection_ends_total{cause=\"protocol\"} 2").await;

    let below: String = (0..98).map(|number| format!("X-{number}: 1\r\n")).collect();
    let mut client = server.connect().await;
    client.send(format!("GET /hello HTTP/1.1\r\nHost: test\r\n{below}\r\n")).await;
    assert_eq!(client.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn http2_heads_beyond_the_limit_are_refused_with_431() {
    let server = Running::plain(|limits| limits.http2_header_bytes_max = 8 << 10);
    let mut sender = server.connect_http2().await;
    let mut request = get(server.address, "/hello");
    request.headers_mut().insert("x-long", "x".repeat(9 << 10).parse().unwrap());
    let refused = within(sender.send_request(request)).await;
    assert_eq!(refused.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let response = within(sender.send_request(get(server.address, "/hello"))).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    for (path, status) in [("/hello", 200), ("/nowhere", 404), ("/panics", 500)] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("docker-distribution-api-version"), Some("registry/2.0"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"), "{path}");
        assert!(reply.header("date").is_some());
    }
}

#[tokio::test]
async fn a_panic_is_answered_counted_and_survived_by_the_connection() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    assert_eq!(client.get("/panics").await.status, 500);
    assert_eq!(client.get("/hello").await.body, b"hello");
    server.shows("orlop_http_handler_panics_total 1").await;
    server.shows("orlop_http_requests_total{method=\"GET\",route=\"base\",status=\"5xx\"} 1").await;

    let mut sender = server.connect_http2().await;
    let response = sender.send_request(get(server.address, "/panics")).await.unwrap();
    assert_eq!(response.status(), 500);
    let response = sender.send_request(get(server.address, "/hello")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn a_body_that_breaks_never_looks_whole() {
    let server = Running::plain(|_| {});
    for (broken, path) in ["/fails", "/panics-in-body"].into_iter().enumerate() {
        let mut client = server.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        let received = client.rest().await;
        assert!(!received.ends_with(b"0\r\n\r\n"), "{path}: {}", received.escape_ascii());

        let mut sender = server.connect_http2().await;
        let answered = within(sender.send_request(get(server.address, path))).await;
        if let Ok(response) = answered {
            assert!(within(response.into_body().collect()).await.is_err(), "{path}");
        }
        server.shows(&format!("orlop_http_aborted_total{{cause=\"body\"}} {}", 2 * (broken + 1))).await;
    }
}

#[tokio::test]
async fn requests_are_measured_to_the_last_byte_and_counted_once() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    client.get("/slow").await;
    client.send("HEAD /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    server.shows("orlop_http_requests_total{method=\"HEAD\",route=\"base\",status=\"2xx\"} 1").await;
    server.shows("orlop_http_requests_total{method=\"GET\",route=\"base\",status=\"2xx\"} 1").await;
    server.shows("orlop_http_in_flight 0").await;
    let text = server.metrics.encode();
    for line in [
        "orlop_http_request_duration_seconds_bucket{le=\"0.5\",method=\"GET\",route=\"base\"} 0",
        "orlop_http_request_duration_seconds_count{method=\"GET\",route=\"base\"} 1",
        "orlop_http_first_byte_duration_seconds_count{method=\"HEAD\",route=\"base\"} 1",
        "orlop_connections_total{protocol=\"http1\",tls=\"false\"} 1",
        "orlop_connections_open{protocol=\"http1\",tls=\"false\"} 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("orlop_http_aborted_total{"), "{text}");
}

#[tokio::test]
async fn limits_out_of_range_and_taken_addresses_are_refused() {
    struct Nothing;
    impl orlop_api::server::Handler for Nothing {
        type Body = http_body_util::Empty<bytes::Bytes>;
        type Rules = Arc<Front>;
        fn rules(&self) -> Arc<Front> {
            Arc::default()
        }
        async fn handle(&self, _: Arc<Front>, _: Request<RequestBody>) -> http::Response<Self::Body> {
            http::Response::default()
        }
    }
    let options = |address: &str| ServerOptions {
        address: address.parse().unwrap(),
        tls: None,
        live: Live::new(Limits::default()).unwrap(),
        metrics: Metrics::new("test", Vec::new),
        health: Health::new(|| Ok(())),
        repeats: true,
        tracer: None,
    };
    let wrong = Limits { headers_max: 0, ..Limits::default() };
    let error = Live::new(wrong.clone()).err().unwrap();
    assert!(error.to_string().contains("headers_max"), "{error}");
    let live = Live::new(Limits::default()).unwrap();
    assert_eq!(live.set_limits(wrong), Err(error));
    assert_eq!(*live.limits(), Limits::default(), "and nothing was set");

    let server = Running::plain(|_| {});
    let taken = server.address.to_string();
    let error = Server::bind(Nothing, options(&taken)).err().unwrap();
    assert!(error.to_string().contains(&taken), "{error}");
}
