//! Every promise is kept by every image that a power cut may leave, on each file system.
//!
//! `ORLOP_BLOCK_IMAGES` sets how many images of each file system are judged; a few are part of `make test`,
//! `make crash` has a thousand of all four. A failure keeps its image, and `ORLOP_BLOCK_REPLAY` judges it again.

use std::{env, path::Path};

use orlop_tests::{
    block::{FileSystem, Player},
    rig::{number, seed},
    stream::Random,
    verify::Line,
};

use crate::rig::{Rig, moments};

const IMAGES_DEFAULT: u64 = 4;

/// Flushes of one recording.
const FLUSHES: u64 = 60;

/// Recordings between two empty file systems: each begins with an image of the one before.
const ROUNDS_MAX: u64 = 4;

async fn judge_images(file_system: FileSystem) {
    let Some(mut rig) = Rig::new("block", file_system, "") else { return };
    if let Some(kept) = env::var_os("ORLOP_BLOCK_REPLAY") {
        let replayed = rig.replay(Path::new(&kept)).await;
        replayed.unwrap_or_else(|broken| panic!("{broken}"));
        rig.end();
        return;
    }
    let wanted = number("ORLOP_BLOCK_IMAGES", IMAGES_DEFAULT);
    let mut random = Random(seed());
    let empty = rig.empty();
    let (mut base, mut lines) = (empty.clone(), Vec::<Line>::new());
    while rig.report.images < wanted {
        if rig.report.rounds.is_multiple_of(ROUNDS_MAX) {
            (base, lines) = (empty.clone(), Vec::new());
        }
        let work = rig.work(&base, &lines, FLUSHES).await.unwrap_or_else(|broken| panic!("{file_system}: {broken}"));
        let moments = moments(&work, (wanted - rig.report.images) as usize, &mut random);
        let judged = rig.judge_all(&work, &moments).await;
        judged.unwrap_or_else(|broken| panic!("{broken}"));
        // On from what one of them left, with recovery recorded as well.
        let last = work.recording.between_flushes(work.recording.durable_at(work.recording.entries.len()), &mut random);
        base = Player::new(&work.recording).image(&last);
        lines = work.promised(&last);
    }
    eprintln!("rig block, {file_system}, seed {}\n{}", seed(), rig.end());
}

#[tokio::test(flavor = "multi_thread")]
async fn ext4_keeps_what_was_acknowledged() {
    judge_images(FileSystem::Ext4).await;
}

/// Only what was synced is promised, and `e2fsck -fy` has to come first.
#[tokio::test(flavor = "multi_thread")]
async fn ext4_without_a_journal_keeps_what_was_acknowledged() {
    judge_images(FileSystem::Ext4WithoutJournal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xfs_keeps_what_was_acknowledged() {
    judge_images(FileSystem::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn btrfs_keeps_what_was_acknowledged() {
    judge_images(FileSystem::Btrfs).await;
}
