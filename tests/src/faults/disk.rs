//! A mounted file system and the hand on its power switch.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use super::{
    Class, Fault, Kind, Left, Operation,
    serve::{Gate, Shared, State, serve},
    tree::Tree,
    wire::TRANSFER_BYTES_MAX,
};
use crate::stream::Random;

/// A disk at rest, to begin from again and again. A copy shares all bytes.
#[derive(Clone)]
pub struct Image(Tree);

/// A mounted file system; unmounted when dropped.
pub struct FaultDisk {
    path: PathBuf,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    is_mounted: bool,
}

impl FaultDisk {
    /// Mounts an empty one on the directory `path`, which is made if it is not there.
    /// Errors: /dev/fuse cannot be opened or mounted by this process, with what to do.
    pub fn mount(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let mut disk =
            FaultDisk { path: path.to_owned(), shared: Arc::default(), threads: Vec::new(), is_mounted: false };
        disk.mount_tree(Tree::default())?;
        Ok(disk)
    }

    /// Why it cannot be mounted here, if it cannot.
    pub fn obstacle() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("only root can mount it".to_owned());
        }
        open_device().err().map(|error| error.to_string())
    }

    fn mount_tree(&mut self, tree: Tree) -> io::Result<()> {
        let device = mount_device("orlop-faults", &self.path)?;
        *self.shared.lock() = State::begin(tree);
        self.threads = serve(device, &self.shared);
        self.is_mounted = true;
        Ok(())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cuts the power before the `changes`-th change from now, counted from 1.
    pub fn cut_after(&self, changes: u64) {
        let mut state = self.shared.lock();
        state.cut_at = Some(state.changes + changes);
    }

    /// The power is not to be cut any more, if it was not yet.
    pub fn cancel_cut(&self) {
        self.shared.lock().cut_at = None;
    }

    pub fn gate(&self) -> Gate {
        Gate(self.shared.clone())
    }

    /// The operation that the power was cut before.
    pub fn cut(&self) -> Option<Operation> {
        self.shared.lock().cut.clone()
    }

    /// Changes since it was mounted.
    pub fn changes(&self) -> u64 {
        self.shared.lock().changes
    }

    /// From now on one operation goes wrong, or none.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.lock().set_fault(fault);
    }

    /// The first operation that met the fault.
    pub fn hit(&self) -> Option<Operation> {
        self.shared.lock().hit.clone()
    }

    /// Operations since the fault was set that could have met it.
    pub fn seen(&self) -> u64 {
        self.shared.lock().plan.seen()
    }

    /// Answers these syncs from now on without doing anything, until the power is cut.
    pub fn ignore(&self, ignored: Option<(Kind, Class)>) {
        self.shared.lock().ignored = ignored;
    }

    /// Rules that were broken since it was mounted.
    pub fn broken_rules(&self) -> Vec<String> {
        self.shared.lock().broken.clone()
    }

    /// The latest operations, the last one first.
    pub fn recent(&self) -> Vec<String> {
        self.shared.lock().recent.iter().map(Operation::to_string).collect()
    }

    /// How often each operation was done since it was mounted.
    pub fn counts(&self) -> BTreeMap<(Kind, Class), u64> {
        self.shared.lock().counts.clone()
    }

    /// Takes the device away: whoever waits for it gets an error. A killed process can only end then.
    ///
    /// # Panics
    /// If a thread of it panicked, or it cannot be unmounted.
    pub fn detach(&mut self) {
        if !self.is_mounted {
            return;
        }
        self.shared.end();
        // By force, which ends all that waits; lazily, because the process may not be gone yet.
        unmount(&self.path, UnmountFlags::FORCE | UnmountFlags::DETACH).expect("what was mounted can be unmounted");
        self.is_mounted = false;
        for thread in self.threads.drain(..) {
            thread.join().expect("no thread of the file system panics");
        }
    }

    /// Power again: mounts what is left. Whoever used it must be gone.
    ///
    /// # Panics
    /// If it can't be mounted any more.
    pub fn lose_power(&mut self, left: Left, random: &mut Random) {
        self.detach();
        let tree = self.shared.lock().tree.after_power_loss(left, random);
        self.mount_tree(tree).expect("what was mounted once can be mounted again");
    }

    /// All of it as it is now, as if it had been synced.
    pub fn image(&self) -> Image {
        Image(self.shared.lock().tree.settled())
    }

    /// Mounts an image instead. Whoever used it must be gone.
    ///
    /// # Panics
    /// If it can't be mounted any more.
    pub fn restore(&mut self, image: &Image) {
        self.detach();
        self.mount_tree(image.0.clone()).expect("what was mounted once can be mounted again");
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        self.detach();
    }
}

/// Mounts a file system on a directory; what reads from the descriptor is to serve it.
pub(crate) fn mount_device(name: &str, path: &Path) -> io::Result<OwnedFd> {
    let device = open_device()?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read={TRANSFER_BYTES_MAX}",
        device.as_raw_fd()
    );
    let options = CString::new(options).expect("no zero byte");
    mount(name, path, "fuse", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())?;
    Ok(device)
}

fn open_device() -> io::Result<OwnedFd> {
    let opened = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|errno| io::Error::new(errno.kind(), format!("/dev/fuse cannot be opened: {errno}")))
}
