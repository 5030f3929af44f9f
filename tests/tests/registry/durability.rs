//! What the registry said is done stays done: through SIGKILL, cut connections, a full house of
//! clients, damaged disks and operators' mistakes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Io, Layout, Options, Registry, Repository, disk,
    http::{full, request_with},
    process::{PATIENCE, run},
    registry::binary,
    repository::with_query,
    stream::{Random, bytes, sha256},
};
use tokio::{io::AsyncWriteExt, sync::Notify, task::JoinSet};

/// Blobs up to this many bytes are kept in the index, larger ones in a file each.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// Clients push until the registry is killed in the middle, several times over one root. After
/// each start, everything that was acknowledged is there; nothing else may be damaged either.
async fn acknowledged_pushes_survive_sigkill(io: Io) {
    const ROUNDS: u64 = 4;
    const CLIENTS: u64 = 4;
    const ACKNOWLEDGED_BEFORE_KILL: u64 = 60;
    let mut registry = Registry::start(Options::io(io)).await;
    let acknowledged = Arc::new(Mutex::new(BTreeMap::<String, Bytes>::new()));
    for round in 0..ROUNDS {
        let count = Arc::new(AtomicU64::new(0));
        let enough = Arc::new(Notify::new());
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let repository = registry.repository("survivors");
            let (acknowledged, count, enough) = (Arc::clone(&acknowledged), Arc::clone(&count), Arc::clone(&enough));
            clients.spawn(async move {
                let mut random = Random(round * CLIENTS + client);
                loop {
                    // Half of them inline, half of them files.
                    let length = random.below(4 * INLINE_BYTES_MAX as u64) as usize / 2 + 1;
                    let content = bytes(random.next(), length);
                    // No answer: the registry is gone, and what became of the blob is open.
                    let digest = sha256(&content);
                    let Ok(answer) = repository.try_push(&digest, content.clone()).await else { return };
                    answer.expect(201);
                    acknowledged.lock().expect("no client panics").insert(digest, content);
                    if count.fetch_add(1, Ordering::Relaxed) + 1 == ACKNOWLEDGED_BEFORE_KILL {
                        enough.notify_one();
                    }
                }
            });
        }
        enough.notified().await;
        registry.kill();
        while let Some(client) = clients.join_next().await {
            client.expect("no client panics");
        }
        registry.restart().await;
        let repository = registry.repository("survivors");
        let all = acknowledged.lock().expect("no client panics").clone();
        for (digest, content) in all {
            assert_eq!(repository.blob(&digest).await.expect(200).body, content, "round {round}: {digest}");
        }
    }
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_pushes_survive_sigkill_on_the_ring() {
    acknowledged_pushes_survive_sigkill(Io::Ring).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_pushes_survive_sigkill_on_threads() {
    acknowledged_pushes_survive_sigkill(Io::Threads).await;
}

/// A whole image with its index, killed right after the last answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_image_survives_sigkill() {
    let fixture = Layout::fixture().load("multi");
    let mut registry = Registry::start(Options::default()).await;
    registry.repository("debian").push_content(&fixture, "multi").await;
    registry.kill();
    registry.restart().await;
    registry.repository("debian").assert_serves(&fixture, "multi").await;
    registry.finish();
}

/// Sends the head of a PATCH that announces `announced` bytes, and `sent` of them, and returns the
/// open connection.
async fn unfinished_patch(
    repository: &Repository,
    session: &str,
    sent: &[u8],
    announced: usize,
) -> Box<dyn orlop_tests::http::Stream> {
    let mut stream = repository.client.connect().await.expect("the registry accepts connections");
    let head = format!("PATCH {session} HTTP/1.1\r\nhost: registry\r\ncontent-length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    stream.write_all(sent).await.expect("the bytes are taken");
    stream.flush().await.expect("the bytes are sent");
    stream
}

/// Bytes that the session says it has.
async fn received(repository: &Repository, session: &str) -> usize {
    let status = repository.client.get(session).await.expect(204);
    let range = status.header("range").strip_prefix("0-").expect("0-<last>").parse::<usize>();
    match range.expect("a number") {
        0 => 0,
        last => last + 1,
    }
}

/// Resumes at what the session reports and closes it; the content must come out whole, which also
/// proves that the part received before was an exact prefix. While the registry still reads from
/// the cut connection it answers 416 without taking the body, and the client asks again.
async fn resume(repository: &Repository, session: &str, content: &Bytes) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let offset = received(repository, session).await;
        assert!(offset <= content.len(), "{offset} of {} bytes", content.len());
        let rest = content.slice(offset..);
        let range = format!("{offset}-{}", content.len() - 1);
        let patch = request_with(Method::PATCH, session, ("content-range", &range), full(rest));
        let answer = match repository.client.try_send(patch).await {
            Ok(answer) if answer.status != 416 => answer,
            early => {
                assert!(Instant::now() < deadline, "the session is never free: {early:?}");
                continue;
            }
        };
        let session = answer.expect(202).location();
        let digest = sha256(content);
        repository.client.put(&with_query(&session, &format!("digest={digest}")), "").await.expect(201);
        assert_eq!(repository.blob(&digest).await.expect(200).body, *content);
        return;
    }
}

