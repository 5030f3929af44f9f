//! The store's directory when somebody else has had his hands in it.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use orlop_tests::{Registry, disk, process::run, stream::bytes};
use rustix::fs::{CWD, FileType, Mode};

use crate::common::start;

/// An answer that takes longer hangs on what it should have refused.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(20);

/// The file of the one blob that is large enough to have one.
fn blob_file(registry: &Registry) -> PathBuf {
    let files = disk::blob_files(&registry.root());
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].path.clone()
}

/// Puts a link where `path` was, to where it is moved.
fn replace_by_link(path: &Path, moved: &Path) {
    fs::rename(path, moved).expect("it can be moved");
    symlink(moved, path).expect("a link can be made");
}

/// containers-image CVE-2024-3727 and its kin: a link at a blob's place or above it is not followed.
#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_blob_area_are_not_followed() {
    for levels in 0..3 {
        let registry = start().await;
        let repository = registry.repository("links");
        let content = bytes(1, 1 << 20);
        let digest = repository.push(content.clone()).await;
        let file = blob_file(&registry);
        let place = file.ancestors().nth(levels).expect("a place above the file").to_owned();
        assert!(place.starts_with(registry.root()) && place != registry.root());
        let elsewhere = registry.scratch("elsewhere");
        replace_by_link(&place, &elsewhere.join("moved"));
        let answer = repository.blob(&digest).await;
        assert!(matches!(answer.status.as_u16(), 404 | 500), "level {levels}: {answer:?}");
        // Nothing is written through the link either.
        let before = disk::files(&elsewhere);
        let pushed = repository.try_push(&digest, content.clone()).await.expect("an answer");
        assert!(matches!(pushed.status.as_u16(), 201 | 500), "level {levels}: {pushed:?}");
        assert_eq!(disk::files(&elsewhere), before, "level {levels}");
        if pushed.status == 201 {
            assert!(repository.blob(&digest).await.expect(200).body == content);
        }
        registry.finish_damaged();
    }
}

/// A link in the place of the index or of the upload area: the store is not opened, or not through it.
#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_place_of_a_directory_are_not_followed() {
    for name in ["index", "uploads"] {
        let mut registry = start().await;
        let repository = registry.repository("links");
        let session = repository.open_upload().await;
        repository.client.patch(&session, bytes(1, 2 << 20)).await.expect(202);
        registry.stop();
        let place = registry.root().join(name);
        assert!(place.is_dir(), "{name} is there after an upload was put away");
        let elsewhere = registry.scratch("elsewhere");
        replace_by_link(&place, &elsewhere.join("moved"));
        let before = disk::files(&elsewhere);
        let ended = run(&mut registry.serve_command());
        assert!(!ended.status.success(), "{name}: {}{}", ended.stdout, ended.stderr);
        assert!(!ended.stdout.contains("\"listening\""), "{name}: {}", ended.stdout);
        assert_eq!(disk::files(&elsewhere), before, "{name}");
        registry.finish_damaged();
    }
}

/// What is no plain file at a blob's place is an absent blob, at once, and heals like one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_at_a_blobs_place_does_not_hang() {
    type Put = fn(&Path);
    let kinds: [(&str, Put); 4] = [
        ("FIFO", |path| make_node(path, FileType::Fifo)),
        ("socket", |path| drop(std::os::unix::net::UnixListener::bind(path).expect("a socket can be made"))),
        ("directory", |path| fs::create_dir(path).expect("a directory can be made")),
        ("nothing", |_| {}),
    ];
    for (kind, put) in kinds {
        let registry = start().await;
        let repository = registry.repository("nodes");
        let content = bytes(1, 1 << 20);
        let digest = repository.push(content.clone()).await;
        let file = blob_file(&registry);
        fs::remove_file(&file).expect("the blob's file can be removed");
        // Sockets have short names only.
        let beside = PathBuf::from(format!("/tmp/orlop-node-{}", registry.process_id()));
        put(&beside);
        if beside.exists() {
            let renamed = fs::rename(&beside, &file);
            renamed.unwrap_or_else(|_| move_across(kind, &beside, &file, put));
        }
        let begin = Instant::now();
        let answer = repository.blob(&digest).await;
        assert!(begin.elapsed() < REFUSAL_TIME_MAX, "{kind}: {:?}", begin.elapsed());
        assert!(matches!(answer.status.as_u16(), 404 | 500), "{kind}: {answer:?}");
        // The registry goes on.
        repository.push("more").await;
        registry.finish_damaged();
    }
}

/// The store and the place for short names are on different file systems.
fn move_across(kind: &str, beside: &Path, file: &Path, put: fn(&Path)) {
    if kind == "directory" { fs::remove_dir(beside) } else { fs::remove_file(beside) }.expect("it can be removed");
    // A socket is not worth a long path; a FIFO stands for it.
    if kind == "socket" { make_node(file, FileType::Fifo) } else { put(file) }
}

fn make_node(path: &Path, kind: FileType) {
    rustix::fs::mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, 0).expect("a node can be made");
}

/// Nothing in a store is for others, whatever the umask of whoever starts the registry.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_for_their_owner_alone() {
    let mut registry = start().await;
    registry.stop();
    let root = registry.root();
    fs::remove_dir_all(&root).expect("an empty store can be removed");
    let serve = registry.serve_command();
    let mut open = std::process::Command::new("sh");
    // A umask that takes nothing away.
    open.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    open.current_dir(serve.get_current_dir().expect("the harness sets one"));
    registry.restart_by(&mut open).await;
    let repository = registry.repository("modes");
    repository.push(bytes(1, 1 << 20)).await;
    repository.push_image("v1", "layer").await;
    let session = repository.open_upload().await;
    repository.client.patch(&session, bytes(2, 2 << 20)).await.expect(202);
    registry.stop();
    let mut places = vec![root];
    while let Some(place) = places.pop() {
        let metadata = fs::symlink_metadata(&place).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o077, 0, "{} {:o}", place.display(), metadata.mode());
        if metadata.is_dir() {
            places.extend(fs::read_dir(&place).expect("readable").map(|entry| entry.expect("an entry").path()));
        }
    }
    registry.finish();
}
