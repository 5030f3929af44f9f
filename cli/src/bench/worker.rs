//! One of the clients that load the registry: a connection, its prepared material, and a list of
//! what it pushed.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use super::{
    client::Problem,
    content::{Content, Digest, GIB, MIB},
    image::Image,
    pace::Slow,
    random::{Random, derive},
    registry::{Session, Transfer},
};

/// What all workloads of a run share.
pub struct Run {
    pub seed: u64,
    /// Comes before every repository's name; empty or ends with a slash.
    pub repo_prefix: String,
    /// zb's images of one sparse layer, by the layer's size; made before any clock starts.
    samples: [(u64, OnceLock<Image>); 4],
}

/// What the workers of one workload share.
pub struct Shared {
    /// Of this workload in this run.
    pub seed: u64,
    /// The image that all workers read, made by the first that needs it.
    pub hot: OnceLock<Image>,
    /// Workers that make load for the others.
    pub pushers: u64,
    /// Those of them that still do.
    pub pushers_left: AtomicU64,
    /// How uploads go that are to be slow.
    pub slow: Slow,
}

/// What was pushed into one repository and is to be deleted.
#[derive(Debug, Default)]
pub struct Pushed {
    pub repo: String,
    pub manifests: Vec<Digest>,
    pub blobs: Vec<Digest>,
}

pub struct Worker {
    pub session: Session,
    /// A session with the registry that the one under load copies from.
    pub upstream: Option<Session>,
    pub run: Arc<Run>,
    pub shared: Arc<Shared>,
    /// Number of this worker, from 0.
    pub index: u64,
    /// Requests to make; without one, as many as fit into the time.
    pub quota: Option<u64>,
    pub random: Random,
    /// Unique material, one for each request of the quota.
    pub blobs: Vec<Content>,
    pub images: Vec<Image>,
    /// Where zb's images of 1, 10 and 100 MiB are to be pulled from.
    pub pull_repos: [String; 3],
    pub pushed: Vec<Pushed>,
    pub pushed_upstream: Vec<Pushed>,
}

impl Run {
    pub fn new(seed: u64, repo: Option<&str>) -> Self {
        let repo = repo.unwrap_or_default().trim_matches('/');
        let repo_prefix = if repo.is_empty() { String::new() } else { format!("{repo}/") };
        let samples = [MIB, 10 * MIB, 100 * MIB, GIB].map(|bytes| (bytes, OnceLock::new()));
        Self { seed, repo_prefix, samples }
    }

    /// zb's image whose layer has this size: 1, 10, 100 or 1024 MiB.
    pub fn sample(&self, bytes: u64) -> &Image {
        let (_, image) = self.samples.iter().find(|(size, _)| *size == bytes).expect("a size that a workload names");
        image.get_or_init(|| Image::new(vec![Content::sparse(derive(self.seed, bytes), bytes)]))
    }
}

impl Worker {
    /// The name of a repository that no one has used.
    pub fn fresh_repo(&mut self) -> String {
        format!("{}{:016x}{:016x}", self.run.repo_prefix, self.random.number(), self.random.number())
    }

    /// The repository of this worker in this workload.
    pub fn own_repo(&self) -> String {
        format!("{}bench-{:016x}-{}", self.run.repo_prefix, self.shared.seed, self.index)
    }

    /// The repository that all workers of this workload read.
    pub fn shared_repo(&self) -> String {
        format!("{}bench-{:016x}-shared", self.run.repo_prefix, self.shared.seed)
    }

    /// A seed for the `index`th unique content of this worker.
    pub fn content_seed(&self, index: u64) -> u64 {
        derive(derive(self.shared.seed, self.index + 1), index)
    }

    /// Pushes and remembers an image for cleanup, even if it arrives only in part.
    pub async fn push_image(&mut self, repo: String, tag: &str, image: &Image, how: Transfer) -> Result<(), Problem> {
        let pushed = self.session.push_image(&repo, tag, image, how).await;
        self.remember_image(repo, image);
        pushed
    }

    pub fn remember_image(&mut self, repo: String, image: &Image) {
        self.pushed.push(Pushed { repo, manifests: vec![image.manifest.digest], blobs: image.blobs().collect() });
    }

    /// Deletes what was pushed. With `survey`, lists the tags and reads the manifests before, as zb
    /// does. Failures are counted and do not end it.
    pub async fn clean_up(&mut self, survey: bool) {
        // Later manifests may name blobs that earlier pushes brought, so the last goes first.
        for pushed in std::mem::take(&mut self.pushed).into_iter().rev() {
            clean_repo(&mut self.session, &pushed, survey).await;
        }
        if let Some(upstream) = &mut self.upstream {
            for pushed in std::mem::take(&mut self.pushed_upstream) {
                clean_repo(upstream, &pushed, survey).await;
            }
            self.session.tally.merge(&std::mem::take(&mut upstream.tally));
        }
    }
}

async fn clean_repo(session: &mut Session, pushed: &Pushed, survey: bool) {
    let Pushed { repo, manifests, blobs } = pushed;
    if survey {
        match session.tags(repo).await {
            Ok(tags) => {
                for tag in tags {
                    let read = session.get_manifest(repo, &tag).await;
                    note(session, read);
                }
            }
            Err(problem) => session.tally.fail(&problem),
        }
    }
    for digest in unique(manifests) {
        let deleted = session.delete_manifest(repo, digest).await;
        note(session, deleted);
    }
    for digest in unique(blobs) {
        let deleted = session.delete_blob(repo, digest).await;
        note(session, deleted);
    }
}

fn note(session: &mut Session, outcome: Result<(), Problem>) {
    if let Err(problem) = outcome {
        session.tally.fail(&problem);
    }
}

/// Every digest once, in order.
fn unique(digests: &[Digest]) -> impl Iterator<Item = &Digest> {
    let mut seen = HashSet::new();
    digests.iter().filter(move |digest| seen.insert(**digest))
}
