//! Running out of file descriptors.

use std::process::Command;

use orlop_tests::{Registry, stream::bytes};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::{net::TcpStream, task::JoinSet};

use crate::common::{Wire, connections, open_files, start, until, within};

/// A limit that a handful of clients can reach.
const OPEN_FILES_MAX: u64 = 256;

/// Starts the registry again under a limit of open files.
async fn limited(registry: &mut Registry) {
    registry.stop();
    let serve = registry.serve_command();
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {OPEN_FILES_MAX}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(serve.get_program()).args(serve.get_args());
    command.current_dir(serve.get_current_dir().expect("the harness sets one"));
    registry.restart_by(&mut command).await;
}

/// More connections than descriptors: those that are there are served, pushes and pulls included, and
/// the others wait their turn.
#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_for_their_requests() {
    let mut registry = start().await;
    limited(&mut registry).await;
    let repository = registry.repository("descriptors");
    let content = bytes(1, 1 << 20);
    let digest = repository.push(content.clone()).await;
    let mut kept = Wire::open(&registry).await;
    let get = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", repository.blob_path(&digest));
    kept.send(&get).await;
    assert_eq!(kept.reply().await.expect("an answer").status, 200);
    // All at once: those that find no room in the system's queue of connections go on trying.
    let mut crowd = JoinSet::new();
    for _ in 0..connections(600) {
        let address = registry.address();
        crowd.spawn(async move {
            let _held = TcpStream::connect(address).await;
            std::future::pending::<()>().await;
        });
    }
    let process = registry.process_id();
    let most = OPEN_FILES_MAX as usize;
    until("the crowd has what it can get", async || open_files(process) > most / 2).await;
    for round in 0..20_u64 {
        kept.send(&get).await;
        let reply = kept.reply().await.expect("an answer");
        assert!(reply.status == 200 && reply.body == content, "round {round}: {}", reply.status);
        // A push opens several files at once.
        let pushed = bytes(100 + round, 300_000);
        let path = repository.path(&format!("blobs/uploads/?digest={}", orlop_tests::stream::sha256(&pushed)));
        kept.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", pushed.len())).await;
        kept.send(&pushed).await;
        assert_eq!(kept.reply().await.expect("an answer").status, 201, "round {round}");
        assert!(open_files(process) < most, "a reserve is left");
    }
    crowd.shutdown().await;
    registry.client().get("/v2/").await.expect(200);
    registry.finish();
}

/// The last descriptor is gone all the same: what needs one is refused, nothing is taken for damaged or
/// lost, and when there are some again everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_requests_are_refused_and_nothing_is_lost() {
    let registry = start().await;
    let repository = registry.repository("none");
    let content = bytes(1, 1 << 20);
    let digest = repository.push(content.clone()).await;
    let mut kept = Wire::open(&registry).await;
    let get = format!("GET {} HTTP/1.1\r\nhost: a\r\n\r\n", repository.blob_path(&digest));
    let pushed = bytes(2, 300_000);
    let push = repository.path(&format!("blobs/uploads/?digest={}", orlop_tests::stream::sha256(&pushed)));
    let head = format!("POST {push} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", pushed.len());
    kept.send("GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(kept.reply().await.expect("an answer").status, 200);

    let process = Pid::from_raw(i32::try_from(registry.process_id()).expect("an id")).expect("no id is 0");
    let old = prlimit(Some(process), Resource::Nofile, Rlimit { current: Some(1), maximum: None });
    let old = match old {
        Ok(old) => old,
        // Without a privilege the hard limit may only be lowered, so it is kept as it is.
        Err(_) => {
            let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
            let low = Rlimit { current: Some(1), maximum: hard };
            prlimit(Some(process), Resource::Nofile, low).expect("the soft limit can be lowered")
        }
    };
    kept.send(&get).await;
    let refused = kept.reply().await.expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("retry-after: "), "{refused:?}");
    kept.send(&head).await;
    kept.send(&pushed).await;
    let refused = kept.reply().await.expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    // Somebody knocks meanwhile.
    let mut waiting = Wire::open(&registry).await;
    waiting.send("GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..20 {
        kept.send("GET /v2/_catalog HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(kept.reply().await.expect("an answer").status, 200);
    }

    prlimit(Some(process), Resource::Nofile, old).expect("the limit can be raised again");
    assert_eq!(within(waiting.reply()).await.expect("an answer").status, 200, "who waited is served");
    kept.send(&get).await;
    assert!(kept.reply().await.expect("an answer").body == content, "the blob is neither lost nor damaged");
    repository.push(pushed).await;
    registry.client().get("/readyz").await.expect(200);
    registry.finish();
}
