//! A registry on such a disk.

use std::{path::PathBuf, sync::Arc};

use orlop_tests::{
    Options, Registry,
    disk::temporary_directory,
    faults::FaultDisk,
    rig,
    verify::{Journal, World},
};
use tempfile::TempDir;

/// A disk in a directory of its own. `None`, with a line that says so, where there can't be one.
pub fn mounted(rig: &str) -> Option<(FaultDisk, TempDir)> {
    if let Some(obstacle) = FaultDisk::obstacle() {
        eprintln!("rig {rig}: not run, a file system of the test's own can't be mounted: {obstacle}");
        return None;
    }
    let directory = temporary_directory();
    let disk = FaultDisk::mount(&directory.path().join("disk")).unwrap_or_else(|error| panic!("{error}"));
    Some((disk, directory))
}

/// A registry whose store is on the disk, with collection back to back.
pub async fn registry(disk: &FaultDisk) -> Registry {
    let parent: Option<PathBuf> = Some(disk.path().to_owned());
    Registry::start(Options { config: Some(rig::config("1h")), parent, ..Options::default() }).await
}

/// The journal of the clients, on another disk.
pub fn journal(registry: &Registry) -> Arc<Journal> {
    Arc::new(Journal::open(&registry.scratch("client").join("journal")).expect("the journal can be made"))
}

/// Fails if the store did something that no store may do.
pub fn assert_rules(disk: &FaultDisk, world: &World) {
    let broken = disk.broken_rules();
    assert_eq!(broken, Vec::<String>::new(), "ORLOP_RIG_SEED={} rig={}: rules", world.seed, world.rig);
}
