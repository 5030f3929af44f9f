//! What clients cost while they do nothing, or next to nothing, and what happens when memory ends.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use http::Method;
use orlop_tests::{
    Options, Registry,
    http::{full, request, request_with},
    process::PATIENCE,
    repository::IMAGE_INDEX,
    stream::{bytes, sha256},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::interval,
};

use crate::common::{Wire, connections, metric, others, resident_bytes, start};

/// Of measurements: what a process takes now and then for itself.
const SLACK_BYTES: u64 = 12 << 20;

/// A session that waits for its client, in bytes.
const SESSION_BYTES_MAX: u64 = 2 << 10;

/// A connection that waits for its client, in bytes.
const IDLE_BYTES_MAX: u64 = 10 << 10;

/// The same with TLS, in bytes.
const IDLE_TLS_BYTES_MAX: u64 = 30 << 10;

/// For how long waiting connections are watched.
const WATCHED: Duration = Duration::from_secs(2);

/// A connection that moves a body slowly, in bytes.
const SLOW_BYTES_MAX: u64 = 64 << 10;

/// Readers may hold as much together before each of them has to do with little, in bytes.
const READERS_BYTES: u64 = 64 << 20;

/// A registry without memory for hot content, and with room for everybody.
async fn roomy() -> Registry {
    roomy_with(Options::default()).await
}

async fn roomy_with(options: Options) -> Registry {
    let limits = json!({ "connectionsMax": 12_000, "uploadsPerRepositoryMax": 20_000 });
    let config = json!({ "http": { "limits": limits }, "storage": { "hotBytes": 0 } });
    Registry::start(Options { config: Some(config), ..options }).await
}

fn report(what: &str, count: usize, before: u64, after: u64, each_max: u64) {
    let growth = after.saturating_sub(before);
    println!("{count} {what}: {} KiB, {} bytes each", growth >> 10, growth / count as u64);
    let most = count as u64 * each_max + SLACK_BYTES;
    assert!(growth <= most, "{count} {what} take {growth} bytes, of {most}");
}

/// Sessions that wait are small, and end with their time.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_sessions_are_small() {
    let registry = roomy().await;
    let sessions = connections(4_000);
    let mut wire = Wire::open(&registry).await;
    let mut open = async || {
        wire.send("POST /v2/waiting/blobs/uploads/ HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(wire.reply().await.expect("an answer").status, 202);
    };
    for _ in 0..100 {
        open().await;
    }
    let before = resident_bytes(registry.process_id());
    for _ in 0..sessions {
        open().await;
    }
    report("sessions just begun", sessions, before, resident_bytes(registry.process_id()), SESSION_BYTES_MAX);
    metric(&registry, "orlop_uploads_checkpointed_total", |stored| stored >= 100 + sessions as u64).await;
    report("sessions written down", sessions, before, resident_bytes(registry.process_id()), SESSION_BYTES_MAX);
    assert!(orlop_tests::disk::upload_files(&registry.root()).is_empty(), "no file for a session without bytes");
    registry.finish();
}

/// Connections that were served once and wait, without TLS and with it.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_connections_are_small() {
    let (plain, tls) = (Options::default(), Options::tls());
    for (what, options, count, each_max) in [
        ("waiting connections", plain, connections(1_000), IDLE_BYTES_MAX),
        ("waiting connections with TLS", tls, connections(300), IDLE_TLS_BYTES_MAX),
    ] {
        let registry = roomy_with(options).await;
        let client = registry.client();
        let open = async || {
            let mut stream = client.connect().await.expect("the registry accepts connections");
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it listens");
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 200");
            stream
        };
        let alone = others(&client, WATCHED).await;
        let mut waiting = vec![open().await];
        metric(&registry, "orlop_connections_resting", |resting| resting >= 1).await;
        let before = resident_bytes(registry.process_id());
        for _ in 0..count {
            waiting.push(open().await);
        }
        metric(&registry, "orlop_connections_resting", |resting| resting > count as u64).await;
        report(what, count, before, resident_bytes(registry.process_id()), each_max);
        println!("others alone {alone}; beside them {}", others(&client, WATCHED).await);
        drop(waiting);
        registry.finish();
    }
}

