//! What happens at a stop.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use orlop_api::health::Phase;
use tokio::net::TcpStream;

use crate::toy::{Running, get, shows, within};

#[tokio::test]
async fn a_stop_lets_requests_finish_and_closes_everything_else() {
    let server = Running::plain(|_| {});
    let (address, health, gate) = (server.address, server.health.clone(), server.gate.clone());
    let mut idle = server.connect().await;
    idle.get("/hello").await;
    let mut fresh = server.connect().await;
    let mut busy = server.connect().await;
    busy.send("GET /gated HTTP/1.1\r\nHost: test\r\n\r\n").await;
    within(gate.entered.acquire()).await.unwrap().forget();
    assert_eq!(health.ready().status, 200);

    let stopped = server.stop();
    assert!(idle.rest().await.is_empty());
    assert!(fresh.rest().await.is_empty());
    assert_eq!(health.phase(), Phase::Draining);
    assert_eq!(health.ready().text, "not ready: draining\n");
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!stopped.is_finished());

    gate.open.add_permits(1);
    let reply = busy.reply().await.unwrap();
    assert_eq!(reply.body, b"gated");
    assert_eq!(reply.header("connection"), Some("close"));
    within(stopped).await.unwrap().unwrap();
    assert_eq!(health.ready().text, "not ready: stopped\n");
}

#[tokio::test]
async fn a_stop_lets_http2_streams_finish() {
    let server = Running::plain(|_| {});
    let (address, gate) = (server.address, server.gate.clone());
    let mut sender = server.connect_http2().await;
    let answer = tokio::spawn(sender.send_request(get(address, "/gated")));
    within(gate.entered.acquire()).await.unwrap().forget();
    let stopped = server.stop();
    gate.open.add_permits(1);
    let response = within(answer).await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "gated");
    within(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let server = Running::plain(|limits| limits.drain_timeout_ms = 300);
    let (address, metrics, gate) = (server.address, server.metrics.clone(), server.gate.clone());
    let mut http1 = server.connect().await;
    http1.send("GET /gated HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let mut sender = server.connect_http2().await;
    let http2 = tokio::spawn(sender.send_request(get(address, "/gated")));
    within(gate.entered.acquire_many(2)).await.unwrap().forget();

    let begin = Instant::now();
    within(server.stop()).await.unwrap().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(http1.rest().await.is_empty());
    assert!(within(http2).await.unwrap().is_err());
    shows(&metrics, "orlop_connection_ends_total{cause=\"cut\"} 2").await;
    shows(&metrics, "orlop_http_aborted_total{cause=\"connection\"} 2").await;
    shows(&metrics, "orlop_http_requests_total{method=\"GET\",route=\"base\",status=\"none\"} 2").await;
}

#[tokio::test]
async fn the_socket_stays_open_for_the_drain_delay_while_readiness_is_already_false() {
    let server = Running::plain(|limits| limits.drain_delay_ms = 500);
    let (address, health) = (server.address, server.health.clone());
    let mut early = server.connect().await;
    early.get("/hello").await;
    let begin = Instant::now();
    let stopped = server.stop();
    within(async {
        while health.phase() != Phase::Draining {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut late = crate::toy::Client::new(TcpStream::connect(address).await.unwrap());
    assert_eq!(late.get("/hello").await.status, 200);
    within(stopped).await.unwrap().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_stop_closes_connections_that_rest() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    client.get("/hello").await;
    server.shows("orlop_connections_resting 1").await;
    let stopped = server.stop();
    assert!(client.rest().await.is_empty());
    within(stopped).await.unwrap().unwrap();
}
