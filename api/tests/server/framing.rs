//! Request smuggling: messages whose end two parsers could see in different places.
//!
//! The table records what the server does with each, so that a change of the HTTP library shows. What
//! must hold for all of them (RFC 9112 sections 2.2, 5.1, 6.1, 6.3, 7.1): the message is refused and the
//! connection closed, or its end is where the specification puts it.

use std::sync::atomic::Ordering;

use crate::toy::Running;

/// One message, followed on the wire by whatever an attacker hides in it.
struct Case {
    name: &'static str,
    sent: &'static str,
    /// The statuses that come back before the connection ends.
    statuses: &'static [u16],
    /// Whether a request for `/smuggled` is legitimately part of what was sent.
    second: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "Content-Length and Transfer-Encoding: the latter counts, and nothing is read after it (RFC 9112 section 6.1)",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[200],
        second: false,
    },
    Case {
        name: "Transfer-Encoding and Content-Length: the same in the other order",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[200],
        second: false,
    },
    Case {
        name: "two different Content-Lengths",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a list of different Content-Lengths",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a signed Content-Length",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a negative Content-Length",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a Content-Length beyond 64 bits",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a transfer coding that does not end with chunked",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "an unknown transfer coding",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a transfer coding in HTTP/1.0",
        sent: "POST /count HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "white space before the colon",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length : 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a folded field line",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n Content-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a bare CR in a field value",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nX-Bare: a\rContent-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a NUL in a field value",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a bare LF ends lines, as RFC 9112 section 2.2 permits: two requests, as an eye would see them",
        sent: "GET /hello HTTP/1.1\nHost: a\n\nGET /smuggled HTTP/1.1\nHost: a\nConnection: close\n\n",
        statuses: &[200, 200],
        second: true,
    },
    Case {
        name: "a chunk size that is no number",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a chunk size beyond 64 bits",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a chunk longer than its size",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a bare LF in a chunk extension",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "no Host, which RFC 9112 section 3.2 wants refused",
        sent: "GET /smuggled HTTP/1.1\r\nConnection: close\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "two Hosts",
        sent: "GET /smuggled HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case { name: "no Host in HTTP/1.0", sent: "GET /smuggled HTTP/1.0\r\n\r\n", statuses: &[200], second: true },
    Case {
        name: "equal Content-Lengths are one, and the next request is a request",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabcGET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        statuses: &[200, 200],
        second: true,
    },
    Case {
        name: "two transfer codings, each in its own field",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "chunked twice in one field",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "identity before chunked",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a transfer coding after a vertical tab",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a transfer coding in a folded field line",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a Content-Length without digits",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a Content-Length of two numbers",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a Content-Length in hexadecimal",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a signed chunk size",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a bare CR after a chunk size",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[400],
        second: false,
    },
    Case {
        name: "a body of a GET that looks like a request",
        sent: "GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        statuses: &[200],
        second: false,
    },
    Case {
        name: "a length among the trailers changes nothing",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        statuses: &[200, 200],
        second: true,
    },
    Case {
        name: "a tab before the transfer coding is white space",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        statuses: &[200, 200],
        second: true,
    },
    Case {
        name: "negative control: two requests one after the other",
        sent: "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        statuses: &[200, 200],
        second: true,
    },
];

#[tokio::test]
async fn no_message_hides_another() {
    let mut wrong = Vec::new();
    for case in CASES {
        let server = Running::plain(|limits| limits.header_timeout_ms = 2_000);
        let mut client = server.connect().await;
        client.send(case.sent).await;
        let mut statuses = Vec::new();
        while let Some(reply) = client.reply().await {
            statuses.push(reply.status);
        }
        let second = server.gate.smuggled.load(Ordering::SeqCst) > 0;
        if statuses != case.statuses || second != case.second {
            wrong.push(format!("{}: {statuses:?}, second request: {second}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Extensions of chunks are read and dropped: without a limit they would be a body that counts nothing.
#[tokio::test]
async fn chunk_extensions_have_a_limit() {
    let server = Running::plain(|_| {});
    let mut client = server.connect().await;
    let extension = "x".repeat(1 << 20);
    client.send("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    // The server may close in the middle of it.
    let _ =
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, format!("3;{extension}\r\nabc\r\n").as_bytes()).await;
    let status = client.reply().await.map(|reply| reply.status);
    assert!(matches!(status, None | Some(400)), "{status:?}");
}
