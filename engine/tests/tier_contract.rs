//! What every `Tier` must do, run against the local tier over each disk.

use std::sync::Arc;

use orlop_engine::{
    Algorithm, Digest,
    io::{Backend, Disk, Handle, Pool, SimDisk, open_disk},
    tier::{Listed, LocalTier, Stored, Tier},
};

/// A tier, and the disk to stage files on.
struct Subject {
    disk: Arc<dyn Disk>,
    tier: LocalTier,
    _root: Option<tempfile::TempDir>,
}

fn subjects() -> Vec<(&'static str, Subject)> {
    let over = |disk: Arc<dyn Disk>, root| Subject { tier: LocalTier::new(disk.clone()), disk, _root: root };
    let real = |backend| {
        let root = tempfile::tempdir().expect("a directory");
        let disk = open_disk(root.path(), backend).expect("the disk opens").disk;
        over(disk, Some(root))
    };
    vec![
        ("threads", real(Backend::Threads)),
        ("ring", real(Backend::Ring)),
        ("simulated", over(Arc::new(SimDisk::new(7)), None)),
    ]
}

async fn stage(subject: &Subject, content: &[u8]) -> Handle {
    let file = subject.disk.create(content.len() as u64).await.expect("created");
    let pool = Pool::new(1 << 20);
    for (at, part) in content.chunks(64 << 10).enumerate() {
        let mut buffer = pool.take(64 << 10).await;
        buffer.extend(part);
        buffer.pad_to_alignment();
        subject.disk.write(&file, buffer, (at * (64 << 10)) as u64).await.expect("written");
    }
    file
}

async fn read(subject: &Subject, digest: &Digest) -> std::io::Result<Vec<u8>> {
    let file = subject.tier.open(digest).await?;
    let pool = Pool::new(1 << 20);
    let mut content = Vec::new();
    loop {
        let buffer = pool.take(100_000).await;
        let buffer = subject.tier.read(&file, buffer, content.len() as u64, 100_000).await?;
        if buffer.filled().is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(buffer.filled());
    }
}

async fn list(subject: &Subject) -> Vec<Listed> {
    let mut all = Vec::new();
    let occupied = subject.tier.occupied().await.expect("listed");
    assert!(occupied.is_sorted() && occupied.iter().all(|shard| *shard < subject.tier.shards()), "{occupied:?}");
    for shard in 0..subject.tier.shards() {
        let listed = subject.tier.list(shard).await.expect("listed");
        assert!(listed.is_empty() || occupied.contains(&shard), "{shard} has {listed:?}");
        all.extend(listed);
    }
    all
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 300) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn placed_content_is_opened_read_and_listed_by_its_digest() {
    for (name, subject) in subjects() {
        let mut expected = Vec::new();
        for algorithm in Algorithm::ALL {
            for len in [1, 4096, 70_001, 300_000] {
                let bytes = content(len);
                let digest = Digest::of(algorithm, &bytes);
                let file = stage(&subject, &bytes).await;
                subject.tier.place(&file, len as u64, &digest).await.expect("placed");
                assert_eq!(read(&subject, &digest).await.expect("read"), bytes, "{name}: {len} bytes");
                expected.push(Stored { digest, size: len as u64 });
            }
        }
        let mut listed: Vec<Stored> = list(&subject)
            .await
            .into_iter()
            .map(|entry| match entry {
                Listed::Stored(stored) => stored,
                Listed::Foreign(path) => panic!("{name}: {path} is foreign"),
            })
            .collect();
        listed.sort_by_key(|stored| stored.digest);
        expected.sort_by_key(|stored| stored.digest);
        assert_eq!(listed, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_placed_is_not_found_and_removing_it_is_no_error() {
    for (name, subject) in subjects() {
        let digest = Digest::of(Algorithm::Sha256, b"absent");
        let opened = subject.tier.open(&digest).await;
        assert!(opened.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound), "{name}");
        subject.tier.remove(&digest).await.expect("nothing to remove");
        assert!(list(&subject).await.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_content_stays_readable_for_those_who_have_it_open() {
    for (name, subject) in subjects() {
        let bytes = content(100_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let file = stage(&subject, &bytes).await;
        subject.tier.place(&file, 100_000, &digest).await.expect("placed");
        let open = subject.tier.open(&digest).await.expect("opened");
        subject.tier.remove(&digest).await.expect("removed");
        assert!(read(&subject, &digest).await.is_err(), "{name}: its name is gone");
        let buffer = Pool::new(1 << 20).take(100_000).await;
        let buffer = subject.tier.read(&open, buffer, 0, 100_000).await.expect("still open");
        assert_eq!(buffer.filled(), bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn placing_again_replaces_what_is_there() {
    for (name, subject) in subjects() {
        let bytes = content(50_000);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        // As if damage had been found: other bytes lie under the digest.
        let wrong = stage(&subject, &content(40_000)).await;
        subject.tier.place(&wrong, 40_000, &digest).await.expect("placed");
        let right = stage(&subject, &bytes).await;
        subject.tier.place(&right, 50_000, &digest).await.expect("replaced");
        assert_eq!(read(&subject, &digest).await.expect("read"), bytes, "{name}");
        assert_eq!(list(&subject).await, [Listed::Stored(Stored { digest, size: 50_000 })], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn placed_content_survives_every_crash() {
    let disk = SimDisk::new(3);
    let tier = LocalTier::new(Arc::new(disk.clone()));
    let subject = Subject { disk: Arc::new(disk.clone()), tier, _root: None };
    let bytes = content(200_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let file = stage(&subject, &bytes).await;
    subject.tier.place(&file, 200_000, &digest).await.expect("placed");
    for seed in 0..50 {
        let disk: Arc<dyn Disk> = Arc::new(disk.crash(seed));
        let after = Subject { tier: LocalTier::new(disk.clone()), disk, _root: None };
        assert_eq!(read(&after, &digest).await.expect("it was durable"), bytes, "crash {seed}");
    }
}
