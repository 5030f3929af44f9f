//! Who looks, and who acts on what was seen.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use super::look::{Examiner, Look, Verdict, failed, inline, unpaced};
use crate::{
    Digest, Engine,
    commit::{Transaction, decoded},
    damage::{self, Alarm, Finder, Flaw, Marked, Unmarked, mark_sound, quarantine},
    error::{Error, Result},
    format::{BlobRecord, DamageRecord, Health, Placement},
    index::{Durability, Table},
    io::Handle,
    statistics::add,
    store::{Store, index_error},
};

/// What became of content that looked damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condemned {
    /// It is on the list from now on, and answers as not found.
    New,
    /// It was on the list already.
    Known,
    /// A second look found nothing wrong, or the content is not the one that was looked at any more.
    Unconfirmed,
}

/// Looks at one blob after the other. It reads on the thread that drives its futures, where reading blocks:
/// give it a thread of its own, with [`lower_priority`](super::lower_priority). It takes 1 MiB.
pub struct Inspector {
    engine: Engine,
    examiner: Examiner,
}

/// Where the bytes of a file are.
enum Place {
    /// Under the digest's name.
    Stored,
    /// In quarantine.
    Aside(DamageRecord),
}

impl Engine {
    /// Somebody to look for damage with.
    pub fn inspector(&self) -> Inspector {
        Inspector { engine: self.clone(), examiner: Examiner::new() }
    }

    /// About how many blobs there are.
    pub fn blobs_estimate(&self) -> u64 {
        self.store().index.estimate(Table::Blobs)
    }
}

impl Inspector {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stored content after `after` in the order of the digests.
    pub async fn digests(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<Digest>> {
        let after = after.map(Digest::to_key);
        let pairs = self.engine.store().scan(Table::Blobs, Vec::new(), after, limit).await?;
        let digests = pairs.iter().map(|(key, _)| match Digest::decode(key) {
            Some((digest, [])) => Ok(digest),
            _ => Err(crate::commit::malformed("blob key")),
        });
        digests.collect()
    }

    /// Reads all of a blob, from the device, and compares. Changes nothing. `pace` is told of the bytes
    /// of each read, and says when to go on, and whether.
    ///
    /// Errors: those of the index.
    pub async fn look(&self, digest: &Digest, pace: &mut impl AsyncFnMut(u64) -> ControlFlow<()>) -> Result<Look> {
        let store = self.engine.store();
        let Some(record) = store.blob(digest).await? else {
            let (verdict, bytes) = (Verdict::Gone, 0);
            return Ok(Look { digest: *digest, verdict, bytes, is_known: false, is_file: false, record: None });
        };
        let (verdict, bytes) = match record.placement {
            Placement::Inline => {
                let looked = inline(self.inline_bytes(digest), digest, &record);
                add(&store.counters.bytes_scrubbed, looked.1);
                match pace(looked.1).await {
                    ControlFlow::Continue(()) => looked,
                    ControlFlow::Break(()) => (Verdict::Stopped, looked.1),
                }
            }
            Placement::File => match self.open(digest, &record).await? {
                Ok((file, _)) => self.examiner.whole(store, &file, (digest, &record), pace).await,
                Err(verdict) => (verdict, 0),
            },
        };
        if verdict != Verdict::Stopped {
            add(&store.counters.blobs_scrubbed, 1);
        }
        let is_known = record.health == Health::Damaged;
        let is_file = record.placement == Placement::File;
        Ok(Look { digest: *digest, verdict, bytes, is_known, is_file, record: Some(record) })
    }

    /// Whether the beginning of a blob's file can be read; `None` if it is not in a file, or not sound. Tells
    /// a device that is gone from a file that is.
    pub async fn reaches(&self, digest: &Digest) -> Result<Option<bool>> {
        let store = self.engine.store();
        let is_file = |record: &BlobRecord| record.placement == Placement::File && record.health == Health::Sound;
        if !store.blob(digest).await?.as_ref().is_some_and(is_file) {
            return Ok(None);
        }
        Ok(Some(match store.tier.open(digest).await {
            Ok(file) => self.examiner.reaches(store, &file).await,
            Err(_) => false,
        }))
    }

    /// Looks a second time at what was found wrong; if it still is, marks the content as damaged, durably,
    /// and sets its file aside.
    pub async fn condemn(&self, look: &Look) -> Result<Condemned> {
        let (Verdict::Flawed { flaw, offset }, Some(seen)) = (&look.verdict, &look.record) else {
            return Ok(Condemned::Unconfirmed);
        };
        let store = self.engine.store();
        let _lock = store.lock_placing(Store::placing_slot(&look.digest)).await;
        let mut confirmed = (*flaw, *offset);
        // What is known to be damaged was looked at for the second time already. Inline content is looked
        // at again where it is marked.
        if !look.is_known && look.is_file {
            match self.look_again(&look.digest, seen, confirmed).await? {
                // The first look saw more of the same flaw.
                Verdict::Flawed { flaw, .. } if flaw == confirmed.0 => {}
                Verdict::Flawed { flaw, offset } => confirmed = (flaw, offset),
                _ => return Ok(Condemned::Unconfirmed),
            }
        }
        let (flaw, offset) = confirmed;
        let alarm = Alarm { digest: look.digest, seen: seen.clone(), flaw, offset, finder: Finder::Scrub };
        Ok(match damage::condemn(store, alarm).await? {
            Marked::New => Condemned::New,
            Marked::Known => Condemned::Known,
            Marked::Changed => Condemned::Unconfirmed,
        })
    }

    /// Content that is known to be damaged was found to have all its bytes. Looks a second time, and then
    /// makes it readable again for everybody. Gives whether it did.
    pub async fn recover(&self, look: &Look) -> Result<bool> {
        let (Verdict::Sound, true, Some(seen)) = (&look.verdict, look.is_known, &look.record) else {
            return Ok(false);
        };
        let store = self.engine.store();
        let _lock = store.lock_placing(Store::placing_slot(&look.digest)).await;
        if look.is_file && !self.put_in_place(&look.digest, seen).await? {
            return Ok(false);
        }
        let (digest, expected) = (look.digest, seen.clone());
        let shared = Arc::new(Mutex::new(Unmarked::Changed));
        let outcome = shared.clone();
        let decide = move |transaction: &mut Transaction<'_>| {
            *outcome.lock().expect("no panic holds it") = mark_sound(transaction, &digest, &expected)?;
            Ok(())
        };
        store.committer.run(Durability::Synced, decide).await?;
        let Unmarked::Sound { was_listed } = *shared.lock().expect("no panic holds it") else { return Ok(false) };
        store.damaged.fetch_sub(i64::from(was_listed), Relaxed);
        tracing::info!(target: "audit", %digest, "all bytes of damaged content were found right again");
        Ok(true)
    }

