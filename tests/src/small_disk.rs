//! A small file system of its own, to be filled to the last byte.
//!
//! ext4 in a file, mounted through a loop device; where that is not allowed, a tmpfs. Both need root.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::statvfs;

use crate::process::run;

/// Written at once by the filler, and at the end one byte at a time what is left of it.
const STEP_BYTES: usize = 1 << 20;

/// What it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 over a loop device.
    Ext4,
    Tmpfs,
}

/// A mounted file system; unmounted when dropped.
pub struct SmallDisk {
    path: PathBuf,
    pub kind: Kind,
}

impl SmallDisk {
    /// Mounts one with so many bytes below `directory`.
    /// Errors: neither kind can be mounted here, with what the tools said.
    pub fn mount(directory: &Path, bytes: u64) -> io::Result<Self> {
        let (image, path) = (directory.join("disk.img"), directory.join("disk"));
        fs::create_dir_all(&path)?;
        fs::File::create(&image)?.set_len(bytes)?;
        // Nothing is kept for root, so that full means full.
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        let mounted = run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path));
        if made.status.success() && mounted.status.success() {
            return Ok(SmallDisk { path, kind: Kind::Ext4 });
        }
        let size = format!("size={bytes}");
        let tmpfs = run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path));
        if tmpfs.status.success() {
            return Ok(SmallDisk { path, kind: Kind::Tmpfs });
        }
        Err(io::Error::other(format!("no small disk: {}{}{}", made.stderr, mounted.stderr, tmpfs.stderr)))
    }

    /// Whether one can be mounted here.
    pub fn is_possible() -> bool {
        rustix::process::geteuid().is_root()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are free.
    ///
    /// # Panics
    /// If the file system can't be asked.
    pub fn free_bytes(&self) -> u64 {
        let stat = statvfs(&self.path).expect("a mounted file system can be asked");
        stat.f_bavail * stat.f_frsize
    }

    /// Takes room until only so many bytes are left, beside whatever else takes some.
    ///
    /// # Panics
    /// If anything but the lack of room stands against it.
    pub fn fill(&self, left: u64) {
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).create(true).open(self.filler()).expect("a file can be made");
        let mut step = STEP_BYTES;
        while step > 0 {
            let excess = usize::try_from(self.free_bytes().saturating_sub(left)).unwrap_or(usize::MAX);
            if excess == 0 && left > 0 {
                return;
            }
            // On a full disk it tries until not one byte goes in.
            let wanted = step.min(excess.max(1));
            match file.write_all(&vec![0x5a; wanted]) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) => step /= 16,
                Err(error) => panic!("filling {}: {error}", self.path.display()),
            }
        }
    }

    /// Gives all of that back.
    ///
    /// # Panics
    /// If it can't.
    pub fn empty(&self) {
        fs::remove_file(self.filler()).expect("the filler can be removed");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still hold it.
        let _ = run(Command::new("umount").arg("-l").arg(&self.path));
    }
}
