//! The writer's side of an upload session.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::OwnedMutexGuard;

use super::{
    UploadHome, UploadId,
    intake::{Intake, Whose},
    sealed::Sealed,
    session::{Claim, Sessions, State},
};
use crate::{
    Digest,
    commit::decoded,
    error::{Error, Result, What},
    format::UploadRecord,
    index::Table,
    statistics::add,
    store::Store,
};

/// The exclusive writer of an upload. Dropping it at any moment is safe: the session keeps the
/// exact prefix that was taken, and can be resumed.
pub struct Upload {
    store: Arc<Store>,
    state: OwnedMutexGuard<State>,
    // Released after the lock: fields are dropped in order.
    claim: Claim,
}

impl Upload {
    pub(crate) async fn resume(
        store: &Arc<Store>,
        sessions: &Sessions,
        home: &UploadHome,
        id: UploadId,
    ) -> Result<Self> {
        let claim = sessions.claim(store, home, id)?;
        let mut state = claim.session.state.clone().lock_owned().await;
        if state.ended {
            return Err(Error::NotFound { what: What::Upload });
        }
        if state.intake.is_none() {
            state.intake = Some(restore(store, id).await?);
        }
        Ok(Upload { store: store.clone(), state, claim })
    }

    pub fn id(&self) -> UploadId {
        self.claim.session.id
    }

    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.intake().offset()
    }

    /// Tells what is known before the bytes come: the total size of the upload and its digest.
    /// Space is reserved, and content that the store has already is hashed but not written again.
    pub async fn announce(&mut self, total: Option<u64>, digest: Option<Digest>) -> Result<()> {
        let max = self.store.allowed.blob_bytes_max();
        if total.is_some_and(|total| total > max) {
            return Err(Error::TooLarge { what: "content", max });
        }
        if let Some(total) = total {
            self.intake_mut().expect_bytes(total);
        }
        if let Some(digest) = digest
            && self.offset() == 0
        {
            match self.store.leases.pin(&digest) {
                Some(pin) if self.store.is_stored(&digest).await? => {
                    let store = self.store.clone();
                    self.intake_mut().known(&store, digest, pin);
                }
                _ => self.intake_mut().expect(digest.algorithm()),
            }
        }
        Ok(())
    }

    /// Takes the next bytes: starts to hash and to write them. Waits when hash or disk is behind.
    /// Cancel safe: bytes that were not taken were not counted.
    pub async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.state.dirty = true;
        let session = &self.claim.session;
        let whose = Whose { store: &self.store, id: session.id, home: &session.home };
        let intake = self.state.intake.as_mut().expect("present while there is a writer");
        let before = intake.offset();
        let appended = intake.append(whose, bytes, |taken| session.offset.store(taken, Ordering::Release)).await;
        add(&self.store.counters.bytes_received, intake.offset() - before);
        let has_checkpoint = intake.has_checkpoint();
        self.state.stored |= has_checkpoint;
        appended
    }

    /// Whether bytes that were taken are lost, because the disk failed or is full: the upload cannot go on, and is
    /// to be abandoned.
    pub fn is_broken(&self) -> bool {
        self.intake().is_broken()
    }

    /// Ends a request that did not complete the upload. Gives the offset the session is at.
    pub fn suspend(mut self) -> u64 {
        self.intake_mut().forget_known();
        let offset = self.offset();
        self.claim.session.offset.store(offset, Ordering::Release);
        offset
    }

    /// Completes the upload and ends the session, whatever comes out: the bytes have this digest,
    /// or they are discarded. Goes on if the caller goes away.
    pub async fn seal(self, expected: &Digest) -> Result<Sealed> {
        let (store, expected) = (self.store.clone(), *expected);
        store.running.to_the_end(self.seal_now(expected)).await
    }

    async fn seal_now(mut self, expected: Digest) -> Result<Sealed> {
        let id = self.id();
        let intake = self.state.intake.take().expect("present while there is a writer");
        self.store.sessions.forget(id);
        self.state.ended = true;
        let sealed = intake.seal(&self.store, id, &expected).await;
        match &sealed {
            Ok(_) => add(&self.store.counters.uploads_sealed, 1),
            Err(error) => {
                if matches!(error, Error::DigestMismatch { .. }) {
                    add(&self.store.counters.uploads_mismatched, 1);
                }
                self.abandon_now().await?;
            }
        }
        sealed
    }

    /// Ends the session and gives its bytes up. Goes on if the caller goes away.
    pub async fn abandon(self) -> Result<()> {
        let store = self.store.clone();
        store.running.to_the_end(self.abandon_now()).await
    }

    async fn abandon_now(mut self) -> Result<()> {
        let session = self.claim.session.clone();
        self.store.sessions.discard(&self.store, &session, &mut self.state).await
    }

    fn intake(&self) -> &Intake {
        self.state.intake.as_ref().expect("present while there is a writer")
    }

    fn intake_mut(&mut self) -> &mut Intake {
        self.state.intake.as_mut().expect("present while there is a writer")
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(intake) = &mut self.state.intake {
            intake.forget_known();
            self.claim.session.offset.store(intake.offset(), Ordering::Release);
        }
    }
}

async fn restore(store: &Store, id: UploadId) -> Result<Intake> {
    let bytes = store.get(Table::Uploads, &id.to_key()).await?.ok_or(Error::NotFound { what: What::Upload })?;
    Intake::restore(store, id, decoded(UploadRecord::decode(&bytes))?).await
}
