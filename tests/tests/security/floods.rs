//! Floods of HTTP/2 frames: each either ends with its connection or is held to the pace of its sender,
//! and costs neither memory nor the others' service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use orlop_tests::{Registry, stream::bytes};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    common::{flood_time, limits, metric, others, processor_time, resident_bytes, within},
    frames::{
        CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE,
        NEWEST, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, UNKNOWN, WINDOW_UPDATE, frame, remembered, request,
        setting,
    },
};

/// A connection that floods is closed within this time, of which it waits for a second.
const CLOSED_IN: Duration = Duration::from_secs(10);

/// What one attack may add to the memory of the process, in bytes.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// Processor time that a second of an attack may take.
const PROCESSOR_MAX: f64 = 1.0;

/// Bytes that go into one write.
const BATCH_BYTES: usize = 64 << 10;

/// What must become of the connection of an attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The registry closes it.
    Closed,
    /// It may go on: it costs no more than the sender's own effort.
    Any,
}

struct Attack {
    name: &'static str,
    /// Sent once, after the preface.
    opening: Vec<u8>,
    /// What is sent again and again; told which time it is, from 0.
    repeated: fn(u32) -> Vec<u8>,
    /// Whether the attacker reads what comes back.
    reads: bool,
    end: End,
}

/// The stream of the n-th request of a client.
fn stream(number: u32) -> u32 {
    (2 * number + 1) & 0x7fff_ffff
}

fn get(number: u32, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream(number), &request("GET", "/v2/"))
}

/// A block whose every byte stands for 4,000.
fn bomb() -> Vec<u8> {
    let mut block = request("GET", "/v2/");
    block.extend(remembered("x", &"x".repeat(4_000)));
    block.extend(vec![NEWEST; 8 << 10]);
    block
}

fn attacks() -> Vec<Attack> {
    let upload = frame(HEADERS, END_HEADERS, 1, &request("POST", "/v2/a/blobs/uploads/?digest=sha256:00"));
    let open = frame(HEADERS, 0, 1, &request("GET", "/v2/"));
    let attack =
        |name, opening: &[u8], repeated, end| Attack { name, opening: opening.to_vec(), repeated, reads: true, end };
    vec![
        attack(
            "rapid reset (CVE-2023-44487)",
            b"",
            |number| [get(number, END_STREAM), frame(RST_STREAM, 0, stream(number), &CANCEL)].concat(),
            End::Closed,
        ),
        attack(
            "resets provoked from the server (CVE-2025-8671)",
            b"",
            |number| [get(number, 0), frame(WINDOW_UPDATE, 0, stream(number), &[0; 4])].concat(),
            End::Closed,
        ),
        attack(
            "CONTINUATION without end (CVE-2024-27316, RUSTSEC-2024-0332)",
            &open,
            |_| frame(CONTINUATION, 0, 1, &remembered("x", "y")),
            End::Closed,
        ),
        attack("CONTINUATION without content", &open, |_| frame(CONTINUATION, 0, 1, &[]), End::Closed),
        attack(
            "DATA without content (RUSTSEC-2026-0258, CVE-2019-9518)",
            &upload,
            |_| frame(DATA, 0, 1, &[]),
            End::Any,
        ),
        attack("SETTINGS (CVE-2019-9515)", b"", |_| frame(SETTINGS, 0, 0, &[]), End::Closed),
        attack(
            "SETTINGS that change the header table",
            b"",
            |number| frame(SETTINGS, 0, 0, &setting(HEADER_TABLE_SIZE, number % 2 * 65_536)),
            End::Closed,
        ),
        attack("PING (CVE-2019-9512)", b"", |_| frame(PING, 0, 0, &[7; 8]), End::Closed),
        Attack {
            name: "PING whose answers are not read",
            opening: Vec::new(),
            repeated: |_| frame(PING, 0, 0, &[7; 8]),
            reads: false,
            end: End::Any,
        },
        attack(
            "a field block that swells (CVE-2016-6581)",
            b"",
            |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &bomb()),
            End::Any,
        ),
        attack(
            "PRIORITY churn (CVE-2019-9513)",
            b"",
            |number| frame(PRIORITY, 0, stream(number % 1_000), &[0, 0, 0, 0, (number % 256) as u8]),
            End::Closed,
        ),
        attack("streams beyond the limit", b"", |number| get(number, 0), End::Any),
        attack("WINDOW_UPDATE of one byte", b"", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), End::Closed),
        attack("frames of no known type", b"", |_| frame(UNKNOWN, 0, 0, &[0; 64]), End::Closed),
        Attack {
            name: "requests whose answers are not read",
            opening: Vec::new(),
            repeated: |number| get(number, END_STREAM),
            reads: false,
            end: End::Any,
        },
    ]
}

/// What came of an attack.
struct Outcome {
    frames: u32,
    closed: bool,
    said_goodbye: bool,
}

