//! Orlop's own workloads: what a registry meets, measured so that the figure is the registry's.
//!
//! Every pushed blob is unique and random, so nothing is saved by deduplication or compression
//! unless the workload is about that. All contents are known by digest before the clock starts;
//! set-up and cleanup are outside it. What is pulled is checked by length.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    client::Problem,
    content::{Content, KIB, MIB},
    image::Image,
    pace::Slow,
    random::derive,
    registry::Transfer,
    worker::{Pushed, Worker},
    workload::Step,
};

const IMAGE_LAYERS: u64 = 3;
const BUILD_LAYERS: u64 = 5;
const LAYER_BYTES: u64 = MIB;

/// Of the layers of the image whose manifest is read; nobody reads the layers.
const MANIFEST_LAYER_BYTES: u64 = 4 * KIB;

/// Sent and read while both go on.
const LOADED_BLOB_BYTES: u64 = MIB;

/// Workers that pull beside any number of slow pushes.
const SLOW_PULLERS: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A unique blob.
    PushBlob {
        bytes: u64,
        how: Transfer,
    },
    /// A unique image of three layers, by tag.
    PushImage,
    /// One image into ever new repositories, mounted from where it is.
    PushMounted,
    /// One image into ever new repositories, sent again in full.
    PushAgain,
    /// A build's image: one of five layers is new; what the registry has is not sent.
    PushNewLayer,
    /// One blob, over and over, by all workers.
    PullBlob {
        bytes: u64,
    },
    GetManifest,
    HeadBlob,
    /// A unique blob at once after its push: pushed, pulled, and pulled again. The first pull counts.
    PullPushed {
        bytes: u64,
    },
    /// One blob, over and over, while every second worker pushes unique ones.
    PullUnderPush,
    /// One blob, over and over, by a few workers, while all others push slowly.
    PullUnderSlowPushes,
}

impl Job {
    /// Bytes of unique content that one request sends; none if it sends none.
    pub fn unique_bytes(self, slow: &Slow) -> Option<u64> {
        match self {
            Self::PushBlob { bytes, .. } | Self::PullPushed { bytes } => Some(bytes),
            Self::PullUnderSlowPushes => Some(slow.bytes),
            Self::PushImage => Some(IMAGE_LAYERS * LAYER_BYTES),
            Self::PushNewLayer => Some(LAYER_BYTES),
            Self::PullUnderPush => Some(LOADED_BLOB_BYTES),
            Self::PushMounted | Self::PushAgain | Self::PullBlob { .. } | Self::GetManifest | Self::HeadBlob => None,
        }
    }

    /// Of the workers that `concurrency` asks for, those that do what the number of requests is about.
    pub fn pushers(self, concurrency: u64) -> u64 {
        if self == Self::PullUnderPush { concurrency / 2 } else { concurrency }
    }

    /// Workers that are measured beside `pushers` others, if the workload has two kinds of workers.
    pub fn pullers(self, pushers: u64) -> u64 {
        match self {
            Self::PullUnderPush => pushers,
            Self::PullUnderSlowPushes => SLOW_PULLERS,
            _ => 0,
        }
    }

    /// Whether this worker makes load for the others to be measured under.
    pub fn is_pusher(self, index: u64) -> bool {
        match self {
            Self::PullUnderPush => !index.is_multiple_of(2),
            Self::PullUnderSlowPushes => index >= SLOW_PULLERS,
            _ => false,
        }
    }

