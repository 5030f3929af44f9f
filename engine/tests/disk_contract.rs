//! The contract of `Disk`, held by every implementation: threads, io_uring and simulation.
//!
//! Each test of [`contract`] runs once per disk. The other modules test what only one kind of disk
//! has: [`real_tree`] a place in a file system, [`refusals`] a system that lacks something,
//! [`crashes`] the simulated end of power.

use std::{io, path::PathBuf, sync::Arc};

use orlop_engine::io::{
    ALIGNMENT, Backend, Buffer, Disk, Entry, EntryKind, Handle, Linked, Pool, SimDisk, StorePath, keep, open_disk,
};

const POOL_BYTES: usize = 8 << 20;

#[path = "disk_contract/contract.rs"]
mod contract;
#[path = "disk_contract/crashes.rs"]
mod crashes;
#[path = "disk_contract/real_tree.rs"]
mod real_tree;
#[path = "disk_contract/refusals.rs"]
mod refusals;

/// An empty disk of one kind, its buffers, and the directory it lies in if it is a real one.
struct Fixture {
    disk: Arc<dyn Disk>,
    pool: Pool,
    root: Option<tempfile::TempDir>,
}

impl Fixture {
    fn threads() -> Option<Self> {
        Some(Self::real(Backend::Threads))
    }

    /// `None` where io_uring is refused; the reason is printed.
    #[cfg(feature = "ring")]
    fn ring() -> Option<Self> {
        let probe = tempfile::tempdir().expect("a temporary directory");
        let opened = open_disk(probe.path(), Backend::Auto).expect("a disk opens");
        if let Some(note) = opened.note {
            eprintln!("not run on io_uring: {note}");
            return None;
        }
        Some(Self::real(Backend::Ring))
    }

    fn sim() -> Option<Self> {
        Some(Fixture { disk: Arc::new(SimDisk::new(7)), pool: Pool::new(POOL_BYTES), root: None })
    }

    fn real(backend: Backend) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let opened = open_disk(root.path(), backend).expect("a disk opens");
        assert_eq!(opened.backend, backend);
        assert_eq!(opened.note, None);
        Fixture { disk: opened.disk, pool: Pool::new(POOL_BYTES), root: Some(root) }
    }

    /// The place of a path in the file system, on a real disk.
    fn outside(&self, path: &str) -> Option<PathBuf> {
        self.root.as_ref().map(|root| root.path().join(path))
    }

    async fn filled(&self, bytes: &[u8]) -> Buffer {
        let mut buffer = self.pool.take(bytes.len()).await;
        assert_eq!(buffer.extend(bytes), bytes.len());
        buffer.pad_to_alignment();
        buffer
    }

    /// A synced file without a name.
    async fn file(&self, bytes: &[u8]) -> Handle {
        let file = self.disk.create(0).await.expect("create");
        let buffer = self.filled(bytes).await;
        self.disk.write(&file, buffer, 0).await.expect("write");
        self.disk.sync(&file, Some(bytes.len() as u64)).await.expect("sync");
        file
    }

    async fn read(&self, file: &Handle, offset: u64, len: usize) -> Vec<u8> {
        let buffer = self.pool.take(len).await;
        self.disk.read(file, buffer, offset, len).await.expect("read").filled().to_vec()
    }

    async fn list(&self, path: &StorePath) -> Vec<Entry> {
        let mut entries = self.disk.list(path).await.expect("list");
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    }

    /// Waits until every buffer is back, so until every abandoned operation is over.
    async fn settle(&self) {
        drop(self.pool.take(POOL_BYTES).await);
    }
}

fn path(text: &str) -> StorePath {
    text.split('/').fold(StorePath::root(), |path, component| path.join(component))
}

/// Bytes that differ from block to block and from file to file.
fn pattern(len: usize, salt: u64) -> Vec<u8> {
    let word = |index: usize| (index as u64 ^ salt.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..len.div_ceil(8)).flat_map(word).take(len).collect()
}

fn kind<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
    outcome.err().map(|error| error.kind())
}

/// Makes one test per disk of each function of [`contract`].
macro_rules! on_every_disk {
    ($($test:ident)*) => {
        on_every_disk!(@disk threads: $($test)*);
        #[cfg(feature = "ring")]
        on_every_disk!(@disk ring: $($test)*);
        on_every_disk!(@disk sim: $($test)*);
    };
    (@disk $disk:ident: $($test:ident)*) => {
        mod $disk {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(fixture) = super::Fixture::$disk() {
                        super::contract::$test(fixture).await;
                    }
                }
            )*
        }
    };
}

on_every_disk! {
    unnamed_file_vanishes
    linked_file_reads_back
    linking_over_a_name_changes_nothing
    a_kept_file_is_cut_and_has_its_name
    keeping_over_a_name_changes_nothing
    one_file_can_have_two_names
    unlinked_file_stays_readable
    reads_need_no_alignment
    reads_are_short_at_the_end_only
    reads_replace_what_the_buffer_held
    rereads_bring_the_same_bytes
    reads_see_completed_writes
    sync_cuts_to_the_length
    sync_never_lengthens
    reserved_files_hold_what_is_written
    impossible_reservation_is_reported
    an_upload_is_taken_up_again
    a_read_only_handle_refuses_writes
    misaligned_writes_are_refused
    foreign_handles_are_refused
    directories_are_made_and_listed
    what_is_not_there_is_not_found
    a_file_is_no_directory
    writes_in_any_order_all_arrive
    a_storm_of_cancellations_corrupts_nothing
    operations_outlive_the_disk
    buffers_press_back
}
