//! CI traffic in miniature, with collections back to back and no delay for garbage: only the leases
//! of pushes, mounts and HEADs stand between a client and the collector.
//!
//! `ORLOP_SOAK_SECONDS` sets how long; a short run is part of `make test`, `make soak` a long one.

use std::{
    env, fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use orlop_tests::{
    Answer, Kept, Options, Registry,
    collection::settled,
    disk,
    http::{Failure, full, request_with},
    repository::{IMAGE_INDEX, IMAGE_MANIFEST, Manifest, image_config, with_query},
    stream::{Random, bytes, sha256},
};
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: u64 = 16;
const SECONDS_DEFAULT: u64 = 6;

/// How long the registry is told to keep its word. A machine that takes longer from the first blob
/// to the manifest proves nothing either way; such pushes are counted apart.
const LEASE: Duration = Duration::from_secs(4);

/// The longest pause of a client between its blobs and its manifest.
const PAUSE_MS_MAX: u64 = 500;

/// Blobs that all clients share: inline ones and files.
const BLOBS: u64 = 24;

/// Repositories that all clients share.
const REPOSITORIES: u64 = 3;

fn blob(number: u64) -> Bytes {
    bytes(number, if number.is_multiple_of(3) { 100_000 + number as usize * 4_000 } else { 900 + number as usize })
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    images: u64,
    pushes: u64,
    mounts: u64,
    /// HEADs that said that a push can be skipped.
    skips: u64,
    pulls: u64,
    deletes: u64,
    late: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.images += other.images;
        self.pushes += other.pushes;
        self.mounts += other.mounts;
        self.skips += other.skips;
        self.pulls += other.pulls;
        self.deletes += other.deletes;
        self.late += other.late;
    }
}

/// What went wrong, for the report of the test.
struct Broken(String);

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Broken(format!("no answer: {failure}"))
    }
}

fn expect(answer: Answer, status: u16, what: impl fmt::Display) -> Result<Answer, Broken> {
    if answer.status.as_u16() == status { Ok(answer) } else { Err(Broken(format!("{what}: {answer:?}"))) }
}

struct Client {
    number: u64,
    random: Random,
    connection: Kept,
    tally: Tally,
    contents: Arc<Vec<(String, Bytes)>>,
    /// When it was first told that something of its image is there.
    told: Instant,
}

/// What a client pushed and pulls again.
struct Image {
    repository: String,
    tag: String,
    /// Everything by path, with its bytes.
    parts: Vec<(String, Bytes)>,
    /// Manifests by digest, in the order in which they can be deleted.
    manifests: Vec<String>,
}

impl Client {
    async fn run(mut self, until: Instant) -> Result<Tally, Broken> {
        while Instant::now() < until {
            self.told = Instant::now();
            match self.image().await {
                Ok(image) => {
                    self.tally.images += 1;
                    self.pull(&image).await?;
                    self.delete(&image).await?;
                }
                Err(_) if self.told.elapsed() > LEASE => self.tally.late += 1,
                Err(broken) => return Err(broken),
            }
            self.churn().await?;
        }
        Ok(self.tally)
    }

    /// Pushes an image, or an index over two, with a note that refers to it.
    async fn image(&mut self) -> Result<Image, Broken> {
        let repository = format!("shared/{}", self.random.below(REPOSITORIES));
        let tag = format!("client-{}", self.number);
        let mut image = Image { repository, tag, parts: Vec::new(), manifests: Vec::new() };
        let is_index = self.random.below(3) == 0;
        let mut children = Vec::new();
        for _ in 0..if is_index { 2 } else { 1 } {
            let config = image_config(&format!("{} {}", self.number, self.random.next()));
            let config_digest = sha256(&config);
            self.push(&image.repository, &config_digest, config.clone()).await?;
            let mut layers = Vec::new();
            for _ in 0..3 {
                let (digest, content) = self.contents[self.random.below(BLOBS) as usize].clone();
                self.provide(&image.repository, &digest, content.clone()).await?;
                image.parts.push((format!("/v2/{}/blobs/{digest}", image.repository), content.clone()));
                layers.push(content);
            }
            let layers: Vec<&[u8]> = layers.iter().map(|layer| &layer[..]).collect();
            children.push(Manifest::image(&config, &layers, &json!({})));
            image.parts.push((format!("/v2/{}/blobs/{config_digest}", image.repository), config));
        }
        let pause = Duration::from_millis(self.random.below(PAUSE_MS_MAX));
        tokio::time::sleep(pause).await;
        self.name(&mut image, children, is_index).await?;
        Ok(image)
    }

