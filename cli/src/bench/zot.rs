//! The 18 workloads of zot's `zb`, under its names and with its meaning.
//!
//! What to know when reading their figures: layers are zeros but for their first 4 KiB, the same
//! for the whole run, so a registry stores each size once; requests per second divide by the time
//! of the whole workload with set-up and cleanup; a latency covers a whole push or pull.

use std::sync::Arc;

use super::{
    client::Problem,
    content::MIB,
    registry::Transfer,
    worker::{Pushed, Worker},
    workload::Step,
};

/// Images that a worker pushes before it reads the catalog for a given time.
const CATALOG_IMAGES: u64 = 10;

/// Shares of 1, 10 and 100 MiB, in percent.
pub type Mix = [u64; 3];

const SIZES: [u64; 3] = [MIB, 10 * MIB, 100 * MIB];
const SIZE_NAMES: [&str; 3] = ["1MB", "10MB", "100MB"];

pub const ONE: Mix = [100, 0, 0];
pub const TEN: Mix = [0, 100, 0];
pub const HUNDRED: Mix = [0, 0, 100];
pub const MOSTLY_TEN: Mix = [20, 70, 10];
pub const EVEN: Mix = [33, 33, 33];

/// The images that the catalog test pushes first.
const CATALOG_MIX: Mix = [70, 20, 10];

/// Of pulls among pulls and pushes, in percent.
const PULL_SHARE: u64 = 75;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Catalog,
    Push { mix: Mix, how: Transfer },
    Pull { mix: Mix },
    PullAndPush { mix: Mix },
    Sync { bytes: u64 },
}

impl Job {
    /// Makes the images, which zb does before it starts a clock.
    pub fn prepare(self, worker: &Worker) {
        match self {
            Self::Sync { bytes } => _ = worker.run.sample(bytes),
            Self::Catalog => SIZES.iter().for_each(|&bytes| _ = worker.run.sample(bytes)),
            Self::Push { mix, .. } | Self::Pull { mix } | Self::PullAndPush { mix } => {
                sizes(mix).for_each(|size| _ = worker.run.sample(SIZES[size]));
            }
        }
    }

    pub async fn set_up(self, worker: &mut Worker) -> Result<(), Problem> {
        match self {
            Self::Push { .. } => Ok(()),
            Self::Catalog => {
                for index in 0..worker.quota.unwrap_or(CATALOG_IMAGES) {
                    let size = draw(CATALOG_MIX, worker);
                    push(worker, SIZES[size], index, Transfer::Monolith).await?;
                }
                Ok(())
            }
            Self::Pull { mix } | Self::PullAndPush { mix } => {
                for size in sizes(mix) {
                    push(worker, SIZES[size], 0, Transfer::Monolith).await?;
                    let repo = worker.pushed.last().map(|pushed| pushed.repo.clone()).unwrap_or_default();
                    worker.pull_repos[size] = repo;
                }
                Ok(())
            }
            Self::Sync { bytes } => push_upstream(worker, bytes).await,
        }
    }

    pub async fn step(self, worker: &mut Worker, index: u64) -> Result<Step, Problem> {
        match self {
            Self::Catalog => worker.session.get_catalog().await?,
            Self::Push { mix, how } => {
                let size = draw(mix, worker);
                count_size(worker, mix, size);
                push(worker, SIZES[size], index, how).await?;
            }
            Self::Pull { mix } => {
                let size = draw(mix, worker);
                count_size(worker, mix, size);
                pull(worker, worker.pull_repos[size].clone(), SIZES[size]).await?;
            }
            Self::PullAndPush { mix } => {
                let size = draw(mix, worker);
                if worker.random.below(100) < PULL_SHARE {
                    worker.session.tally.count("Pull");
                    pull(worker, worker.pull_repos[size].clone(), SIZES[size]).await?;
                } else {
                    worker.session.tally.count("Push");
                    push(worker, SIZES[size], index, Transfer::Monolith).await?;
                }
            }
            Self::Sync { bytes } => pull(worker, worker.pull_repos[0].clone(), bytes).await?,
        }
        Ok(Step::Counted)
    }
}

/// Pushes an image with a layer of `bytes` into a repository of its own.
async fn push(worker: &mut Worker, bytes: u64, index: u64, how: Transfer) -> Result<(), Problem> {
    let run = Arc::clone(&worker.run);
    let repo = worker.fresh_repo();
    worker.push_image(repo, &format!("tag{index}"), run.sample(bytes), how).await
}

async fn push_upstream(worker: &mut Worker, bytes: u64) -> Result<(), Problem> {
    let run = Arc::clone(&worker.run);
    let image = run.sample(bytes);
    let repo = worker.fresh_repo();
    let Some(upstream) = &mut worker.upstream else {
        return Err(Problem("there is no upstream registry".to_owned()));
    };
    upstream.push_image(&repo, "tag0", image, Transfer::Monolith).await?;
    let pushed =
        || Pushed { repo: repo.clone(), manifests: vec![image.manifest.digest], blobs: image.blobs().collect() };
    worker.pushed_upstream.push(pushed());
    worker.pushed.push(pushed());
    worker.pull_repos[0] = repo;
    Ok(())
}

/// HEAD and GET of manifest, config and layer.
async fn pull(worker: &mut Worker, repo: String, bytes: u64) -> Result<(), Problem> {
    let run = Arc::clone(&worker.run);
    let image = run.sample(bytes);
    let session = &mut worker.session;
    let manifest = format!("{repo}/manifests/tag0");
    session.head(&manifest, "ttfb manifest HEAD").await?;
    session.get(&manifest, image.manifest.bytes, "ttfb manifest GET").await?;
    let config = format!("{repo}/blobs/{}", image.config.digest);
    session.head(&config, "ttfb config HEAD").await?;
    session.get(&config, image.config.bytes, "ttfb config GET").await?;
    for layer in &image.layers {
        let path = format!("{repo}/blobs/{}", layer.digest);
        session.head(&path, "ttfb layer HEAD").await?;
        session.get(&path, layer.bytes, "ttfb layer GET").await?;
    }
    Ok(())
}

/// The sizes that a mix has, as indexes.
fn sizes(mix: Mix) -> impl Iterator<Item = usize> {
    (0..mix.len()).filter(move |&size| mix[size] > 0)
}

/// One of the sizes, by chance.
fn draw(mix: Mix, worker: &mut Worker) -> usize {
    let mut point = worker.random.below(mix.iter().sum());
    sizes(mix)
        .find(|&size| {
            let hit = point < mix[size];
            point = point.saturating_sub(mix[size]);
            hit
        })
        .unwrap_or_default()
}

fn count_size(worker: &mut Worker, mix: Mix, size: usize) {
    if sizes(mix).count() > 1 {
        worker.session.tally.count(SIZE_NAMES[size]);
    }
}