/// Readers that take a little now and then.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_are_small() {
    const BLOB_BYTES: usize = 64 << 20;
    let registry = roomy().await;
    let repository = registry.repository("readers");
    let digest = repository.push(bytes(1, BLOB_BYTES)).await;
    let readers = connections(150);
    let get = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", repository.blob_path(&digest));
    let pull = async || {
        let begin = Instant::now();
        repository.blob(&digest).await.expect(200);
        begin.elapsed()
    };
    pull().await;
    let alone = pull().await;
    let before = resident_bytes(registry.process_id());
    let mut tasks = JoinSet::new();
    for _ in 0..readers {
        let mut wire = Wire::open_clamped(&registry).await;
        let get = get.clone();
        tasks.spawn(async move {
            wire.send(get).await;
            let mut pace = interval(Duration::from_secs(1));
            let mut kib = [0; 1 << 10];
            for _ in 0..4 {
                pace.tick().await;
                wire.stream.read_exact(&mut kib).await.expect("slow readers are served");
            }
            wire
        });
    }
    let wires = tasks.join_all().await;
    let free = before + READERS_BYTES;
    report("slow readers", readers, free, resident_bytes(registry.process_id()), SLOW_BYTES_MAX);
    let beside = [pull().await, pull().await, pull().await];
    println!("a pull of {} MiB: {alone:?} alone, {beside:?} beside them", BLOB_BYTES >> 20);
    drop(wires);
    registry.finish();
}

/// Writers that send a little now and then.
#[tokio::test(flavor = "multi_thread")]
async fn slow_writers_are_small() {
    let registry = roomy().await;
    let writers = connections(200).min(2_000);
    registry.repository("writers").push(bytes(1, 1 << 20)).await;
    let before = resident_bytes(registry.process_id());
    let mut tasks = JoinSet::new();
    for number in 0..writers {
        let mut wire = Wire::open(&registry).await;
        tasks.spawn(async move {
            let digest = sha256(&number.to_le_bytes());
            let path = format!("/v2/writers/blobs/uploads/?digest={digest}");
            wire.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
            let chunk = format!("400\r\n{}\r\n", "x".repeat(1 << 10));
            let mut pace = interval(Duration::from_secs(1));
            for _ in 0..4 {
                pace.tick().await;
                assert!(wire.send(&chunk).await, "slow writers are served");
            }
            wire
        });
    }
    let wires = tasks.join_all().await;
    report("slow writers", writers, before, resident_bytes(registry.process_id()), SLOW_BYTES_MAX);
    drop(wires);
    metric(&registry, "orlop_uploads_open", |open| open == 0).await;
    registry.finish();
}

/// A memory cgroup of version 1 or 2 with a limit; removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where this process may not make one: then nothing can be said about it here.
    fn new(bytes_max: u64) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("orlop-attack-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let places = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        for (mount, file) in places {
            let path = Path::new(mount).join(&name);
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Cgroup(path);
            // Only the kernel makes the file, where the directory is a control group.
            let limit = fs::OpenOptions::new().write(true).open(group.0.join(file));
            if limit.and_then(|mut limit| limit.write_all(bytes_max.to_string().as_bytes())).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// How often the kernel killed a process of the group for want of memory.
    fn kills(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"];
        let text = files.iter().find_map(|file| fs::read_to_string(self.0.join(file)).ok()).expect("a control file");
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).expect("a number of kills")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets it go once its last process has ended, which it may not have in a failed test.
        let _ = fs::remove_dir(&self.0);
    }
}

/// A registry in a container of so many bytes, with an empty store.
async fn contained(bytes_max: u64) -> Option<(Registry, Cgroup)> {
    let Some(group) = Cgroup::new(bytes_max) else {
        eprintln!("not tried: this process may not make a memory cgroup");
        return None;
    };
    let mut registry = start().await;
    registry.stop();
    let serve = registry.serve_command();
    let mut command = Command::new("sh");
    let script = format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", group.0.display());
    command.args(["-c", &script]).arg(serve.get_program()).args(serve.get_args());
    command.current_dir(serve.get_current_dir().expect("the harness sets one"));
    registry.restart_by(&mut command).await;
    Some((registry, group))
}

