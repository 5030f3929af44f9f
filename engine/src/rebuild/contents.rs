//! What the journal says is stored, against the files that are there.

use std::{collections::BTreeMap, sync::Arc};

use super::{Phase, Progress, Report, writer::Writer};
use crate::{
    Digest,
    check::{Tally, each, read_file},
    commit::decoded,
    error::{Error, Result},
    format::{BlobRecord, Health, Placement},
    index::{Index, Table},
    io::Disk,
    store::index_error,
    tier::{Listed, LocalTier, Tier},
};

/// Compares all records with all files. Files are looked at by their lengths, and inline content only
/// if something may be missing (`is_doubtful`); with `verify`, everything is hashed.
pub(super) async fn check(
    index: &dyn Index,
    disk: Arc<dyn Disk>,
    is_doubtful: bool,
    verify: bool,
    report: &mut Report,
    on: &mut (dyn FnMut(Progress) + Send),
) -> Result<()> {
    let tier = LocalTier::new(disk);
    let mut contents = Contents { index, tier: &tier, writer: Writer::new(index), is_doubtful, verify, report };
    let total = u64::from(tier.shards());
    for shard in 0..tier.shards() {
        contents.shard(shard).await?;
        on(Progress { phase: Phase::Contents, done: u64::from(shard) + 1, total });
    }
    contents.writer.flush()
}

/// What matters here of a record.
struct Blob {
    digest: Digest,
    placement: Placement,
    health: Health,
    size: u64,
}

struct Contents<'a> {
    index: &'a dyn Index,
    tier: &'a LocalTier,
    writer: Writer<'a>,
    is_doubtful: bool,
    verify: bool,
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
            self.report.bytes += blob.size;
            let flaw = match blob.placement {
                Placement::Inline => self.inline_flaw(&blob)?,
                Placement::File => {
                    let found = files.remove(&blob.digest);
                    self.file_flaw(&blob, found).await
                }
            };
            match flaw {
                Some(flaw) => self.damaged(&blob, &flaw)?,
                None => self.report.damaged += u64::from(blob.health == Health::Damaged),
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
                (Some((digest, [])), Ok(BlobRecord { health, placement, size, .. })) => {
                    blobs.push(Blob { digest, placement, health, size });
                }
                _ => {
                    self.report.find(format!("a blob record of an unknown version is left out: {key:02x?}"));
                    self.writer.delete(Table::Blobs, key)?;
                }
            }
            Ok(())
        })?;
        Ok(blobs)
    }

    fn inline_flaw(&self, blob: &Blob) -> Result<Option<String>> {
        if !self.is_doubtful {
            return Ok(None);
        }
        let Some(bytes) = self.index.get(Table::Bytes, &blob.digest.to_key()).map_err(index_error)? else {
            return Ok(Some("its bytes were lost with a part of the journal".to_owned()));
        };
        let found = bytes.len() as u64;
        if found != blob.size {
            return Ok(Some(format!("{} bytes expected, {found} found", blob.size)));
        }
        let is_wrong = self.verify && Digest::of(blob.digest.algorithm(), &bytes) != blob.digest;
        Ok(is_wrong.then(|| "its bytes have another digest".to_owned()))
    }

    async fn file_flaw(&self, blob: &Blob, found: Option<u64>) -> Option<String> {
        let Some(found) = found else { return Some("its file is missing".to_owned()) };
        if found != blob.size {
            return Some(format!("{} bytes expected, its file has {found}", blob.size));
        }
        if !self.verify {
            return None;
        }
        let mut tally = Tally::new(&blob.digest);
        match read_file(self.tier, &blob.digest, &mut tally).await {
            Ok(()) if tally.hasher.finish() == blob.digest => None,
            Ok(()) => Some("the bytes of its file have another digest".to_owned()),
            Err(error) => Some(format!("its file cannot be read: {error}")),
        }
    }

    fn damaged(&mut self, blob: &Blob, flaw: &str) -> Result<()> {
        let digest = blob.digest;
        self.report.damaged += 1;
        self.report.find(format!("{digest}: {flaw}; it answers as not found until it is pushed again"));
        let key = digest.to_key();
        let Some(bytes) = self.index.get(Table::Blobs, &key).map_err(index_error)? else { return Ok(()) };
        let record = BlobRecord { health: Health::Damaged, ..decoded(BlobRecord::decode(&bytes))? };
        self.writer.put(Table::Blobs, key, record.encode())
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
                self.report.bytes += tally.size;
                self.report.adopted += 1;
                return Ok(());
            }
        }
        self.report.unknown_files += 1;
        self.report.unknown_bytes += size;
        Ok(())
    }
}