/// A connection that breaks in the middle of a PATCH costs what had not arrived, no more.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_in_the_middle_is_resumed() {
    let registry = Registry::start(Options::default()).await;
    let repository = registry.repository("cut");
    let content = bytes(1, 8 << 20);
    let session = repository.open_upload().await;
    let stream = unfinished_patch(&repository, &session, &content[..3 << 20], content.len()).await;
    drop(stream);
    resume(&repository, &session, &content).await;
    registry.finish();
}

/// SIGKILL in the middle of a large PATCH: the session is still there after the restart, with an
/// exact prefix, and the upload goes on from what it reports.
async fn an_upload_survives_sigkill(io: Io) {
    const CONTENT_BYTES: usize = 256 << 20;
    const SENT_BYTES: usize = 200 << 20;
    // An upload is made durable each time this much has come; what came later may be lost.
    const CHECKPOINT_BYTES: usize = 64 << 20;
    // What can lie in socket buffers between here and there.
    const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
    let mut registry = Registry::start(Options::io(io)).await;
    let content = bytes(2, CONTENT_BYTES);
    let repository = registry.repository("killed");
    let session = repository.open_upload().await;
    let stream = unfinished_patch(&repository, &session, &content[..SENT_BYTES], content.len()).await;
    registry.kill();
    drop(stream);
    registry.restart().await;

    let repository = registry.repository("killed");
    let offset = received(&repository, &session).await;
    assert!(
        (SENT_BYTES - IN_FLIGHT_BYTES_MAX - CHECKPOINT_BYTES..=SENT_BYTES).contains(&offset),
        "{offset} bytes after the restart"
    );
    resume(&repository, &session, &content).await;
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_sigkill_on_the_ring() {
    an_upload_survives_sigkill(Io::Ring).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_sigkill_on_threads() {
    an_upload_survives_sigkill(Io::Threads).await;
}

/// A stop by SIGTERM keeps the session to the last byte of the last answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_a_stop() {
    let mut registry = Registry::start(Options::default()).await;
    let content = bytes(3, 5 << 20);
    let half = 2_500_001;
    let repository = registry.repository("stopped");
    let session = repository.open_upload().await;
    repository.client.patch(&session, content.slice(..half)).await.expect(202);
    registry.stop();
    registry.restart().await;
    let repository = registry.repository("stopped");
    assert_eq!(received(&repository, &session).await, half);
    resume(&repository, &session, &content).await;
    registry.finish();
}

/// 64 clients push one image into 64 repositories at the same time: one copy of each blob.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_pushed_64_times_at_once_is_kept_once() {
    const CLIENTS: usize = 64;
    let fixture = Arc::new(Layout::fixture().load("amd64"));
    let sizes: BTreeSet<u64> = (fixture.blobs.iter())
        .map(|(_, content)| content.len() as u64)
        .filter(|size| *size > INLINE_BYTES_MAX as u64)
        .collect();
    let registry = Registry::start(Options::default()).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let repository = registry.repository(&format!("same/{number}"));
        let fixture = Arc::clone(&fixture);
        clients.spawn(async move { repository.push_content(&fixture, "amd64").await });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every push succeeds");
    }
    let kept: Vec<u64> = disk::blob_files(&registry.root()).iter().map(|file| file.size).collect();
    assert_eq!(kept.len(), sizes.len(), "files of {kept:?} bytes");
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), sizes);
    for number in [0, CLIENTS - 1] {
        registry.repository(&format!("same/{number}")).assert_serves(&fixture, "amd64").await;
    }
    assert!(disk::upload_files(&registry.root()).is_empty(), "nothing is left of the uploads");
    registry.finish();
}