    /// With the lock held: whether all bytes of a damaged file are right, and in their place.
    async fn put_in_place(&self, digest: &Digest, seen: &BlobRecord) -> Result<bool> {
        let store = self.engine.store();
        if store.blob(digest).await?.as_ref() != Some(seen) {
            return Ok(false);
        }
        let Ok((file, place)) = self.open(digest, seen).await? else { return Ok(false) };
        if self.examiner.whole(store, &file, (digest, seen), &mut unpaced).await.0 != Verdict::Sound {
            return Ok(false);
        }
        if let Place::Aside(damage) = place {
            let placed = quarantine::take_back(store, &file, seen.size, digest, damage.found).await;
            placed.map_err(|source| Error::io("taking a file back from quarantine", source))?;
        }
        Ok(true)
    }

    /// With the lock held: whether the file that is there now is wrong where it was.
    async fn look_again(&self, digest: &Digest, seen: &BlobRecord, flaw: (Flaw, u64)) -> Result<Verdict> {
        let store = self.engine.store();
        if store.blob(digest).await?.as_ref() != Some(seen) {
            return Ok(Verdict::Gone);
        }
        Ok(match self.open(digest, seen).await? {
            Ok((file, _)) => self.examiner.again(store, &file, (digest, seen), flaw).await,
            Err(verdict) => verdict,
        })
    }

    /// Opens the file of a blob: in its place, or, if it is known to be damaged, in quarantine.
    async fn open(&self, digest: &Digest, record: &BlobRecord) -> Result<Result<(Handle, Place), Verdict>> {
        let store = self.engine.store();
        let error = match store.tier.open(digest).await {
            Ok(file) => return Ok(Ok((file, Place::Stored))),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::NotFound
            && record.health == Health::Damaged
            && let Some(damage) = store.get(Table::Damaged, &digest.to_key()).await?
        {
            let damage = decoded(DamageRecord::decode(&damage))?;
            if let Ok(file) = quarantine::open(store, digest, damage.found).await {
                return Ok(Ok((file, Place::Aside(damage))));
            }
        }
        Ok(Err(match damage::is_absence(&error) {
            true => Verdict::Flawed { flaw: Flaw::Missing, offset: 0 },
            false => failed(&error, 0),
        }))
    }

    fn inline_bytes(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        self.engine.store().index.reread(Table::Bytes, &digest.to_key()).map_err(index_error)
    }
}
