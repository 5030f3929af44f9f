//! Time limits: who is cut, when, and who is not.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::time::{interval, sleep};

use crate::toy::{LARGE_BYTES, Running, get, within};

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_although_its_bytes_keep_coming() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 400);
    let mut client = server.connect().await;
    let begin = Instant::now();
    client.send("GET /hello HTTP/1.1\r\nHost: test\r\nX-Slow: ").await;
    let mut client = client.stream.into_split();
    let trickle = tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(50));
        while tokio::io::AsyncWriteExt::write_all(&mut client.1, b"x").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut answer = Vec::new();
    // A reset is as good as an end here.
    let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut answer)).await;
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    assert!(answer.is_empty());
    within(trickle).await.unwrap();
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}

#[tokio::test]
async fn a_silent_connection_is_cut_like_a_slow_head() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 300);
    let begin = Instant::now();
    assert!(server.connect().await.rest().await.is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(300));
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Running::plain(|limits| limits.idle_timeout_ms = 300);
    let mut client = server.connect().await;
    // The handler of /slow takes three times the idle limit.
    assert_eq!(client.get("/slow").await.body, b"slow");
    assert_eq!(client.get("/hello").await.body, b"hello");
    let begin = Instant::now();
    assert!(client.rest().await.is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    server.shows("orlop_connection_ends_total{cause=\"idle\"} 1").await;
}

#[tokio::test]
async fn a_second_head_that_does_not_end_is_cut_by_the_head_limit_not_the_idle_limit() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 300);
    let mut client = server.connect().await;
    client.get("/hello").await;
    client.send("GET /hello").await;
    assert!(client.rest().await.is_empty());
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_with_goaway() {
    let server = Running::plain(|limits| limits.idle_timeout_ms = 300);
    let mut sender = server.connect_http2().await;
    let response = sender.send_request(get(server.address, "/hello")).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    server.shows("orlop_connection_ends_total{cause=\"idle\"} 1").await;
    assert!(within(sender.ready()).await.is_err());
}

#[tokio::test]
async fn a_body_that_stops_is_answered_with_a_timeout() {
    let server = Running::plain(|limits| {
        limits.progress_bytes_min = 10;
        limits.progress_window_ms = 300;
    });
    let mut client = server.connect().await;
    client.send("PUT /count HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n12345").await;
    let begin = Instant::now();
    assert_eq!(client.reply().await.unwrap().status, 408);
    assert!(begin.elapsed() >= Duration::from_millis(250), "{:?}", begin.elapsed());
    assert!(client.rest().await.is_empty(), "the connection cannot be used after an unread body");
}

#[tokio::test]
async fn a_body_that_makes_progress_may_take_many_windows() {
    let server = Running::plain(|limits| {
        limits.progress_bytes_min = 10;
        limits.progress_window_ms = 1_000;
        // Other limits must not cut it either.
        limits.header_timeout_ms = 300;
        limits.idle_timeout_ms = 300;
    });
    let mut client = server.connect().await;
    client.send("PUT /count HTTP/1.1\r\nHost: test\r\nContent-Length: 400\r\n\r\n").await;
    let mut pace = interval(Duration::from_millis(75));
    for _ in 0..40 {
        pace.tick().await;
        client.send("0123456789").await;
    }
    let reply = client.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"400".as_slice()));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let server = Running::plain(|limits| limits.stall_timeout_ms = 400);
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    server.shows("orlop_connection_ends_total{cause=\"stalled\"} 1").await;
    server.shows("orlop_http_aborted_total{cause=\"stalled\"} 1").await;
    server.shows("orlop_http_in_flight 0").await;
    let received = client.rest().await.len() as u64;
    assert!(received > 0 && received < LARGE_BYTES, "{received}");
}

#[tokio::test]
async fn a_stalled_http2_stream_is_reset_and_its_connection_lives() {
    let server = Running::plain(|limits| {
        limits.stall_timeout_ms = 400;
        // Pings keep the socket moving; they must not count for the stream.
        limits.http2_ping_interval_ms = 100;
    });
    let mut sender = server.connect_http2().await;
    let mut stalled = sender.send_request(get(server.address, "/large")).await.unwrap().into_body();
    server.shows("orlop_http_aborted_total{cause=\"stalled\"} 1").await;

    let response = within(sender.send_request(get(server.address, "/hello"))).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");

    let mut received = 0;
    let outcome = loop {
        match within(stalled.frame()).await {
            Some(Ok(frame)) => received += frame.data_ref().map_or(0, |data| data.len()) as u64,
            other => break other,
        }
    };
    assert!(matches!(outcome, Some(Err(_))), "{outcome:?}");
    assert!(received < LARGE_BYTES);
}

