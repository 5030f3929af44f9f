//! The negative controls: a rig that can't fail proves nothing.

use orlop_tests::{
    block::{FileSystem, Left, Moment, Player},
    rig::seed,
    stream::Random,
};

use crate::rig::{Rig, Work};

const FLUSHES: u64 = 40;

/// Images after which it must have been noticed.
const IMAGES_MAX: u64 = 60;

/// Judges images that `choose` makes, until one is wrong.
async fn assert_noticed(
    what: &str,
    file_system: FileSystem,
    options: &'static str,
    choose: impl Fn(&Work, &mut Random) -> Moment,
) {
    let Some(mut rig) = Rig::new(what, file_system, options) else { return };
    let base = rig.empty();
    let work = rig.work(&base, &[], FLUSHES).await.unwrap_or_else(|broken| panic!("{file_system}: {broken}"));
    let mut random = Random(seed());
    for number in 1..=IMAGES_MAX {
        let moment = choose(&work, &mut random);
        let image = Player::new(&work.recording).image(&moment);
        if let Err(noticed) = rig.judge(&image, &work.promised(&moment)).await {
            eprintln!("{what}, {file_system}: noticed by image {number}: {noticed:.160}");
            rig.end();
            return;
        }
    }
    panic!("{what}, {file_system}: not noticed by {IMAGES_MAX} images");
}

/// A device that answers two flushes without doing anything, just once: about half of the requests that they
/// were to keep are lost.
async fn assert_lies_are_noticed(file_system: FileSystem) {
    const IGNORED: usize = 2;
    assert_noticed("a device that ignores two flushes", file_system, "", |work, random| {
        let flushed = work.recording.flushed();
        // After the first promises, and before the last.
        let part = flushed.len() / 2;
        let ignored = part + random.below((part - IGNORED - 1) as u64) as usize;
        let until = flushed[ignored + IGNORED] - 1;
        Moment { durable: flushed[ignored - 1], until, left: Left::Entries, seed: random.next() }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_flushes_are_noticed_on_ext4() {
    assert_lies_are_noticed(FileSystem::Ext4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_flushes_are_noticed_on_ext4_without_a_journal() {
    assert_lies_are_noticed(FileSystem::Ext4WithoutJournal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_flushes_are_noticed_on_xfs() {
    assert_lies_are_noticed(FileSystem::Xfs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_flushes_are_noticed_on_btrfs() {
    assert_lies_are_noticed(FileSystem::Btrfs).await;
}

/// A file system that sends no flushes: all that the recording says to be durable is what was so before.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_without_barriers_is_noticed() {
    assert_noticed("no barriers", FileSystem::Ext4, "nobarrier", |work, random| {
        let until = work.recording.entries.len();
        let durable = work.recording.durable_at(until);
        Moment { durable, until, left: Left::Entries, seed: random.next() }
    })
    .await;
}
