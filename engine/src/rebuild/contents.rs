//! What the journal says is stored, against the files that are there.

use std::{collections::BTreeMap, sync::Arc};

use super::{Phase, Progress, Report, unknown_row, writer::Writer};
use crate::{
    Digest,
    check::{each, read_file},
    clock::Moment,
    commit::decoded,
    damage::{Finder, Flaw},
    error::{Error, Result},
    format::{BlobRecord, DamageRecord, Health, Placement},
    index::{Index, Table},
    io::Disk,
    store::index_error,
    tier::{Listed, LocalTier, Tier},
    verify::Tally,
};

/// Compares all records with all files. Files are looked at by their lengths, and inline content only
/// if something may be missing (`is_doubtful`); with `verify`, everything is hashed.
pub(super) async fn check(
    index: &dyn Index,
    disk: Arc<dyn Disk>,
    is_doubtful: bool,
    verify: bool,
    now: Moment,
    report: &mut Report,
    on: &mut (dyn FnMut(Progress) + Send),
) -> Result<()> {
    let tier = LocalTier::new(disk);
    let mut contents = Contents { index, tier: &tier, writer: Writer::new(index), is_doubtful, verify, now, report };
    let total = u64::from(tier.shards());
    for shard in 0..tier.shards() {
        contents.shard(shard).await?;
        on(Progress { phase: Phase::Contents, done: u64::from(shard) + 1, total });
    }
    contents.writer.flush()
}

/// A record under its digest.
struct Blob {
    digest: Digest,
    record: BlobRecord,
}

struct Contents<'a> {
    index: &'a dyn Index,
    tier: &'a LocalTier,
    writer: Writer<'a>,
    is_doubtful: bool,
    verify: bool,
    now: Moment,
    report: &'a mut Report,
}

impl Contents<'_> {
    async fn shard(&mut self, shard: u32) -> Result<()> {
        let listed = self.tier.list(shard).await.map_err(|source| Error::io("listing blobs", source))?;
        let mut files: BTreeMap<Digest, u64> = BTreeMap::new();
        for entry in listed {
            // What the store did not put there is left alone; the checker reports it.
            let Listed::Stored(stored) = entry else { continue };
            files.insert(stored.digest, stored.size);
        }
        for blob in self.records(shard)? {
            self.report.blobs += 1;
            self.report.bytes = self.report.bytes.saturating_add(blob.record.size);
            let flaw = match blob.record.placement {
                Placement::Inline => self.inline_flaw(&blob)?,
                Placement::File => {
                    let found = files.remove(&blob.digest);
                    self.file_flaw(&blob, found).await?
                }
            };
            match flaw {
                // What was known to be damaged may lie in quarantine.
                Some((flaw, what)) if blob.record.health == Health::Sound => self.damaged(&blob, flaw, &what)?,
                _ => self.report.damaged += u64::from(blob.record.health == Health::Damaged),
            }
        }
        for (digest, size) in files {
            self.unrecorded(&digest, size).await?;
        }
        Ok(())
    }

    fn records(&mut self, shard: u32) -> Result<Vec<Blob>> {
        let mut blobs = Vec::new();
        each(self.index, Table::Blobs, &LocalTier::shard_prefix(shard), |(key, value)| {
            match (Digest::decode(&key), BlobRecord::decode(&value)) {
                (Some((digest, [])), Ok(record)) => blobs.push(Blob { digest, record }),
                _ => {
                    self.report.find(unknown_row(Table::Blobs, &key));
                    self.writer.delete(Table::Blobs, key)?;
                }
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    fn inline_flaw(&mut self, blob: &Blob) -> Result<Option<(Flaw, String)>> {
        if !self.is_doubtful {
            return Ok(None);
        }
        let Some(bytes) = self.index.get(Table::Bytes, &blob.digest.to_key()).map_err(index_error)? else {
            return Ok(Some((Flaw::Missing, "its bytes were lost with a part of the journal".to_owned())));
        };
        let found = bytes.len() as u64;
        if found != blob.record.size {
            return Ok(Some((Flaw::Length, format!("{} bytes expected, {found} found", blob.record.size))));
        }
        if !self.verify {
            return Ok(None);
        }
        let mut tally = Tally::new(&blob.digest);
        tally.add(&bytes);
        self.verified(blob, tally)
    }

    async fn file_flaw(&mut self, blob: &Blob, found: Option<u64>) -> Result<Option<(Flaw, String)>> {
        let Some(found) = found else { return Ok(Some((Flaw::Missing, "its file is missing".to_owned()))) };
        if found != blob.record.size {
            return Ok(Some((Flaw::Length, format!("{} bytes expected, its file has {found}", blob.record.size))));
        }
        if !self.verify {
            return Ok(None);
        }
        let mut tally = Tally::new(&blob.digest);
        match read_file(self.tier, &blob.digest, &mut tally).await {
            Ok(()) => self.verified(blob, tally),
            Err(error) => Ok(Some((Flaw::Unreadable, format!("its file cannot be read: {error}")))),
        }
    }

    /// Bytes with the right digest are right: if the record has other checksums of them, it gets theirs.
    fn verified(&mut self, blob: &Blob, tally: Tally) -> Result<Option<(Flaw, String)>> {
        if tally.hasher.finish() != blob.digest {
            return Ok(Some((Flaw::Digest, "its bytes have another digest".to_owned())));
        }
        let sums = tally.sums.finish();
        if sums != blob.record.sums {
            self.report.find(format!("{}: its checksums were wrong and were made again from its bytes", blob.digest));
            let record = BlobRecord { sums, ..blob.record.clone() };
            self.writer.put(Table::Blobs, blob.digest.to_key(), record.encode())?;
        }
        Ok(None)
    }

    fn damaged(&mut self, blob: &Blob, flaw: Flaw, what: &str) -> Result<()> {
        let digest = blob.digest;
        self.report.damaged += 1;
        self.report.find(format!("{digest}: {what}; it answers as not found until it is pushed again"));
        let key = digest.to_key();
        let Some(bytes) = self.index.get(Table::Blobs, &key).map_err(index_error)? else { return Ok(()) };
        let record = BlobRecord { health: Health::Damaged, ..decoded(BlobRecord::decode(&bytes))? };
        self.writer.put(Table::Blobs, key.clone(), record.encode())?;
        let row = DamageRecord { flaw, finder: Finder::Rebuild, offset: 0, found: self.now };
        self.writer.put(Table::Damaged, key, row.encode())
    }

    /// A file without a record. If somebody holds the content, the record was lost and follows from
    /// the bytes. Otherwise nobody can ask for it, and collection's search for such files takes it.
    async fn unrecorded(&mut self, digest: &Digest, size: u64) -> Result<()> {
        let key = digest.to_key();
        let is_known = self.index.get(Table::Blobs, &key).map_err(index_error)?.is_some();
        let holder = self.index.snapshot().scan(Table::Holders, &key, None, 1).map_err(index_error)?;
        if !is_known && !holder.is_empty() {
            let mut tally = Tally::new(digest);
            let read = read_file(self.tier, digest, &mut tally).await;
            if read.is_ok() && tally.hasher.finish() == *digest {
                let (health, placement) = (Health::Sound, Placement::File);
                let record = BlobRecord { health, placement, size: tally.size, sums: tally.sums.finish() };
                self.writer.put(Table::Blobs, key, record.encode())?;
                self.report.blobs += 1;
                self.report.bytes = self.report.bytes.saturating_add(tally.size);
                self.report.adopted += 1;
                return Ok(());
            }
        }
        self.report.unknown_files += 1;
        self.report.unknown_bytes += size;
        Ok(())
    }
}
