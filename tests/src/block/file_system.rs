//! The file systems that a store may lie on, and how each is made, repaired and mounted.

use std::{fmt, io, path::Path, process::Command};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Broken, Device};
use crate::process::run;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    /// `mkfs.ext4 -O ^has_journal`; `e2fsck -fy` before each mount.
    Ext4WithoutJournal,
    Xfs,
    Btrfs,
}

/// What e2fsck found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    Nothing,
    Done,
    /// It took names away that were durable: a block of a directory was torn; a name that was removed long ago has
    /// come back and stands for a directory that was made since, so that one of its two names goes; or a file was gone
    /// before the name that another one was to take from it (RocksDB's CURRENT). Without a journal no sync can
    /// prevent that.
    NamesLost,
}

impl fmt::Display for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Ext4WithoutJournal => "ext4 without a journal",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// As the kernel calls it.
    fn kind(self) -> &'static str {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4WithoutJournal => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// What a device under it must write whole or not at all. Btrfs asks for more than the others: its superblock
    /// of 4 KiB is written in place, and a torn one can only be mended by `btrfs rescue super-recover`.
    pub fn sector_bytes(self) -> usize {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4WithoutJournal | FileSystem::Xfs => 512,
            FileSystem::Btrfs => 4096,
        }
    }

    /// Everything is written when it is made, and nothing later in the background.
    fn maker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]),
            FileSystem::Ext4WithoutJournal => {
                ("mkfs.ext4", &["-q", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=0"])
            }
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-K"]),
            FileSystem::Btrfs => ("mkfs.btrfs", &["-q", "-K"]),
        }
    }

    /// Why there can't be one here.
    pub fn obstacle(self) -> Option<String> {
        let (maker, _) = self.maker();
        let has_maker = ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|path| Path::new(path).join(maker).exists());
        Device::obstacle().or_else(|| (!has_maker).then(|| format!("{maker} is missing: run scripts/setup test")))
    }

    /// Makes an empty one on a device.
    pub fn make(self, device: &Path) -> io::Result<()> {
        let (maker, arguments) = self.maker();
        let ended = run(Command::new(maker).args(arguments).arg(device));
        if ended.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("{maker}: {}{}", ended.stdout, ended.stderr)))
    }

    /// What an administrator's machine does before it mounts one after a power cut.
    pub fn repair(self, device: &Path) -> Result<Repair, Broken> {
        if self != FileSystem::Ext4WithoutJournal {
            return Ok(Repair::Nothing);
        }
        let ended = run(Command::new("e2fsck").arg("-fy").arg(device));
        let is_sign = |line: &str| {
            let is_replaced = line.starts_with("Entry 'CURRENT' in ") && line.contains("deleted/unused inode");
            is_replaced || line.contains("directory corrupted") || line.contains("is a link to directory")
        };
        let loses_names = ended.stdout.lines().any(is_sign);
        match ended.status.code() {
            Some(0) => Ok(Repair::Nothing),
            Some(1) if loses_names => Ok(Repair::NamesLost),
            Some(1) => Ok(Repair::Done),
            _ => Err(Broken(format!("e2fsck ended with {}: {}{}", ended.status, ended.stdout, ended.stderr))),
        }
    }

    /// Mounts it, with recovery if it needs that.
    pub fn mount(self, device: &Path, at: &Path, options: &str) -> Result<(), Broken> {
        let options = std::ffi::CString::new(options).expect("no zero byte");
        mount(device, at, self.kind(), MountFlags::empty(), options.as_c_str())
            .map_err(|errno| Broken(format!("{self} can't be mounted: {errno}")))
    }
}

/// Unmounts what is there. Lazily if somebody still has it open.
pub fn unmount_now(at: &Path) {
    let unmounted = unmount(at, UnmountFlags::empty()).or_else(|_| unmount(at, UnmountFlags::DETACH));
    if let Err(error) = unmounted {
        eprintln!("{} cannot be unmounted: {error}", at.display());
    }
}
