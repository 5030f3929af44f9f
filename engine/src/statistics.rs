//! Counters of what the engine did since it was opened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! statistics {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A reading of the engine's counters. All count from the opening of the store.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Statistics { $($(#[doc = $doc])+ pub $name: u64,)+ }

        /// The live counters.
        #[derive(Default)]
        pub(crate) struct Counters { $(pub $name: AtomicU64,)+ }

        impl Counters {
            pub fn read(&self) -> Statistics {
                Statistics { $($name: self.$name.load(Relaxed),)+ }
            }
        }

        impl Statistics {
            /// Name, help text and value of each counter.
            pub fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name),)+]
            }
        }
    };
}

statistics! {
    /// Uploads begun.
    uploads_begun,
    /// Uploads whose digest matched.
    uploads_sealed,
    /// Uploads refused because their bytes had another digest.
    uploads_mismatched,
    /// Uploads written down for a later continuation.
    uploads_checkpointed,
    /// Uploads discarded, cancelled or expired.
    uploads_discarded,
    /// Bytes received by uploads.
    bytes_received,
    /// Verified bytes handed to readers.
    bytes_read,
    /// Verified bytes handed to readers out of the memory for hot files; part of bytes_read.
    bytes_read_hot,
    /// Pushed blobs that were stored already.
    blobs_deduplicated,
    /// Pushed blobs that were new to the store.
    blobs_stored,
    /// Blobs found damaged.
    blobs_damaged,
    /// Pulls of documents that were counted.
    pulls_noted,
    /// Pulls of documents that were written to the index.
    pulls_recorded,
    /// Pulls of documents that were not counted because too many documents waited.
    pulls_lost,
    /// Memberships collected.
    members_collected,
    /// Blobs collected.
    blobs_collected,
    /// Bytes of collected blobs.
    bytes_collected,
    /// Uploads collected because nobody went on with them.
    uploads_collected,
    /// Files without a record that were removed after an unclean end.
    orphans_collected,
    /// Bytes written to the journal's log.
    journal_bytes,
    /// Bases written for the journal.
    journal_bases,
    /// Failures to write the journal; what was missed is in the base that follows.
    journal_failures,
    /// Changes committed.
    commits,
    /// Syncs of the index; commits divided by this is the group size.
    commit_syncs,
}

pub(crate) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Relaxed);
}