    async fn name(&mut self, image: &mut Image, children: Vec<Manifest>, is_index: bool) -> Result<(), Broken> {
        let tag = image.tag.clone();
        let top = if is_index {
            for child in &children {
                self.put(image, &child.digest.clone(), IMAGE_MANIFEST, child).await?;
            }
            let index = Manifest::index(&children.iter().collect::<Vec<_>>(), &json!({}));
            self.put(image, &tag, IMAGE_INDEX, &index).await?;
            index
        } else {
            self.put(image, &tag, IMAGE_MANIFEST, &children[0]).await?;
            children[0].clone()
        };
        image.parts.push((format!("/v2/{}/manifests/{tag}", image.repository), top.bytes.clone()));
        if self.random.below(4) == 0 {
            let config = self.contents[1].1.clone();
            let media_type = if is_index { IMAGE_INDEX } else { IMAGE_MANIFEST };
            self.provide(&image.repository, &sha256(&config), config.clone()).await?;
            let subject = json!({ "subject": top.descriptor(media_type) });
            let note = Manifest::image(&config, &[], &subject);
            self.put(image, &note.digest.clone(), IMAGE_MANIFEST, &note).await?;
        }
        Ok(())
    }

    async fn put(&mut self, image: &mut Image, at: &str, media_type: &str, manifest: &Manifest) -> Result<(), Broken> {
        let path = format!("/v2/{}/manifests/{at}", image.repository);
        let request = request_with(Method::PUT, &path, ("content-type", media_type), full(manifest.bytes.clone()));
        expect(self.connection.send(request).await?, 201, format!("PUT {path}"))?;
        image.parts.push((format!("/v2/{}/manifests/{}", image.repository, manifest.digest), manifest.bytes.clone()));
        image.manifests.insert(0, manifest.digest.clone());
        Ok(())
    }

    /// Makes sure that a blob is there, in one of the ways clients do.
    async fn provide(&mut self, repository: &str, digest: &str, content: Bytes) -> Result<(), Broken> {
        match self.random.below(3) {
            0 => self.push(repository, digest, content).await,
            1 => {
                let path = format!("/v2/{repository}/blobs/{digest}");
                let answer = self.connection.call(Method::HEAD, &path, "").await?;
                if answer.status == 200 {
                    self.tally.skips += 1;
                    return Ok(());
                }
                expect(answer, 404, format!("HEAD {path}"))?;
                self.push(repository, digest, content).await
            }
            _ => {
                let from = format!("shared/{}", self.random.below(REPOSITORIES));
                let path = format!("/v2/{repository}/blobs/uploads/?mount={digest}&from={from}");
                let answer = self.connection.call(Method::POST, &path, "").await?;
                if answer.status == 201 {
                    self.tally.mounts += 1;
                    return Ok(());
                }
                let session = expect(answer, 202, format!("POST {path}"))?.location();
                self.finish(&session, digest, content).await
            }
        }
    }

