//! Other people's programs: where they are and how they are told to trust a test registry.

use std::{env, ffi::OsStr, path::PathBuf, process::Command};

use crate::Registry;

/// Where scripts/setup keeps what it built.
///
/// # Panics
/// If neither ORLOP_CACHE, XDG_CACHE_HOME nor HOME is set.
pub fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|base| base.join("orlop"));
    env::var_os("ORLOP_CACHE").map(PathBuf::from).or_else(base).expect("HOME is set")
}

/// A command that writes nothing outside the test's own directory and trusts its CA.
pub fn program(registry: &Registry, name: impl AsRef<OsStr>) -> Command {
    let home = registry.scratch("home");
    let mut command = Command::new(name);
    command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).current_dir(&home);
    if let Some(certificates) = registry.certificates() {
        command.env("SSL_CERT_FILE", certificates.ca());
    }
    command
}

/// One of the clients that scripts/clients built: crane, oras or regctl.
///
/// # Panics
/// If it was not built.
pub fn client(registry: &Registry, name: &str) -> Command {
    let path = cache().join("clients").join(name);
    assert!(path.exists(), "{} is not there: run scripts/setup test", path.display());
    program(registry, path)
}
