//! What RocksDB stands on: the operating system, but a directory whose sync failed once is never synced again
//! (`file_system.cc` says why).

use rocksdb::Env;

// SAFETY: the declaration is that of `file_system.cc`, which build.rs compiles.
unsafe extern "C" {
    fn orlop_rocksdb_environment() -> *mut librocksdb_sys::rocksdb_env_t;
}

/// An environment for one opening of a database: what it remembers of failed syncs is for that one.
pub(super) fn environment() -> Env {
    // SAFETY: it gives a new environment, made with the layout and the allocator of RocksDB's C interface, and
    // nobody else has the pointer.
    unsafe { Env::from_raw(orlop_rocksdb_environment()) }
}
