//! Upload sessions: whose they are, how they end, and how many there can be.

use bytes::Bytes;
use http::{Method, StatusCode};
use orlop_tests::{
    Client, Registry,
    http::{full, request, request_with},
    repository::with_query,
    stream::{bytes, sha256, sha512},
};
use serde_json::json;

use crate::common::{Wire, connections, limits, resident_bytes, start, status_of, until};

/// Rounds of each race.
const ROUNDS: usize = 40;

/// Quay CVE-2026-32589: sessions could be read, changed and cancelled through another repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_exists_in_its_repository_only() {
    let registry = start().await;
    let (mine, content) = (registry.repository("team-a/x"), bytes(1, 300_000));
    let digest = sha256(&content);
    let session = mine.open_upload().await;
    let session = mine.client.patch(&session, content.slice(..100_000)).await.expect(202).location();
    let theirs = session.replacen("team-a/x", "team-b/x", 1);
    let client = registry.client();
    client.get(&theirs).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    client.patch(&theirs, "poison").await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let close = with_query(&theirs, &format!("digest={digest}"));
    client.put(&close, content.slice(100_000..)).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    client.delete(&theirs).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(client.get(&session).await.expect(204).header("range"), "0-99999");
    client.put(&with_query(&session, &format!("digest={digest}")), content.slice(100_000..)).await.expect(201);
    assert!(mine.blob(&digest).await.expect(200).body == content);
    registry.finish();
}

/// Ids that could be guessed or read in a log would make sessions anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn session_ids_are_random_and_in_no_log() {
    const BITS: usize = 128;
    let registry = start().await;
    let sessions = connections(1_000);
    let mut ids = Vec::with_capacity(sessions);
    let mut wire = Wire::open(&registry).await;
    for number in 0..sessions {
        wire.send(format!("POST /v2/ids/{number}/blobs/uploads/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"))
            .await;
        let reply = wire.reply().await.expect("an answer");
        let id = reply.head.lines().find_map(|line| line.strip_prefix("docker-upload-uuid: ")).expect("an id");
        assert_eq!(id.len(), BITS / 4, "{id}");
        ids.push(u128::from_str_radix(id, 16).expect("hexadecimal digits"));
    }
    let set = |bit: usize| ids.iter().filter(|id| **id >> bit & 1 == 1).count();
    let (least, most) = (sessions * 2 / 5, sessions * 3 / 5);
    for bit in 0..BITS {
        // Of 1,000 fair coins, fewer than 400 or more than 600 show heads once in 10^9 times.
        assert!((least..=most).contains(&set(bit)), "bit {bit} is set {} times in {sessions}", set(bit));
    }
    let rising = ids.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((least..=most).contains(&rising), "{rising} of {sessions} ids are larger than the one before");
    let log = registry.output();
    assert!(log.contains("\"request\""), "the log has the requests");
    assert!(!ids.iter().any(|id| log.contains(&format!("{id:032x}"))), "the log has an id");
    registry.finish();
}

/// Two chunks for the same place: one is taken whole, the other not at all.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_chunks_for_one_place_one_is_taken() {
    let registry = start().await;
    let repository = registry.repository("chunks");
    for round in 0..ROUNDS {
        let session = repository.open_upload().await;
        let chunks = [b'a', b'b'].map(|letter| Bytes::from(vec![letter; 70_000]));
        let send = |chunk: &Bytes| {
            let patch = request_with(Method::PATCH, &session, ("content-range", "0-69999"), full(chunk.clone()));
            let client = repository.client.clone();
            tokio::spawn(async move { client.send(patch).await.status.as_u16() })
        };
        let sent = [send(&chunks[0]), send(&chunks[1])];
        let [first, second] = sent;
        let statuses = [first.await.expect("no panic"), second.await.expect("no panic")];
        assert!(matches!(statuses, [202, 416] | [416, 202]), "round {round}: {statuses:?}");
        let taken = &chunks[usize::from(statuses[0] != 202)];
        let close = with_query(&session, &format!("digest={}", sha256(taken)));
        repository.client.put(&close, "").await.expect(201);
    }
    registry.finish();
}

/// A session ends once: by its content, or by its deletion, never by half of each.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_once() {
    let registry = start().await;
    let repository = registry.repository("ends");
    for round in 0..ROUNDS as u64 {
        let content = bytes(round, 90_000);
        let digest = sha256(&content);
        let session = repository.open_upload().await;
        let close = with_query(&session, &format!("digest={digest}"));
        let (finishing, cancelling) = (repository.client.clone(), repository.client.clone());
        let finished = {
            let (close, content) = (close.clone(), content.clone());
            tokio::spawn(async move { finishing.put(&close, content).await })
        };
        let deleted = {
            let session = session.clone();
            tokio::spawn(async move { cancelling.delete(&session).await })
        };
        let (finished, deleted) = (finished.await.expect("no panic"), deleted.await.expect("no panic"));
        let stored = repository.blob(&digest).await;
        match (finished.status.as_u16(), deleted.status.as_u16()) {
            (201, 404 | 409) => assert!(stored.expect(200).body == content),
            (404, 204) => drop(stored.expect_error(404, "BLOB_UNKNOWN")),
            // The deletion held the session when the last request came.
            (416, 204) => drop(stored.expect_error(404, "BLOB_UNKNOWN")),
            other => panic!("round {round}: {other:?}: {finished:?} {deleted:?}"),
        }
        repository.client.put(&close, content).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        repository.client.delete(&session).await.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
    registry.finish();
}

