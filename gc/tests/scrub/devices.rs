//! Devices that fail for a moment, in one place, or altogether.

use std::{
    io,
    sync::{Arc, Mutex},
};

use orlop_engine::{
    Digest, Engine,
    damage::Flaw,
    io::{Buffer, Disk, Entry, Handle, Linked, Op, SimDisk, StorePath},
};
use orlop_gc::{Flow, PassReport, ScrubOptions, scrub};

use crate::{common::*, places::*};

/// A disk on which some names cannot be opened.
struct Sick {
    disk: SimDisk,
    /// Which paths begin like this.
    sick: Mutex<Option<String>>,
}

impl Sick {
    fn sicken(&self, path: Option<&StorePath>) {
        *self.sick.lock().expect("no panic") = path.map(|path| path.as_str().to_owned());
    }
}

struct SickDisk(Arc<Sick>);

impl Disk for SickDisk {
    fn create(&self, reserve: u64) -> Op<Handle> {
        self.0.disk.create(reserve)
    }
    fn open(&self, path: &StorePath, write: bool) -> Op<Handle> {
        let sick = self.0.sick.lock().expect("no panic").clone();
        match sick {
            Some(sick) if path.as_str().starts_with(&sick) => {
                Box::pin(async { Err(io::Error::from_raw_os_error(libc::EIO)) })
            }
            _ => self.0.disk.open(path, write),
        }
    }
    fn write(&self, file: &Handle, buffer: Buffer, offset: u64) -> Op<Buffer> {
        self.0.disk.write(file, buffer, offset)
    }
    fn read(&self, file: &Handle, buffer: Buffer, offset: u64, len: usize) -> Op<Buffer> {
        self.0.disk.read(file, buffer, offset, len)
    }
    fn sync(&self, file: &Handle, len: Option<u64>) -> Op<()> {
        self.0.disk.sync(file, len)
    }
    fn link(&self, file: &Handle, path: &StorePath) -> Op<Linked> {
        self.0.disk.link(file, path)
    }
    fn unlink(&self, path: &StorePath) -> Op<()> {
        self.0.disk.unlink(path)
    }
    fn list(&self, path: &StorePath) -> Op<Vec<Entry>> {
        self.0.disk.list(path)
    }
}

/// A store of so many files on a disk that can become sick.
async fn store(files: u64) -> (Engine, Arc<Sick>, Vec<Digest>) {
    let parts = Parts::new(3);
    let sick = Arc::new(Sick { disk: parts.disk.clone(), sick: Mutex::new(None) });
    let disk = Arc::new(SickDisk(sick.clone()));
    let engine = Engine::simulated(disk, parts.index.clone(), parts.options.clone()).await.expect("opens");
    let mut digests = Vec::new();
    for number in 0..files {
        let digest = push(&engine, &namespace("app"), &content(2 * number + 1)).await.expect("pushed");
        digests.push(digest);
    }
    digests.sort();
    (engine, sick, digests)
}

#[tokio::test]
async fn what_the_device_does_not_give_twice_is_damage_until_it_does() {
    let (engine, sick, digests) = store(20).await;
    let ns = namespace("app");
    for digest in [digests[0], digests[7]] {
        sick.sicken(Some(&file_of(&digest)));
        let report = pass(&engine).await;
        assert_eq!((report.damaged, report.skipped), (1, 0));
        assert_eq!(listed(&engine).await[&digest].flaw, Flaw::Unreadable);
        assert!(is_missing(&engine, &ns, &digest).await);
        sick.sicken(None);
        assert_eq!(pass(&engine).await.recovered, 1);
        assert!(!is_missing(&engine, &ns, &digest).await);
    }
}

#[tokio::test]
async fn a_device_that_is_gone_is_not_taken_for_damage_of_everything() {
    let (engine, sick, digests) = store(40).await;
    let ns = namespace("app");
    sick.sicken(Some(&StorePath::root().join("blobs")));
    let mut on = |_: &PassReport| Flow::Continue(());
    let error = scrub(&engine, &ScrubOptions::default(), false, &mut on).await.expect_err("nothing can be read");
    assert!(error.to_string().contains("device"), "{error}");
    assert!(listed(&engine).await.is_empty());
    sick.sicken(None);
    for digest in &digests {
        assert!(!is_missing(&engine, &ns, digest).await);
    }
    let report = scrub(&engine, &ScrubOptions::default(), true, &mut on).await.expect("the device is back");
    assert_eq!((report.damaged, report.blobs), (0, 40));
}

/// One failed operation, whichever it is, is no damage.
#[tokio::test]
async fn an_error_that_passes_is_not_taken_for_damage() {
    let parts = Parts::new(4);
    let engine = parts.open().await;
    let ns = namespace("app");
    for number in 0..6 {
        push(&engine, &ns, &content(number)).await.expect("pushed");
    }
    let before = parts.disk.operations();
    pass(&engine).await;
    let operations = parts.disk.operations() - before;
    assert!(operations >= 6, "each file was opened and read");
    for errno in [libc::EIO, libc::ENOMEM, libc::ENOENT] {
        for at in 0..operations {
            parts.disk.fail_at(parts.disk.operations() + at, errno);
            let report = pass(&engine).await;
            assert_eq!(report.damaged, 0, "errno {errno} at operation {at}");
            assert_eq!(report.blobs, 6);
            // EIO says something about the device, so it is looked at again at once.
            let may_skip = errno != libc::EIO;
            assert!(report.skipped == 0 || may_skip, "errno {errno} at operation {at}: {report}");
        }
    }
    assert!(listed(&engine).await.is_empty());
    assert_eq!(engine.statistics().blobs_damaged, 0);
}
