//! The engine's calls about the use of names and documents.

use super::{DocumentUse, NameUse, document_use, flush, names_used, unnamed_documents};
use crate::{Digest, Engine, Moment, Namespace, Result, statistics::add, store::blocking};

impl Engine {
    /// Where the store's clock stands: what the times of [`NameUse`] and [`DocumentUse`] are
    /// compared with.
    pub fn clock(&self) -> Moment {
        self.store().clock.now()
    }

    /// Names after `after` in byte order with their times and the use of their targets. Errors:
    /// `NotFound` for an unknown namespace.
    pub async fn names_used(&self, namespace: &Namespace, after: Option<&str>, limit: usize) -> Result<Vec<NameUse>> {
        let (store, namespace, after) = (self.store().clone(), namespace.clone(), after.map(str::to_owned));
        blocking(move || names_used(&*store.index, &namespace, after.as_deref(), limit)).await
    }

    /// The use of a document. Errors: `NotFound`, also for content that is no document.
    pub async fn document_use(&self, namespace: &Namespace, digest: &Digest) -> Result<DocumentUse> {
        let (store, namespace, digest) = (self.store().clone(), namespace.clone(), *digest);
        blocking(move || document_use(&*store.index, &namespace, &digest)).await
    }

    /// Documents after `after` in the order of their digests that nothing keeps but a rule: no name
    /// is bound to them, no document needs them, and they refer to none. Looks at `limit` members
    /// of the namespace; gives the last one looked at, to go on after, while there may be more.
    pub async fn unnamed_documents(
        &self,
        namespace: &Namespace,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<(Vec<DocumentUse>, Option<Digest>)> {
        let (store, namespace, after) = (self.store().clone(), namespace.clone(), after.copied());
        blocking(move || unnamed_documents(&*store.index, &namespace, after.as_ref(), limit)).await
    }

    /// Counts a pull of a document, in memory: it is written down within `Options::usage_flush`.
    pub fn note_pull(&self, namespace: &Namespace, digest: &Digest) {
        let store = self.store();
        let counter = match store.pulls.note(namespace, digest, store.clock.now()) {
            true => &store.counters.pulls_noted,
            false => &store.counters.pulls_lost,
        };
        add(counter, 1);
    }

    /// Writes all counted pulls down now, so that [`Engine::names_used`] and
    /// [`Engine::document_use`] know them. Errors: `Stopped`.
    pub async fn record_pulls(&self) -> Result<()> {
        flush(self.store()).await
    }
}