/// In a container of 256 MiB under a mix of everything that takes memory: no kill, and whoever is too
/// much is told to come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_container_refuses_instead_of_dying() {
    let Some((registry, group)) = contained(256 << 20).await else { return };
    let mut tasks = JoinSet::new();
    for number in 0..connections(240).min(1_000) {
        let client = registry.client();
        tasks.spawn(async move {
            let mut counts = [0_u32; 3];
            for round in 0..4_u64 {
                let seed = number as u64 * 100 + round;
                let content = bytes(seed, 2 << 20);
                let answer = match number % 3 {
                    // Large documents.
                    0 => {
                        let padding = "x".repeat(4_000_000);
                        let text =
                            json!({ "schemaVersion": 2, "manifests": [], "annotations": { "n": seed, "p": padding } });
                        let text = text.to_string().replace(&format!("\"n\":{seed}"), &format!("\"n\":\"{seed}\""));
                        let header = ("content-type", IMAGE_INDEX);
                        let path = format!("/v2/documents/{number}/manifests/v{round}");
                        client.try_send(request_with(Method::PUT, &path, header, full(text))).await
                    }
                    // Blobs, whole and in sessions.
                    1 => {
                        let path = format!("/v2/blobs/{number}/blobs/uploads/?digest={}", sha256(&content));
                        client.try_send(request(Method::POST, &path, full(content))).await
                    }
                    _ => {
                        let path = format!("/v2/mixed/{number}/blobs/uploads/");
                        match client.try_send(request(Method::POST, &path, full(""))).await {
                            Ok(opened) if opened.status == 202 => {
                                client.try_send(request(Method::PATCH, &opened.location(), full(content))).await
                            }
                            other => other,
                        }
                    }
                };
                match answer {
                    Ok(answer) if answer.status.is_success() => counts[0] += 1,
                    Ok(answer) => {
                        assert!(matches!(answer.status.as_u16(), 429 | 503), "{answer:?}");
                        assert_ne!(answer.header("retry-after"), "", "{answer:?}");
                        counts[1] += 1;
                    }
                    // Cut while it was sending what was refused.
                    Err(_) => counts[2] += 1,
                }
            }
            counts
        });
    }
    let counts = tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("within the patience of the test");
    let [served, refused, cut] = [0, 1, 2].map(|at| counts.iter().map(|count| count[at]).sum::<u32>());
    println!("a container of 256 MiB: {served} served, {refused} refused, {cut} cut, {} kills", group.kills());
    assert_eq!(group.kills(), 0);
    assert!(served > 0, "nobody was served");
    // And when the crowd is gone everybody is served again.
    let after = format!("/v2/after/blobs/uploads/?digest={}", sha256(b"after"));
    crate::common::until("pushes are taken again", async || {
        let pushed = registry.client().try_send(request(Method::POST, &after, full("after"))).await;
        pushed.is_ok_and(|answer| answer.status == 201)
    })
    .await;
    registry.finish();
}

/// Readers that hardly read, of more places than can be hot, in a container that has no room for all of them:
/// those that are too many are told to come again, and everybody is served when they have gone.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_beyond_a_small_container_are_refused() {
    const GROUP_BYTES: u64 = 96 << 20;
    const BLOB_BYTES: usize = 64 << 20;
    let Some((registry, group)) = contained(GROUP_BYTES).await else { return };
    let repository = registry.repository("readers");
    let digest = repository.push(bytes(1, BLOB_BYTES)).await;
    let path = repository.blob_path(&digest);
    let readers = connections(2_500);
    let mut tasks = JoinSet::new();
    for number in 0..readers {
        let mut wire = Wire::open_clamped(&registry).await;
        let begin = (number << 16) % (BLOB_BYTES / 2);
        let get = format!("GET {path} HTTP/1.1\r\nhost: a\r\nrange: bytes={begin}-\r\n\r\n");
        tasks.spawn(async move {
            wire.send(get).await;
            let head = wire.head().await;
            let is_served = head.starts_with("HTTP/1.1 206");
            let is_refused = head.starts_with("HTTP/1.1 503") && head.contains("retry-after: ");
            assert!(is_served || is_refused, "{head}");
            (is_served, wire)
        });
    }
    let answered = tasks.join_all().await;
    let served = answered.iter().filter(|(is_served, _)| *is_served).count();
    let megabytes = resident_bytes(registry.process_id()) >> 20;
    println!(
        "slow readers in a container of {} MiB: {served} of {readers} served, {megabytes} MiB resident, {} kills",
        GROUP_BYTES >> 20,
        group.kills()
    );
    assert_eq!(group.kills(), 0);
    assert!(served > 0 && served < readers, "{served} of {readers}");
    drop(answered);
    crate::common::until("pulls are served again", async || {
        let pulled = registry.client().try_send(request(Method::GET, &path, full(""))).await;
        pulled.is_ok_and(|answer| answer.status == 200 && answer.body.len() == BLOB_BYTES)
    })
    .await;
    registry.finish();
}
