//! A mounted file system on a device of its own.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use super::{Device, FileSystem, Image, Repair, file_system::unmount_now};

/// Zeros cost nothing; a store keeps 64 MiB of it as a ballast.
const IMAGE_BYTES: u64 = 1 << 30;

/// Where it is mounted, in the test's directory.
pub(super) const MOUNTED: &str = "mounted";

/// Why a file system can't be used any more.
#[derive(Debug, Clone)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mounted file system; unmounted, and its device detached, when dropped.
pub struct Disk {
    path: PathBuf,
    pub device: Device,
    /// What had to be repaired before it could be mounted.
    pub repair: Repair,
}

impl Disk {
    /// An image with an empty file system.
    ///
    /// # Panics
    /// If it can't be made, although [`FileSystem::obstacle`] names none.
    pub fn make(file_system: FileSystem, directory: &Path) -> Image {
        let attached =
            Device::attach(&directory.join("device"), &Image::empty(IMAGE_BYTES), file_system.sector_bytes(), None);
        let device = attached.unwrap_or_else(|error| panic!("{file_system}: {error}"));
        let made: io::Result<()> = file_system.make(device.path());
        made.unwrap_or_else(|error| panic!("{error}"));
        device.image()
    }

    /// Repairs and mounts an image below `directory`, always at the same place. It records with a `clock`.
    /// Errors: what is wrong with the image.
    ///
    /// # Panics
    /// If there is no device.
    pub fn mount(
        file_system: FileSystem,
        directory: &Path,
        image: &Image,
        clock: Option<Arc<AtomicU64>>,
        options: &str,
    ) -> Result<Self, Broken> {
        let path = Self::path_in(directory);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let attached = Device::attach(&directory.join("device"), image, file_system.sector_bytes(), clock);
        let device = attached.unwrap_or_else(|error| panic!("{file_system}: {error}"));
        let repair = file_system.repair(device.path())?;
        file_system.mount(device.path(), &path, options)?;
        device.detach_when_unused();
        Ok(Disk { path, device, repair })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where one will be mounted.
    pub fn path_in(directory: &Path) -> PathBuf {
        directory.join(MOUNTED)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount_now(&self.path);
    }
}
