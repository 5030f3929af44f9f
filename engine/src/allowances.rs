//! What may be stored, as far as that can be changed while a store is open.
//!
//! In: the wishes of the options, and later ones. Out: what each step of an upload is compared with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{
    Engine,
    error::{Error, Result},
    index::Durability,
    options::{INLINE_BYTES_LIMIT, Options},
    quota::{self, Quota},
    schedule::RwLock,
};

/// What may be stored; see the fields of the same names of [`Options`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowances {
    pub inline_bytes_max: usize,
    pub blob_bytes_max: u64,
    pub quotas: Vec<Quota>,
    pub namespaces_max: Option<u64>,
}

impl From<&Options> for Allowances {
    fn from(options: &Options) -> Self {
        Allowances {
            inline_bytes_max: options.inline_bytes_max,
            blob_bytes_max: options.blob_bytes_max,
            quotas: options.quotas.clone(),
            namespaces_max: options.namespaces_max,
        }
    }
}

/// The allowances of an open store.
pub(crate) struct Allowed {
    inline_bytes_max: AtomicUsize,
    blob_bytes_max: AtomicU64,
    /// What is counted in the index. Nobody holds the lock but to look or to exchange.
    counted: RwLock<Arc<Counted>>,
}

pub(crate) struct Counted {
    pub quotas: Vec<Quota>,
    pub namespaces_max: Option<u64>,
}

impl Allowed {
    pub fn new(allowances: Allowances) -> Self {
        let Allowances { inline_bytes_max, blob_bytes_max, quotas, namespaces_max } = allowances;
        Allowed {
            inline_bytes_max: AtomicUsize::new(inline_bytes_max),
            blob_bytes_max: AtomicU64::new(blob_bytes_max),
            counted: RwLock::new(Arc::new(Counted { quotas, namespaces_max })),
        }
    }

    pub fn inline_bytes_max(&self) -> usize {
        self.inline_bytes_max.load(Ordering::Relaxed)
    }

    pub fn blob_bytes_max(&self) -> u64 {
        self.blob_bytes_max.load(Ordering::Relaxed)
    }

    pub fn counted(&self) -> Arc<Counted> {
        self.counted.read().expect("no panic holds it").clone()
    }
}

impl Engine {
    /// Changes what may be stored from now on, durably for quotas. Nothing that is stored is taken away, and an upload
    /// under way is compared with the new sizes at its next step.
    ///
    /// Errors: `TooLarge` for an `inline_bytes_max` or a number of quotas beyond their limits; `NoSpace`; `Stopped`.
    /// Then nothing has changed.
    pub async fn allow(&self, allowances: Allowances) -> Result<()> {
        let Allowances { inline_bytes_max, blob_bytes_max, quotas, namespaces_max } = allowances;
        if inline_bytes_max > INLINE_BYTES_LIMIT {
            return Err(Error::TooLarge { what: "inline_bytes_max", max: INLINE_BYTES_LIMIT as u64 });
        }
        let store = self.store();
        let before = store.allowed.counted();
        if before.quotas != quotas || before.namespaces_max != namespaces_max {
            let wished = quotas.clone();
            let change = store.committer.run(Durability::Synced, move |transaction| {
                quota::replace(transaction, &wished)?;
                quota::limit_namespaces(transaction, namespaces_max)
            });
            change.await?;
            let counted = Arc::new(Counted { quotas, namespaces_max });
            *store.allowed.counted.write().expect("no panic holds it") = counted;
        }
        store.allowed.inline_bytes_max.store(inline_bytes_max, Ordering::Relaxed);
        store.allowed.blob_bytes_max.store(blob_bytes_max, Ordering::Relaxed);
        Ok(())
    }
}