/// Sends until the connection ends or the time is over. A registry that stops reading holds the
/// sender back, which is as good.
async fn flood(registry: &Registry, attack: &Attack, time: Duration) -> Outcome {
    let connection = TcpStream::connect(registry.address()).await.expect("the registry accepts connections");
    let (mut reader, mut writer) = connection.into_split();
    let (closed, received) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let goodbye = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (closed, received, goodbye, reads) = (closed.clone(), received.clone(), goodbye.clone(), attack.reads);
        async move {
            if !reads {
                return std::future::pending().await;
            }
            let mut buffer = vec![0; BATCH_BYTES];
            loop {
                let read = reader.read(&mut buffer).await.unwrap_or(0);
                if read == 0 {
                    closed.store(true, Ordering::SeqCst);
                    return;
                }
                received.fetch_add(read, Ordering::SeqCst);
                // The type of a GOAWAY frame is its fourth byte, of stream 0.
                if buffer[..read].windows(6).any(|bytes| bytes[..3] == [0, 0, bytes[2]] && bytes[3] == GOAWAY) {
                    goodbye.store(true, Ordering::SeqCst);
                }
            }
        }
    });
    let begin = Instant::now();
    let mut frames = 0;
    let mut batch = [PREFACE, &attack.opening].concat();
    while begin.elapsed() < time && !closed.load(Ordering::SeqCst) {
        while batch.len() < BATCH_BYTES {
            batch.extend((attack.repeated)(frames));
            frames += 1;
        }
        let left = time.saturating_sub(begin.elapsed()).max(Duration::from_millis(1));
        match timeout(left, writer.write_all(&batch)).await {
            Ok(Ok(())) => batch.clear(),
            Ok(Err(_)) => closed.store(true, Ordering::SeqCst),
            // Held back until the time was over.
            Err(_) => break,
        }
    }
    reading.abort();
    Outcome { frames, closed: closed.load(Ordering::SeqCst), said_goodbye: goodbye.load(Ordering::SeqCst) }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_cost_little_and_harm_nobody() {
    let registry = Registry::start(limits(json!({ "stallTimeoutMs": 2_000, "idleTimeoutMs": 5_000 }))).await;
    let process = registry.process_id();
    let client = registry.client();
    // Whatever any request needs is there before the first measurement.
    for _ in 0..200 {
        client.get("/v2/").await.expect(200);
    }
    let time = flood_time();
    println!("others alone {}", others(&client, time.min(Duration::from_secs(5))).await);
    let mut wrong = Vec::new();
    for attack in attacks() {
        let (memory, processor, begin) = (resident_bytes(process), processor_time(process), Instant::now());
        let flooding = async {
            let outcome =
                flood(&registry, &attack, if attack.end == End::Closed { CLOSED_IN.max(time) } else { time }).await;
            let mut connections = 1;
            while begin.elapsed() < time {
                flood(&registry, &attack, time.saturating_sub(begin.elapsed())).await;
                connections += 1;
            }
            (outcome, connections)
        };
        let ((outcome, connections), beside) = tokio::join!(flooding, others(&client, time));
        let growth = resident_bytes(process).saturating_sub(memory);
        let seconds = begin.elapsed().as_secs_f64().max(1.0);
        let share = (processor_time(process) - processor).as_secs_f64() / seconds;
        println!(
            "{}: {} frames, closed {}, goodbye {}, {connections} connections, {} KiB more, {share:.2} of a processor, others {beside}",
            attack.name,
            outcome.frames,
            outcome.closed,
            outcome.said_goodbye,
            growth >> 10
        );
        if (attack.end == End::Closed && !outcome.closed) || growth > GROWTH_BYTES_MAX || share > PROCESSOR_MAX {
            wrong.push(format!("{}: closed {}, {growth} bytes more, {share:.2}", attack.name, outcome.closed));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    client.get("/v2/").await.expect(200);
    registry.finish();
}

/// Streams whose window stays closed hold little, and are ended by the stall limit.
#[tokio::test(flavor = "multi_thread")]
async fn streams_with_a_closed_window_are_ended() {
    const STREAMS: u32 = 100;
    const BLOB_BYTES: usize = 8 << 20;
    let config = json!({ "http": { "limits": { "stallTimeoutMs": 1_000 } }, "storage": { "hotBytes": 0 } });
    let registry = Registry::start(orlop_tests::Options { config: Some(config), ..Default::default() }).await;
    let repository = registry.repository("held");
    let digest = repository.push(bytes(1, BLOB_BYTES)).await;
    repository.blob(&digest).await.expect(200);
    let before = resident_bytes(registry.process_id());
    let mut connection = TcpStream::connect(registry.address()).await.expect("the registry accepts connections");
    let mut sent = PREFACE.to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 0)));
    for number in 0..STREAMS {
        let block = request("GET", &repository.blob_path(&digest));
        sent.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &block));
    }
    within(connection.write_all(&sent)).await.expect("the requests are taken");
    metric(&registry, "orlop_http_aborted_total{cause=\"stalled\"}", |ended| ended == u64::from(STREAMS)).await;
    let growth = resident_bytes(registry.process_id()).saturating_sub(before);
    println!("{STREAMS} streams with a closed window: {} KiB more", growth >> 10);
    assert!(growth < u64::from(STREAMS) * (2 << 20), "{growth} bytes");
    registry.client().get("/v2/").await.expect(200);
    registry.finish();
}