    pub async fn set_up(self, worker: &mut Worker) -> Result<(), Problem> {
        let count = worker.quota.unwrap_or_default();
        match self {
            Self::PushBlob { bytes, .. } | Self::PullPushed { bytes } => {
                worker.blobs = unique_blobs(worker, bytes, count);
            }
            Self::PushImage => worker.images = unique_images(worker, count),
            Self::PushNewLayer => {
                let base = layers(derive(worker.content_seed(0), u64::MAX), BUILD_LAYERS, LAYER_BYTES);
                worker.images = (0..count).map(|index| rebuilt(worker, &base, index)).collect();
                let repo = worker.own_repo();
                worker.push_image(repo, "base", &Image::new(base), Transfer::Monolith).await?;
            }
            Self::PushMounted | Self::PushAgain => share(worker, IMAGE_LAYERS, LAYER_BYTES).await?,
            Self::PullBlob { bytes } => share(worker, 1, bytes).await?,
            Self::GetManifest | Self::HeadBlob => share(worker, IMAGE_LAYERS, MANIFEST_LAYER_BYTES).await?,
            Self::PullUnderPush | Self::PullUnderSlowPushes => {
                share(worker, 1, LOADED_BLOB_BYTES).await?;
                let bytes = self.unique_bytes(&worker.shared.slow);
                if let Some(bytes) = bytes.filter(|_| self.is_pusher(worker.index)) {
                    worker.blobs = unique_blobs(worker, bytes, count);
                }
            }
        }
        // The last, for blobs without a manifest: what is sent under the clock is added to it.
        let repo = worker.own_repo();
        worker.pushed.push(Pushed { repo, ..Pushed::default() });
        Ok(())
    }

    pub async fn step(self, worker: &mut Worker, index: u64) -> Result<Step, Problem> {
        match self {
            Self::PushBlob { how, .. } => push_blob(worker, index, how).await?,
            Self::PushImage => push_unique_image(worker, index).await?,
            Self::PushMounted => mount_image(worker).await?,
            Self::PushAgain => {
                let shared = Arc::clone(&worker.shared);
                let repo = worker.fresh_repo();
                worker.push_image(repo, "latest", hot(&shared.hot)?, Transfer::Monolith).await?;
            }
            Self::PushNewLayer => push_missing(worker, index).await?,
            Self::PullBlob { .. } => pull_hot(worker).await?,
            Self::GetManifest => {
                let bytes = hot(&worker.shared.hot)?.manifest.bytes;
                let path = format!("{}/manifests/latest", worker.shared_repo());
                worker.session.get(&path, bytes, "ttfb").await?;
            }
            Self::HeadBlob => {
                let digest = hot(&worker.shared.hot)?.layers[0].digest;
                let path = format!("{}/blobs/{digest}", worker.shared_repo());
                worker.session.head(&path, "ttfb").await?;
            }
            Self::PullPushed { .. } => return pull_pushed(worker, index).await,
            Self::PullUnderPush if self.is_pusher(worker.index) => {
                push_blob(worker, index, Transfer::Monolith).await?;
                return Ok(Step::Aside("push"));
            }
            Self::PullUnderSlowPushes if self.is_pusher(worker.index) => {
                let pace = worker.shared.slow.pace(worker.index - SLOW_PULLERS, worker.shared.pushers);
                push_blob(worker, index, Transfer::Slow(pace)).await?;
                return Ok(Step::Aside("push"));
            }
            Self::PullUnderPush | Self::PullUnderSlowPushes => {
                if worker.shared.pushers_left.load(Ordering::Acquire) == 0 {
                    return Ok(Step::Spent);
                }
                pull_hot(worker).await?;
            }
        }
        Ok(Step::Counted)
    }
}

fn unique_blobs(worker: &Worker, bytes: u64, count: u64) -> Vec<Content> {
    (0..count).map(|index| Content::random(worker.content_seed(index), bytes)).collect()
}

fn unique_images(worker: &Worker, count: u64) -> Vec<Image> {
    (0..count).map(|index| Image::new(layers(worker.content_seed(index), IMAGE_LAYERS, LAYER_BYTES))).collect()
}

/// The image of a build: that of the build before it but for its last layer.
fn rebuilt(worker: &Worker, base: &[Content], index: u64) -> Image {
    let mut layers = base.to_vec();
    if let Some(last) = layers.last_mut() {
        *last = Content::random(worker.content_seed(index), LAYER_BYTES);
    }
    Image::new(layers)
}

fn layers(seed: u64, count: u64, bytes: u64) -> Vec<Content> {
    (0..count).map(|index| Content::random(derive(seed, index), bytes)).collect()
}

/// Makes the image that all workers use; the first worker pushes it.
async fn share(worker: &mut Worker, count: u64, bytes: u64) -> Result<(), Problem> {
    let shared = Arc::clone(&worker.shared);
    let image = shared.hot.get_or_init(|| Image::new(layers(shared.seed, count, bytes)));
    if worker.index > 0 {
        return Ok(());
    }
    let repo = worker.shared_repo();
    worker.push_image(repo, "latest", image, Transfer::Monolith).await
}

