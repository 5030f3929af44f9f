//! What only a disk in a file system has: foreign entries, permissions, descriptors, a root.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// The real disks of this build.
fn fixtures() -> Vec<Fixture> {
    let fixtures = [
        Fixture::threads(),
        #[cfg(feature = "ring")]
        Fixture::ring(),
    ];
    fixtures.into_iter().flatten().collect()
}

#[tokio::test]
async fn links_fifos_and_sockets_are_refused() {
    for fixture in fixtures() {
        refuses_what_is_foreign(fixture).await;
    }
}

pub async fn refuses_what_is_foreign(fixture: Fixture) {
    let outside = |name: &str| fixture.outside(name).expect("a real disk");
    std::fs::write(outside("file"), b"bytes").expect("write");
    std::fs::create_dir(outside("directory")).expect("mkdir");
    symlink("file", outside("link")).expect("symlink");
    symlink("directory", outside("detour")).expect("symlink");
    symlink("/etc/hostname", outside("escape")).expect("symlink");
    std::os::unix::net::UnixListener::bind(outside("socket")).expect("bind");
    make_fifo(&outside("fifo"));
    for name in ["link", "detour", "detour/x", "escape", "socket", "fifo"] {
        for write in [false, true] {
            let outcome = fixture.disk.open(&path(name), write).await;
            assert_eq!(kind(outcome), Some(io::ErrorKind::InvalidData), "{name}, write {write}");
        }
    }
    let file = fixture.file(b"x").await;
    assert_eq!(kind(fixture.disk.link(&file, &path("detour/x")).await), Some(io::ErrorKind::InvalidData));
    assert!(!outside("directory/x").exists());
    let others = fixture.list(&StorePath::root()).await;
    let others = others.iter().filter(|entry| entry.kind == EntryKind::Other).count();
    assert_eq!(others, 5);
}

fn make_fifo(path: &std::path::Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(status.success());
}

#[tokio::test]
async fn nobody_else_may_read_the_files() {
    for fixture in fixtures() {
        let file = fixture.file(b"private").await;
        fixture.disk.link(&file, &path("directory/file")).await.expect("link");
        for (name, mode) in [("directory", 0o700), ("directory/file", 0o600)] {
            let metadata = std::fs::metadata(fixture.outside(name).expect("a real disk")).expect("stat");
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        }
    }
}

#[tokio::test]
async fn a_removed_directory_is_made_again() {
    for fixture in fixtures() {
        for name in ["a/b/one", "a/b/two"] {
            let file = fixture.file(b"again").await;
            assert_eq!(fixture.disk.link(&file, &path(name)).await.expect("link"), Linked::New);
            std::fs::remove_dir_all(fixture.outside("a").expect("a real disk")).expect("remove");
        }
    }
}

#[tokio::test]
async fn handles_do_not_leak() {
    const ROUNDS: usize = 300;
    for fixture in fixtures() {
        for _ in 0..ROUNDS {
            let file = fixture.file(b"short-lived").await;
            assert_eq!(fixture.read(&file, 0, 20).await, b"short-lived");
        }
        fixture.settle().await;
        let open = descriptors_below(fixture.root.as_ref().expect("a real disk").path());
        // The root itself, and the last handles, if their threads are not done with them yet.
        assert!((1..ROUNDS / 10).contains(&open), "{open} descriptors are open after {ROUNDS} files");
    }
}

fn descriptors_below(root: &std::path::Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(root)).count()
}

#[tokio::test]
async fn a_root_that_is_no_directory_is_an_error() {
    let root = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(root.path().join("file"), b"").expect("write");
    for backend in [Backend::Auto, Backend::Threads] {
        let missing = open_disk(&root.path().join("missing"), backend);
        assert_eq!(kind(missing), Some(io::ErrorKind::NotFound));
        let file = open_disk(&root.path().join("file"), backend);
        assert_eq!(kind(file), Some(io::ErrorKind::NotADirectory));
    }
}
