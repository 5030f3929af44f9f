//! A directory for one input, in memory where the system has such a place.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Gone with everything in it when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let memory = Path::new(MEMORY);
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let path = parent.join(format!("orlop-fuzz-{}-{}", process::id(), NUMBER.fetch_add(1, Relaxed)));
        fs::create_dir(&path).expect("a scratch directory can be made");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
