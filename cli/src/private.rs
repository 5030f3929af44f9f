//! What the process creates is for its owner alone.

use rustix::{fs::Mode, process::umask};

/// Takes every permission for group and others away from files and directories that are made from
/// now on, whatever umask the process was started with: the index makes its files by itself.
pub fn keep() {
    umask(Mode::RWXG | Mode::RWXO);
}