/// One content has one name: no other spelling of a digest is read as it.
#[tokio::test(flavor = "multi_thread")]
async fn digests_have_one_spelling() {
    let registry = start().await;
    let repository = registry.repository("spelling");
    let content = "content";
    let (digest, hex) = (sha256(content.as_bytes()), sha256(content.as_bytes())[7..].to_owned());
    let wide: String =
        hex.chars().map(|c| if c.is_ascii_digit() { format!("%EF%BC%9{c}") } else { c.into() }).collect();
    let refused = [
        format!("sha512:{hex}"),
        format!("sha256:{hex}{hex}"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("Sha256:{hex}"),
        "md5:9a0364b9e99bb480dd25e1f0284c8555".to_owned(),
        "sha1:040f06fd774092478d450774f5ba30c5da78acc8".to_owned(),
        format!("sha256%2Bb64:{hex}"),
        format!("sha256:{wide}"),
        format!("sha256:{}", "a".repeat(10_000)),
        "sha256:".to_owned(),
        String::new(),
        format!("{digest}%20"),
        format!("%20{digest}"),
        format!("{digest}%0A"),
        format!("{digest}%00"),
        format!("{digest}&digest={digest}"),
        format!("{digest}&digest={}", sha256(b"other")),
        hex.clone(),
    ];
    for text in refused {
        let session = repository.open_upload().await;
        for target in [repository.path("blobs/uploads/"), session] {
            let (method, path) = if target.ends_with('/') { (Method::POST, &target) } else { (Method::PUT, &target) };
            let answer =
                repository.client.send(request(method, &with_query(path, &format!("digest={text}")), full(content)));
            let answer = answer.await.expect(400);
            assert_ne!(answer.json()["errors"][0]["code"], json!(null), "{text}");
        }
    }
    // Beyond what a head may have.
    let long =
        format!("POST /v2/spelling/blobs/uploads/?digest=sha256:{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000));
    assert!(matches!(status_of(&registry, long).await, Some(400 | 414 | 431)));
    let encoded = format!("{}?digest={}", repository.path("blobs/uploads/"), digest.replace(':', "%3A"));
    assert_eq!(repository.client.post(&encoded, content).await.expect(201).header("docker-content-digest"), digest);
    registry.finish();
}

/// Whatever algorithm a session begins with, the one that its last request names is computed.
#[tokio::test(flavor = "multi_thread")]
async fn the_named_algorithm_is_computed_over_every_byte() {
    let registry = start().await;
    let repository = registry.repository("algorithms");
    for content in [bytes(1, 1_000), bytes(2, 200_000)] {
        let (short, long) = (sha256(&content), sha512(&content));
        for (begun, named) in [("sha256", &short), ("sha256", &long), ("sha512", &short), ("sha512", &long)] {
            let open = async || {
                let path = format!("{}?digest-algorithm={begun}", repository.path("blobs/uploads/"));
                let session = repository.client.post(&path, "").await.expect(202).location();
                repository.client.patch(&session, content.slice(..600)).await.expect(202).location()
            };
            let (session, close) = (open().await, |session: &str| with_query(session, &format!("digest={named}")));
            repository.client.put(&close(&session), content.slice(601..)).await.expect_error(400, "DIGEST_INVALID");
            let session = open().await;
            repository.client.put(&close(&session), content.slice(600..)).await.expect(201);
            assert!(repository.blob(named).await.expect(200).body == content, "{begun} {named}");
        }
    }
    registry.finish();
}

/// Places that are not the next one change nothing, with a length or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_goes_to_the_next_place_only() {
    let registry = start().await;
    let repository = registry.repository("places");
    let session = repository.open_upload().await;
    repository.client.patch(&session, "0123456789").await.expect(202);
    for (range, status) in [
        ("5-3", 416),
        ("-1-5", 400),
        ("10-", 400),
        ("-", 400),
        ("10-18446744073709551615", 416),
        ("18446744073709551615-18446744073709551616", 416),
        ("11-20", 416),
        ("9-18", 416),
        ("0-9", 416),
        ("bytes 0-9/10", 416),
        ("bytes 5-14/15", 416),
        ("10-19, 20-29", 400),
        ("ten-nineteen", 400),
    ] {
        let patch = request_with(Method::PATCH, &session, ("content-range", range), full("abcdefghij"));
        repository.client.send(patch).await.expect_error(status, "BLOB_UPLOAD_INVALID");
        let chunked = format!(
            "PATCH {session} HTTP/1.1\r\nhost: a\r\ncontent-range: {range}\r\ntransfer-encoding: chunked\r\n\r\n\
             a\r\nabcdefghij\r\n0\r\n\r\n"
        );
        assert_eq!(status_of(&registry, chunked).await, Some(status), "{range}");
        assert_eq!(repository.client.get(&session).await.expect(204).header("range"), "0-9", "{range}");
    }
    let digest = sha256(b"0123456789");
    repository.client.put(&with_query(&session, &format!("digest={digest}")), "").await.expect(201);
    registry.finish();
}

/// zot gives a session up with the first error; here a lost connection costs what had not arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_chunk_leaves_an_exact_prefix() {
    const SENT: usize = 10_000;
    let registry = start().await;
    let repository = registry.repository("cut");
    let content = bytes(7, 1 << 20);
    let session = repository.open_upload().await;
    let mut cut =
        format!("PATCH {session} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", content.len()).into_bytes();
    cut.extend_from_slice(&content[..SENT]);
    repository.client.cut(&cut).await;
    let digest = sha256(&content);
    let close = with_query(&session, &format!("digest={digest}"));
    // While the cut request is still being ended the session has its writer.
    until("the session is free and goes on", async || {
        let told = repository.client.get(&session).await.expect(204);
        let last: usize = told.header("range").trim_start_matches("0-").parse().expect("a range");
        let offset = if last == 0 { 0 } else { last + 1 };
        assert!(offset <= SENT, "{offset}");
        let range = format!("{offset}-{}", content.len() - 1);
        let put = request_with(Method::PUT, &close, ("content-range", &range), full(content.slice(offset..)));
        let answer = repository.client.send(put).await;
        assert!(matches!(answer.status.as_u16(), 201 | 416), "{answer:?}");
        answer.status == StatusCode::CREATED
    })
    .await;
    assert!(repository.blob(&digest).await.expect(200).body == content);
    registry.finish();
}