fn hot(image: &std::sync::OnceLock<Image>) -> Result<&Image, Problem> {
    image.get().ok_or_else(|| Problem("the image to read was not made".to_owned()))
}

async fn push_blob(worker: &mut Worker, index: u64, how: Transfer) -> Result<(), Problem> {
    let repo = worker.own_repo();
    let content = prepared(&worker.blobs, index)?;
    worker.session.push_blob(&repo, content, how).await?;
    if let Some(pushed) = worker.pushed.last_mut() {
        pushed.blobs.push(content.digest);
    }
    Ok(())
}

async fn pull_pushed(worker: &mut Worker, index: u64) -> Result<Step, Problem> {
    let (digest, bytes) = {
        let content = prepared(&worker.blobs, index)?;
        (content.digest, content.bytes)
    };
    let path = format!("{}/blobs/{digest}", worker.own_repo());
    let start = Instant::now();
    push_blob(worker, index, Transfer::Monolith).await?;
    let pushed = Instant::now();
    worker.session.get(&path, bytes, "ttfb").await?;
    let pulled = Instant::now();
    worker.session.get(&path, bytes, "ttfb second pull").await?;
    worker.session.tally.part("push", pushed - start);
    worker.session.tally.part("second pull", pulled.elapsed());
    Ok(Step::Took(pulled - pushed))
}

async fn push_unique_image(worker: &mut Worker, index: u64) -> Result<(), Problem> {
    let repo = worker.own_repo();
    let image = prepared(&worker.images, index)?;
    worker.session.push_image(&repo, &format!("tag{index}"), image, Transfer::Monolith).await?;
    remember(&mut worker.pushed, image);
    Ok(())
}

async fn mount_image(worker: &mut Worker) -> Result<(), Problem> {
    let shared = Arc::clone(&worker.shared);
    let image = hot(&shared.hot)?;
    let (repo, from) = (worker.fresh_repo(), worker.shared_repo());
    worker.remember_image(repo.clone(), image);
    for blob in image.layers.iter().chain([&image.config]) {
        let mounted = worker.session.mount_blob(&repo, &from, blob).await?;
        worker.session.tally.count(if mounted { "blobs mounted" } else { "blobs sent, mount refused" });
    }
    worker.session.put_manifest(&repo, "latest", image).await
}

async fn push_missing(worker: &mut Worker, index: u64) -> Result<(), Problem> {
    let repo = worker.own_repo();
    let image = prepared(&worker.images, index)?;
    for blob in image.layers.iter().chain([&image.config]) {
        let there = worker.session.has_blob(&repo, &blob.digest).await?;
        worker.session.tally.count(if there { "blobs skipped" } else { "blobs sent" });
        if !there {
            worker.session.push_blob(&repo, blob, Transfer::Monolith).await?;
        }
    }
    worker.session.put_manifest(&repo, &format!("build-{index}"), image).await?;
    let pushed = worker.pushed.last_mut();
    if let (Some(pushed), Some(new)) = (pushed, image.layers.last()) {
        pushed.manifests.push(image.manifest.digest);
        pushed.blobs.extend([new.digest, image.config.digest]);
    }
    Ok(())
}

async fn pull_hot(worker: &mut Worker) -> Result<(), Problem> {
    let (digest, bytes) = {
        let layer = &hot(&worker.shared.hot)?.layers[0];
        (layer.digest, layer.bytes)
    };
    let path = format!("{}/blobs/{digest}", worker.shared_repo());
    worker.session.get(&path, bytes, "ttfb").await
}

fn prepared<T>(set: &[T], index: u64) -> Result<&T, Problem> {
    let found = usize::try_from(index).ok().and_then(|index| set.get(index));
    found.ok_or_else(|| Problem("the prepared contents are used up".to_owned()))
}

fn remember(pushed: &mut [Pushed], image: &Image) {
    if let Some(pushed) = pushed.last_mut() {
        pushed.manifests.push(image.manifest.digest);
        pushed.blobs.extend(image.blobs());
    }
}
