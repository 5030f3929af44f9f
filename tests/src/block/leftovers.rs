//! What a run that was killed could not take away itself.

use std::{fs, path::Path, process::id};

use super::{disk::MOUNTED, file_system::unmount_now};

const NAME: &str = "orlop-block-";

/// The name of this process's mounts.
pub fn name() -> String {
    format!("{NAME}{}", id())
}

/// Unmounts what belongs to processes that are gone; their loop devices go with the last mount.
pub fn remove() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut parts = line.split(' ');
        let (Some(device), Some(path)) = (parts.next(), parts.next()) else { continue };
        let Some(process) = device.strip_prefix(NAME) else { continue };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        let path = Path::new(path);
        // The file system on the device is first, if it was mounted.
        let above = path.with_file_name(MOUNTED);
        if mounts.lines().any(|line| line.split(' ').nth(1) == above.to_str()) {
            unmount_now(&above);
        }
        unmount_now(path);
    }
}
