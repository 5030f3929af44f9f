//! Answers that are given again without their handler: limits, clocks, counts and stops hold for them as well.

use std::sync::atomic::Ordering;

use crate::toy::{Client, LARGE_BYTES, Running, shows, within};

/// How often a path is asked for until its answer is kept.
const ASKED: usize = 2;

async fn primed(server: &Running, path: &str) -> Client<tokio::net::TcpStream> {
    let mut client = server.connect().await;
    for _ in 0..ASKED {
        assert_eq!(client.get(path).await.status, 200);
    }
    client
}

#[tokio::test]
async fn an_answer_is_given_again_until_it_does_not_hold() {
    let server = Running::plain(|_| {});
    for path in ["/hello", "/hi"] {
        let mut client = primed(&server, path).await;
        for _ in 0..3 {
            let reply = client.get(path).await;
            assert_eq!((reply.status, &*reply.body, reply.header("content-length")), (200, &b"hello"[..], Some("5")));
            assert_eq!(reply.header("docker-distribution-api-version"), Some("registry/2.0"));
        }
    }
    server.shows("orlop_http_repeated_total 6").await;
    server.shows("orlop_http_in_flight 0").await;
    server.shows("orlop_http_requests_total{method=\"GET\",route=\"base\",status=\"2xx\"} 10").await;
    server.gate.changed.store(true, Ordering::SeqCst);
    let mut client = server.connect().await;
    assert_eq!(client.get("/hello").await.body, b"hello");
    assert_eq!(client.get("/scheme").await.body, b"http");
    server.shows("orlop_http_repeated_total 6").await;
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_order_whoever_answers() {
    let server = Running::plain(|_| {});
    let mut client = primed(&server, "/hello").await;
    let paths = ["/hello", "/scheme", "/hello", "/hello", "/absent", "/hello", "/large", "/hello"];
    let all: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(all + "GET /hel").await;
    for path in paths {
        let reply = client.reply().await.expect("an answer");
        let length = match path {
            "/hello" => 5,
            "/scheme" => 4,
            "/large" => LARGE_BYTES as usize,
            _ => 0,
        };
        assert_eq!((reply.status, reply.body.len()), (if path == "/absent" { 404 } else { 200 }, length), "{path}");
    }
    client.send("lo HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.reply().await.expect("the one sent in two parts").body, b"hello");
}

#[tokio::test]
async fn a_large_body_is_given_again_as_the_client_takes_it() {
    let server = Running::plain(|_| {});
    let mut client = primed(&server, "/large").await;
    let reply = client.get("/large").await;
    assert_eq!(reply.body.len() as u64, LARGE_BYTES);
    assert!(reply.body.iter().all(|byte| *byte == 7));
    assert_eq!(client.get("/hello").await.body, b"hello");
    server.shows("orlop_http_repeated_total 1").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let server = Running::plain(|limits| limits.stall_timeout_ms = 300);
    drop(primed(&server, "/large").await);
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    server.shows("orlop_connection_ends_total{cause=\"stalled\"} 1").await;
    server.shows("orlop_http_aborted_total{cause=\"stalled\"} 1").await;
    server.shows("orlop_http_repeated_total 1").await;
    assert!((client.rest().await.len() as u64) < LARGE_BYTES);
}

#[tokio::test]
async fn a_body_that_breaks_is_cut() {
    let server = Running::plain(|_| {});
    let mut client = primed(&server, "/breaks-again").await;
    client.send("GET /breaks-again HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(client.reply().await.is_none());
    server.shows("orlop_http_aborted_total{cause=\"body\"} 1").await;
    server.shows("orlop_http_repeated_total 1").await;
}

#[tokio::test]
async fn half_a_head_is_waited_for_as_long_as_any() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 300);
    let mut client = primed(&server, "/hello").await;
    client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\nGET /hello HTT").await;
    assert_eq!(client.reply().await.expect("the first").body, b"hello");
    assert!(client.rest().await.is_empty());
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}

#[tokio::test]
async fn an_idle_connection_rests_and_is_closed_in_time() {
    let server = Running::plain(|limits| limits.idle_timeout_ms = 600);
    let mut client = primed(&server, "/hello").await;
    client.get("/hello").await;
    server.shows("orlop_connections_resting 1").await;
    assert_eq!(client.get("/hello").await.body, b"hello");
    assert!(client.rest().await.is_empty());
    server.shows("orlop_connection_ends_total{cause=\"idle\"} 1").await;
}

#[tokio::test]
async fn a_stop_lets_an_answer_finish_and_closes_the_rest() {
    let server = Running::plain(|_| {});
    let mut idle = primed(&server, "/hello").await;
    idle.get("/hello").await;
    let mut busy = primed(&server, "/large").await;
    let request = "GET /large HTTP/1.1\r\nHost: test\r\n\r\n";
    busy.send(format!("{request}{request}")).await;
    server.shows("orlop_http_repeated_total 2").await;
    let metrics = server.metrics.clone();
    let stopped = server.stop();
    assert!(idle.rest().await.is_empty());
    assert_eq!(busy.reply().await.expect("it had begun").body.len() as u64, LARGE_BYTES);
    assert!(busy.rest().await.is_empty(), "what had not begun is not answered");
    within(stopped).await.unwrap().unwrap();
    shows(&metrics, "orlop_connection_ends_total{cause=\"closed\"} 2").await;
}