/// A tag that moves on leaves the image it named, under its digest.
#[tokio::test(flavor = "multi_thread")]
async fn an_overwritten_tag_keeps_the_old_digest() {
    let mut registry = Registry::start(Options::default()).await;
    let repository = registry.repository("moving");
    let old = repository.push_image("v1", bytes(1, 100_000)).await;
    let new = repository.push_image("v1", bytes(2, 100_000)).await;
    registry.kill();
    registry.restart().await;
    let repository = registry.repository("moving");
    assert_eq!(repository.manifest("v1").await.expect(200).body, new.bytes);
    assert_eq!(repository.manifest(&old.digest).await.expect(200).body, old.bytes);
    assert_eq!(repository.blob(&sha256(&bytes(1, 100_000))).await.expect(200).body, bytes(1, 100_000));
    registry.finish();
}

/// A blob whose file was damaged is never served as if it were whole, is reported by `orlop check`,
/// and is healed by a new push.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_not_served_and_a_push_heals_it() {
    let mut registry = Registry::start(Options::default()).await;
    let content = bytes(4, 3 << 20);
    let digest = registry.repository("damaged").push(content.clone()).await;
    let files = disk::blob_files(&registry.root());
    assert_eq!(files.len(), 1, "{files:?}");
    disk::damage(&files[0].path);

    registry.stop();
    let checked = registry.check();
    assert_eq!(checked.status.code(), Some(1), "{}{}", checked.stdout, checked.stderr);
    registry.restart().await;

    let repository = registry.repository("damaged");
    let path = repository.blob_path(&digest);
    let pull = request_with(Method::GET, &path, ("accept", "*/*"), full(""));
    if let Ok(answer) = repository.client.try_send(pull).await {
        assert_eq!(answer.status, 404, "damaged bytes under a clean end: {answer:?}");
    }
    repository.blob(&digest).await.expect_error(404, "BLOB_UNKNOWN");
    repository.push(content.clone()).await;
    assert_eq!(repository.blob(&digest).await.expect(200).body, content);
    registry.finish();
}

/// One line on standard error that has every word, and the exit code of `orlop --help`.
#[track_caller]
fn assert_refused(command: &mut Command, code: i32, words: &[&str]) {
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(code), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "one line: {}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in: {}", ended.stderr);
    }
}

/// A root has one owner at a time; the owner is not disturbed by a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_root_is_refused() {
    let registry = Registry::start(Options::default()).await;
    let digest = registry.repository("owner").push("mine").await;
    let root = registry.root();
    assert_refused(&mut registry.serve_command(), 5, &[&root.display().to_string()]);
    let mut check = Command::new(binary());
    assert_refused(check.arg("check").arg("--root").arg(&root), 5, &[&root.display().to_string()]);
    assert_eq!(registry.repository("owner").blob(&digest).await.expect(200).body, "mine");
    registry.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_refused() {
    let registry = Registry::start(Options::default()).await;
    let address = registry.address().to_string();
    let other = registry.scratch("other").join("root");
    let mut serve = Command::new(binary());
    assert_refused(serve.arg("serve").arg("--root").arg(other).arg("--addr").arg(&address), 3, &[&address]);
    registry.finish();
}

#[test]
fn a_root_that_cannot_be_written_is_refused() {
    let directory = disk::temporary_directory();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").expect("the file can be written");
    // A path below a file cannot be made, whoever asks: root too.
    for root in [file.join("root"), file] {
        let mut serve = Command::new(binary());
        serve.arg("serve").arg("--root").arg(&root).arg("--addr").arg("127.0.0.1:0");
        assert_refused(&mut serve, 4, &[&root.display().to_string()]);
    }
}

/// An index that cannot be read stops the start with one clear line: a registry that came up empty
/// would let its blobs be collected.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_refused() {
    let mut registry = Registry::start(Options::default()).await;
    registry.repository("index").push_image("v1", bytes(1, 1000)).await;
    registry.stop();
    let index = registry.root().join("index");
    let files = disk::files(&index);
    let manifest = files
        .iter()
        .find(|file| file.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST")));
    let manifest =
        &manifest.unwrap_or_else(|| panic!("RocksDB keeps a MANIFEST in {}: {files:?}", index.display())).path;
    let whole = fs::read(manifest).expect("the file can be read");
    fs::write(manifest, vec![0xff; whole.len()]).expect("the file can be written");
    assert_refused(&mut registry.serve_command(), 6, &["index"]);

    // Nothing was changed by the attempt: with the file back, everything is there.
    fs::write(manifest, whole).expect("the file can be written");
    registry.restart().await;
    registry.repository("index").manifest("v1").await.expect(200);
    registry.finish();
}
