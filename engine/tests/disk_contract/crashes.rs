//! What a crash leaves of a simulated disk. Without the sync some crash loses the bytes, with it
//! none does: the first half shows that the second can fail.

use super::*;

const SEEDS: u64 = 200;

/// Two blocks under a durable name, then one of them written again without a sync.
async fn overwritten(disk: &SimDisk, sync: bool) -> (Vec<u8>, Vec<u8>) {
    let fixture = Fixture { disk: Arc::new(disk.clone()), pool: Pool::new(POOL_BYTES), root: None };
    let old = pattern(2 * ALIGNMENT, 1);
    let file = fixture.file(&old).await;
    fixture.disk.link(&file, &path("file")).await.expect("link");
    sync_root(disk).await;
    let mut new = old.clone();
    new[..ALIGNMENT].copy_from_slice(&pattern(ALIGNMENT, 2));
    let buffer = fixture.filled(&new[..ALIGNMENT]).await;
    fixture.disk.write(&file, buffer, 0).await.expect("write");
    if sync {
        fixture.disk.sync(&file, None).await.expect("sync");
    }
    (old, new)
}

async fn sync_root(disk: &SimDisk) {
    let root = disk.open(&StorePath::root(), false).await.expect("open");
    disk.sync(&root, None).await.expect("sync");
}

async fn content(disk: SimDisk, name: &str) -> Option<Vec<u8>> {
    let fixture = Fixture { disk: Arc::new(disk), pool: Pool::new(POOL_BYTES), root: None };
    match fixture.disk.open(&path(name), false).await {
        Ok(file) => Some(fixture.read(&file, 0, 1 << 20).await),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            None
        }
    }
}