    async fn push(&mut self, repository: &str, digest: &str, content: Bytes) -> Result<(), Broken> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let session = expect(self.connection.call(Method::POST, &path, "").await?, 202, &path)?.location();
        self.finish(&session, digest, content).await
    }

    async fn finish(&mut self, session: &str, digest: &str, content: Bytes) -> Result<(), Broken> {
        let path = with_query(session, &format!("digest={digest}"));
        expect(self.connection.call(Method::PUT, &path, content).await?, 201, format!("PUT {path}"))?;
        self.tally.pushes += 1;
        Ok(())
    }

    /// Everything of a tagged image is there, byte for byte.
    async fn pull(&mut self, image: &Image) -> Result<(), Broken> {
        for (path, content) in &image.parts {
            let answer = expect(self.connection.call(Method::GET, path, "").await?, 200, format!("GET {path}"))?;
            if answer.body != content {
                return Err(Broken(format!("GET {path}: wrong bytes")));
            }
            self.tally.pulls += 1;
        }
        Ok(())
    }

    /// Deletes the tag only, or everything by digest; a note goes in both cases.
    async fn delete(&mut self, image: &Image) -> Result<(), Broken> {
        let Image { repository, tag, manifests, .. } = image;
        let mut references = vec![tag.as_str()];
        references.extend(manifests.iter().map(String::as_str));
        for reference in references {
            let path = format!("/v2/{repository}/manifests/{reference}");
            let answer = self.connection.call(Method::DELETE, &path, "").await?;
            // Without its tag, the collector may be there first.
            if answer.status != 404 || reference == tag {
                expect(answer, 202, format!("DELETE {path}"))?;
            }
            self.tally.deletes += 1;
        }
        Ok(())
    }

    /// Pushes shared content to a repository of its own and deletes it there at once: what others
    /// hold of it must not notice.
    async fn churn(&mut self) -> Result<(), Broken> {
        let repository = format!("own/{}", self.number);
        let (digest, content) = self.contents[self.random.below(BLOBS) as usize].clone();
        let told = Instant::now();
        self.push(&repository, &digest, content.clone()).await?;
        let path = format!("/v2/{repository}/blobs/{digest}");
        let answer = self.connection.call(Method::GET, &path, "").await?;
        if told.elapsed() > LEASE {
            self.tally.late += 1;
            return Ok(());
        }
        if expect(answer, 200, format!("GET {path}"))?.body != content {
            return Err(Broken(format!("GET {path}: wrong bytes")));
        }
        expect(self.connection.call(Method::DELETE, &path, "").await?, 202, format!("DELETE {path}"))?;
        self.tally.deletes += 1;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_back_to_back_lose_nothing_and_leave_nothing() {
    let seconds = env::var("ORLOP_SOAK_SECONDS").ok().map(|text| text.parse().expect("ORLOP_SOAK_SECONDS is a number"));
    let lease = format!("{}s", LEASE.as_secs());
    let config = json!({ "storage": { "gcDelay": "0s", "gcInterval": "1ms", "gcLease": lease } });
    let mut registry = Registry::start(Options { config: Some(config), ..Options::default() }).await;
    let contents = Arc::new((0..BLOBS).map(|number| (sha256(&blob(number)), blob(number))).collect::<Vec<_>>());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS_DEFAULT));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            number,
            random: Random(number),
            connection: Kept::new(registry.address()),
            tally: Tally::default(),
            contents: contents.clone(),
            told: Instant::now(),
        };
        clients.spawn(client.run(until));
    }
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    while let Some(client) = clients.join_next().await {
        match client.expect("no client panics") {
            Ok(own) => tally.add(own),
            Err(Broken(what)) => failures.push(what),
        }
    }
    assert!(failures.is_empty(), "{} clients failed: {}", failures.len(), failures.join("\n"));
    let status = settled(&registry).await;
    let runs = status["runs"].as_u64().expect("a number");
    eprintln!("{tally:?}, failures 0, {runs} collections");
    assert!(tally.skips > 0 && tally.mounts > 0 && runs > 10, "the soak was one: {tally:?}, {runs} runs");

    registry.stop();
    assert_eq!(disk::files(&registry.root().join("blobs")), [], "no file is left");
    let checked = registry.check();
    assert!(checked.stdout.contains("0 blobs (0 bytes), 0 members, 0 names, 0 edges"), "{}", checked.stdout);
    registry.finish();
}