#[tokio::test]
async fn an_http2_peer_that_answers_no_ping_is_cut() {
    let server = Running::plain(|limits| {
        limits.http2_ping_interval_ms = 100;
        limits.http2_ping_timeout_ms = 200;
    });
    let mut client = server.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // An empty SETTINGS frame (RFC 9113 section 6.5).
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    client.rest().await;
    server.shows("orlop_connection_ends_total{cause=\"unreachable\"} 1").await;
}

/// Until then nothing more of what it sends is read.
#[tokio::test]
async fn an_http2_peer_that_floods_waits_before_it_is_cut() {
    let server = Running::plain(|limits| limits.http2_control_frames_max = 100);
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let ping: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut client = server.connect().await;
    let begin = Instant::now();
    client.send([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings, &ping.repeat(1_000)].concat()).await;
    assert_eq!(server.connect().await.get("/hello").await.status, 200, "others are served meanwhile");
    client.rest().await;
    assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    server.shows("orlop_connection_ends_total{cause=\"protocol\"} 1").await;
}

#[tokio::test]
async fn an_http2_peer_that_begins_nothing_is_cut() {
    let server = Running::plain(|limits| {
        limits.idle_timeout_ms = 200;
        limits.header_timeout_ms = 200;
    });
    let mut client = server.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.rest().await;
    server.shows("orlop_connection_ends_total{cause=\"idle\"} 1").await;
}

#[tokio::test]
async fn a_slow_reader_is_served_whole() {
    let server = Running::plain(|limits| {
        limits.stall_timeout_ms = 1_000;
        limits.idle_timeout_ms = 200;
        limits.header_timeout_ms = 200;
    });
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await;
    let mut received = 0;
    let mut buffer = vec![0; 2 << 20];
    loop {
        let read = within(tokio::io::AsyncReadExt::read(&mut client.stream, &mut buffer)).await.unwrap();
        if read == 0 {
            break;
        }
        received += read as u64;
        sleep(Duration::from_millis(10)).await;
    }
    assert!(received > LARGE_BYTES, "{received}");
    server.shows("orlop_connection_ends_total{cause=\"closed\"} 1").await;
    assert!(!server.metrics.encode().contains("orlop_http_aborted_total{"));
}

#[tokio::test]
async fn a_connection_that_rests_is_served_when_it_goes_on() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    for _ in 0..2 {
        assert_eq!(client.get("/hello").await.body, b"hello");
        server.shows("orlop_connections_resting 1").await;
    }
    // A head in pieces, of which the first wakes the connection.
    client.send("GET /he").await;
    server.shows("orlop_connections_resting 0").await;
    client.send("llo HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.reply().await.unwrap().body, b"hello");
    server.shows("orlop_connections_resting 1").await;
    drop(client);
    server.shows("orlop_connection_ends_total{cause=\"closed\"} 1").await;
    server.shows("orlop_connections_resting 0").await;
}

#[tokio::test]
async fn a_connection_that_rests_is_closed_by_the_idle_limit() {
    let server = Running::plain(|limits| limits.idle_timeout_ms = 1_500);
    let mut client = server.connect().await;
    client.get("/hello").await;
    let begin = Instant::now();
    server.shows("orlop_connections_resting 1").await;
    assert!(client.rest().await.is_empty());
    assert!(begin.elapsed() >= Duration::from_millis(1_400), "{:?}", begin.elapsed());
    server.shows("orlop_connection_ends_total{cause=\"idle\"} 1").await;
}

#[tokio::test]
async fn a_head_that_wakes_a_resting_connection_has_the_time_of_a_head() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 300);
    let mut client = server.connect().await;
    client.get("/hello").await;
    server.shows("orlop_connections_resting 1").await;
    client.send("GET /hello").await;
    assert!(client.rest().await.is_empty());
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}

#[tokio::test]
async fn half_a_head_that_came_with_the_last_request_has_the_time_of_a_head() {
    let server = Running::plain(|limits| limits.header_timeout_ms = 300);
    let mut client = server.connect().await;
    client.send("GET /hello HTTP/1.1\r\nHost: test\r\n\r\nGET /hel").await;
    assert_eq!(client.reply().await.unwrap().body, b"hello");
    assert!(client.rest().await.is_empty());
    server.shows("orlop_connection_ends_total{cause=\"header_timeout\"} 1").await;
}
