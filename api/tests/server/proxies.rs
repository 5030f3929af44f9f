//! Who the client is, behind proxies that are trusted and behind others.

use orlop_api::front::{ForwardedBy, Front, Proxies};

use crate::toy::Running;

/// All that a client may say about where it comes from, and what for.
const CLAIMS: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
                      X-Forwarded-User: admin\r\nX-Forwarded-Uri: /v2/\r\nX-Real-IP: 192.0.2.1\r\n\
                      Forwarded: for=198.51.100.7;proto=https;host=evil.example\r\nX-Original-URL: /absent\r\n\
                      X-Rewrite-URL: /absent\r\n";

fn front(trusted: &str, header: ForwardedBy) -> Front {
    let proxies = Proxies { trusted: vec![trusted.parse().expect("a range")], header };
    Front { proxies, ..Front::default() }
}

async fn told(server: &Running, path: &str, fields: &str) -> String {
    let mut client = server.connect().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    let reply = client.reply().await.expect("an answer");
    assert_eq!(reply.status, 200, "{path}");
    String::from_utf8(reply.body.clone()).expect("text")
}

/// Clients that write into a header where they come from, or where they want to go.
#[tokio::test]
async fn whoever_is_not_trusted_is_not_believed() {
    for server in [
        Running::plain(|_| {}),
        Running::behind(front("192.0.2.0/24", ForwardedBy::XForwardedFor), None, |_| {}),
        Running::behind(front("192.0.2.0/24", ForwardedBy::Forwarded), None, |_| {}),
    ] {
        assert_eq!(told(&server, "/client", CLAIMS).await, "127.0.0.1");
        assert_eq!(told(&server, "/scheme", CLAIMS).await, "http");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_in_its_own_header() {
    for (header, client) in [(ForwardedBy::XForwardedFor, "192.0.2.1"), (ForwardedBy::Forwarded, "198.51.100.7")] {
        let server = Running::behind(front("127.0.0.0/8", header), None, |_| {});
        assert_eq!(told(&server, "/client", CLAIMS).await, client);
        assert_eq!(told(&server, "/scheme", CLAIMS).await, "https");
        let cut = "Forwarded: for=\"198.51.100.7, for=192.0.2.1\r\n";
        let status = if header == ForwardedBy::Forwarded { 400 } else { 200 };
        // Also where the answer is one that is given again.
        for _ in 0..3 {
            assert_eq!(server.connect().await.get("/hello").await.status, 200);
        }
        let mut hiding = server.connect().await;
        hiding.send(format!("GET /hello HTTP/1.1\r\nHost: a\r\n{cut}\r\n")).await;
        assert_eq!(hiding.reply().await.expect("an answer").status, status);
        // Each request of a connection by itself.
        let mut one = server.connect().await;
        one.send(format!("GET /client HTTP/1.1\r\nHost: a\r\n{CLAIMS}\r\nGET /client HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(one.reply().await.expect("an answer").body, client.as_bytes());
        assert_eq!(one.reply().await.expect("an answer").body, b"127.0.0.1");
    }
}