/// Sessions are bounded, for each repository and in all, and a bound that is reached is told.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded_for_each_repository_and_in_all() {
    let registry = Registry::start(limits(json!({ "uploadsPerRepositoryMax": 5, "uploadsMax": 12 }))).await;
    let open = async |name: &str| registry.client().post(&format!("/v2/{name}/blobs/uploads/"), "").await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(open("greedy").await.expect(202).location());
    }
    let refused = open("greedy").await.expect_error(429, "TOOMANYREQUESTS");
    assert_ne!(refused.header("retry-after"), "");
    // A whole upload is a session as long as it runs.
    let digest = sha256(b"content");
    let whole = |name: &str| format!("/v2/{name}/blobs/uploads/?digest={digest}");
    registry.client().post(&whole("greedy"), "content").await.expect_error(429, "TOOMANYREQUESTS");
    // The others are not affected, until there are too many of all.
    for number in 0..7 {
        open(&format!("modest/{number}")).await.expect(202);
    }
    open("late").await.expect_error(429, "TOOMANYREQUESTS");
    // Sessions that are there go on, and one that ends makes room.
    let content = bytes(1, 100_000);
    let close = with_query(&sessions[0], &format!("digest={}", sha256(&content)));
    registry.client().put(&close, content).await.expect(201);
    registry.client().post(&whole("late"), "content").await.expect(201);
    registry.client().delete(&sessions[1]).await.expect(204);
    open("late").await.expect(202);
    open("greedy").await.expect(202);
    open("greedy").await.expect_error(429, "TOOMANYREQUESTS");
    registry.finish();
}

/// What is kept of a session does not grow with the number of its chunks.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_tiny_chunks_stays_small() {
    const CHUNK_BYTES_MAX: usize = 64;
    const ROUNDS: usize = 5;
    const CHUNKS: usize = 3_000;
    let registry = start().await;
    let repository = registry.repository("tiny");
    let content = bytes(1, CHUNKS * ROUNDS);
    let session = repository.open_upload().await;
    let mut wire = Wire::open(&registry).await;
    let mut least = u64::MAX;
    for round in content.chunks(CHUNKS) {
        let before = resident_bytes(registry.process_id());
        for byte in round {
            let mut sent = format!("PATCH {session} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n").into_bytes();
            sent.push(*byte);
            wire.send(sent).await;
            assert_eq!(wire.reply().await.expect("an answer").status, 202);
        }
        // What the process takes once, for its threads and its index, it takes in one round or the other.
        // What a chunk leaves behind, it leaves in each.
        let growth = resident_bytes(registry.process_id()).saturating_sub(before);
        println!("{CHUNKS} chunks: {growth} bytes");
        least = least.min(growth);
    }
    assert!(least < (CHUNKS * CHUNK_BYTES_MAX) as u64, "each {CHUNKS} chunks take {least} bytes or more");
    finish(&repository.client, &session, &content).await;
    registry.finish();
}

async fn finish(client: &Client, session: &str, content: &Bytes) {
    client.put(&with_query(session, &format!("digest={}", sha256(content))), "").await.expect(201);
}