#[tokio::test]
async fn unsynced_bytes_are_lost_kept_or_torn() {
    let disk = SimDisk::new(1);
    let (old, new) = overwritten(&disk, false).await;
    let (mut lost, mut kept, mut torn) = (0, 0, 0);
    for seed in 0..SEEDS {
        let found = content(disk.crash(seed), "file").await.expect("the name is durable");
        assert_eq!(found[ALIGNMENT..], old[ALIGNMENT..], "the other block is durable");
        match found {
            found if found == old => lost += 1,
            found if found == new => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(lost > 0 && kept > 0 && torn > 0, "lost {lost}, kept {kept}, torn {torn}");
}

#[tokio::test]
async fn synced_bytes_are_never_lost() {
    let disk = SimDisk::new(1);
    let (_, new) = overwritten(&disk, true).await;
    for seed in 0..SEEDS {
        assert_eq!(content(disk.crash(seed), "file").await.as_ref(), Some(&new), "seed {seed}");
    }
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let disk = SimDisk::new(1);
    let (old, _) = overwritten(&disk, false).await;
    let file = disk.open(&path("file"), true).await.expect("open");
    disk.fail_at(disk.operations(), libc::EIO);
    let error = disk.sync(&file, None).await.expect_err("injected");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    disk.sync(&file, None).await.expect("the second one lies");
    let mut lost = 0;
    for seed in 0..SEEDS {
        lost += u64::from(content(disk.crash(seed), "file").await.as_ref() == Some(&old));
    }
    assert!(lost > 0);
}

#[tokio::test]
async fn unsynced_names_are_lost_or_kept_in_any_subset() {
    let disk = SimDisk::new(2);
    let fixture = Fixture { disk: Arc::new(disk.clone()), pool: Pool::new(POOL_BYTES), root: None };
    let old = fixture.file(b"old").await;
    disk.link(&old, &path("old")).await.expect("link");
    sync_root(&disk).await;
    let new = fixture.file(b"new").await;
    disk.link(&new, &path("new")).await.expect("link");
    disk.unlink(&path("old")).await.expect("unlink");
    let mut states = std::collections::BTreeSet::new();
    for seed in 0..SEEDS {
        let crashed = disk.crash(seed);
        let (old, new) = (content(crashed.clone(), "old").await, content(crashed, "new").await);
        assert!(old.as_deref().is_none_or(|bytes| bytes == b"old"));
        assert!(new.as_deref().is_none_or(|bytes| bytes == b"new"));
        states.insert((old.is_some(), new.is_some()));
    }
    assert_eq!(states.len(), 4, "{states:?}");
    sync_root(&disk).await;
    for seed in 0..SEEDS {
        let crashed = disk.crash(seed);
        assert_eq!(content(crashed.clone(), "old").await, None, "seed {seed}");
        assert_eq!(content(crashed, "new").await.as_deref(), Some(&b"new"[..]), "seed {seed}");
    }
}

#[tokio::test]
async fn a_sync_of_one_directory_says_nothing_about_another() {
    let disk = SimDisk::new(3);
    let fixture = Fixture { disk: Arc::new(disk.clone()), pool: Pool::new(POOL_BYTES), root: None };
    let file = fixture.file(b"bytes").await;
    disk.link(&file, &path("there/file")).await.expect("link");
    sync_root(&disk).await;
    let mut lost = 0;
    for seed in 0..SEEDS {
        let crashed = disk.crash(seed);
        assert!(crashed.open(&path("there"), false).await.is_ok(), "link makes directories durable");
        lost += u64::from(content(crashed, "there/file").await.is_none());
    }
    assert!(lost > 0);
}

#[tokio::test]
async fn after_the_crash_point_nothing_takes_effect() {
    let disk = SimDisk::new(4);
    let fixture = Fixture { disk: Arc::new(disk.clone()), pool: Pool::new(POOL_BYTES), root: None };
    let file = fixture.file(b"before").await;
    let done = disk.operations();
    assert_eq!(done, 3, "create, write, sync");
    disk.crash_after(done + 1);
    assert_eq!(disk.link(&file, &path("one")).await.expect("still before"), Linked::New);
    assert!(disk.link(&file, &path("two")).await.is_err());
    assert!(disk.list(&StorePath::root()).await.is_err());
    let names: Vec<_> = (0..SEEDS).map(|seed| disk.crash(seed)).collect();
    for crashed in names {
        assert_eq!(content(crashed, "two").await, None);
    }
}

#[tokio::test]
async fn one_operation_fails_and_the_next_succeeds() {
    let disk = SimDisk::new(5);
    disk.fail_at(0, libc::ENOSPC);
    let error = disk.create(0).await.map(drop).expect_err("injected");
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert!(disk.create(0).await.is_ok());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_crash() {
    let disk = SimDisk::new(6);
    overwritten(&disk, false).await;
    for seed in 0..20 {
        assert_eq!(content(disk.crash(seed), "file").await, content(disk.crash(seed), "file").await);
    }
}

#[tokio::test]
async fn damage_changes_the_byte_that_was_asked_for() {
    let disk = SimDisk::new(8);
    let (_, mut expected) = overwritten(&disk, true).await;
    disk.corrupt(&path("file"), 5000, 0x10).expect("corrupt");
    expected[5000] ^= 0x10;
    assert_eq!(content(disk.clone(), "file").await.as_ref(), Some(&expected));
    assert_eq!(content(disk.crash(0), "file").await.as_ref(), Some(&expected));
    assert_eq!(kind(disk.corrupt(&path("file"), 8192, 1)), Some(io::ErrorKind::InvalidInput));
    assert_eq!(kind(disk.corrupt(&path("none"), 0, 1)), Some(io::ErrorKind::NotFound));
}

#[tokio::test]
async fn handles_of_before_the_crash_are_not_valid_after_it() {
    let disk = SimDisk::new(9);
    let file = disk.create(0).await.expect("create");
    let crashed = disk.crash(0);
    assert_eq!(kind(crashed.sync(&file, None).await), Some(io::ErrorKind::InvalidInput));
}
