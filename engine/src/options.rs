//! What an engine can be told, each with its unit, default and reason.

use std::{sync::Arc, time::Duration};

use crate::{
    environment::{Environment, System},
    ingest::HashThreads,
    io::Backend,
    quota::Quota,
};

/// Where the index lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexKind {
    /// RocksDB below the store's root.
    #[default]
    Rocks,
    /// In memory, lost when the engine closes: for models and fuzzing.
    Memory,
}

#[derive(Clone)]
pub struct Options {
    /// Which disk moves the bytes. Default: the ring where a probe shows that it works.
    pub backend: Backend,
    pub index: IndexKind,
    /// Content up to this many bytes is stored in the index and costs one group commit; larger
    /// content gets a file of its own. Default 64 KiB, at most 1 MiB.
    pub inline_bytes_max: usize,
    /// Content larger than this is refused. Default 64 GiB: there the checksum chunks reach
    /// 4 MiB, the most a reader should hold before it can send the first byte.
    pub blob_bytes_max: u64,
    /// Bytes of the file system that content leaves free for the index, so that deleting and collecting
    /// work on a full disk. Default: a hundredth of it, at least 64 MiB, at most 4 GiB or an eighth.
    pub reserve_bytes: Option<u64>,
    /// Memory for the index's block cache in bytes. Default 64 MiB.
    pub cache_bytes: usize,
    /// Memory for verified bytes of files that are read again and again, beside what the operating
    /// system caches; 0 keeps none. Default 64 MiB.
    pub hot_bytes_max: usize,
    /// Memory for bytes on their way to the disk, over all uploads. Uploads wait for each other
    /// when it is used up. Default 256 MiB: 128 uploads with all their buffers on the way to the
    /// disk, far more than any disk can keep up with.
    pub upload_memory_bytes_max: usize,
    /// Memory for bytes of files that readers hold together, beside what is kept hot. From half of it on each
    /// gets less at a time, beyond it next to nothing; nobody is refused. Default 128 MiB.
    pub reader_memory_bytes_max: usize,
    /// Threads that hash what is uploaded, at a lower priority than those that serve; with 0 the bytes
    /// are hashed by whoever brings them. Default one for each processor, at most 64.
    pub hash_threads: usize,
    /// An upload whose client went quiet for this long is written down, so that it survives a
    /// restart, and leaves memory. Default 1 s.
    pub upload_settle: Duration,
    /// An upload nobody touched for this long is discarded. Default 24 h.
    pub upload_idle_max: Duration,
    /// A running upload is written down each time this many bytes came in, so that a crash costs
    /// at most these. Default 64 MiB.
    pub checkpoint_bytes: u64,
    /// How often the pulls of documents are written down, and the store's clock with them; a crash
    /// loses the pulls since. Default 60 s.
    pub usage_flush: Duration,
    /// Bytes that namespaces may have. Default none, at most [`QUOTAS_MAX`](crate::QUOTAS_MAX).
    pub quotas: Vec<Quota>,
    /// Namespaces that there may be; more are refused. Default no limit.
    pub namespaces_max: Option<u64>,
    /// How many changes wait for the commit thread before callers do. Default 4,096.
    pub commit_queue_max: usize,
    /// How many changes share one sync of the index at most. Default 1,024.
    pub commit_group_max: usize,
    /// Whether a store on disk keeps a journal, from which its index can be made again. Default yes.
    pub journal: bool,
    /// Whoever was told that content is there can rely on it for so many epochs of collection after
    /// the one in which he was told. Default 8.
    pub lease_epochs: u64,
    /// The door to time and randomness.
    pub environment: Arc<dyn Environment>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            backend: Backend::Auto,
            index: IndexKind::Rocks,
            inline_bytes_max: 64 << 10,
            blob_bytes_max: 64 << 30,
            reserve_bytes: None,
            cache_bytes: 64 << 20,
            hot_bytes_max: 64 << 20,
            upload_memory_bytes_max: 256 << 20,
            reader_memory_bytes_max: 128 << 20,
            hash_threads: HashThreads::default_count(),
            upload_settle: Duration::from_secs(1),
            upload_idle_max: Duration::from_secs(24 * 3600),
            checkpoint_bytes: 64 << 20,
            usage_flush: Duration::from_secs(60),
            quotas: Vec::new(),
            namespaces_max: None,
            commit_queue_max: 4096,
            commit_group_max: 1024,
            journal: true,
            lease_epochs: 8,
            environment: Arc::new(System::default()),
        }
    }
}

/// The largest allowed `inline_bytes_max`: inline content passes through the write-ahead log.
pub const INLINE_BYTES_LIMIT: usize = 1 << 20;
