//! The index against the disk: invariants 1, 2, 3 and 7.

use super::{Report, each};
use crate::{
    Digest,
    error::{Error, Result},
    format::{BlobRecord, Health, Placement, UploadRecord, UploadSink},
    index::{Index, Table},
    ingest::{UploadId, uploads_path},
    io::{Disk, Pool},
    store::index_error,
    tier::{Listed, Stored, Tier},
    verify::Tally,
};

/// Bytes read at once while files are hashed.
const READ_BYTES: usize = 1 << 20;

/// Bytes that are read first: files that end within them need no large buffer.
const FIRST_BYTES: usize = 64 << 10;

pub(super) async fn check(index: &dyn Index, disk: &dyn Disk, tier: &dyn Tier, report: &mut Report) -> Result<()> {
    let mut records = Vec::new();
    each(index, Table::Blobs, &[], |(key, value)| {
        // Malformed entries were reported with the tables.
        if let (Some((digest, [])), Ok(record)) = (Digest::decode(&key), BlobRecord::decode(&value)) {
            records.push((digest, record.placement, record.health));
        }
        Ok(())
    })?;
    for (digest, placement, health) in records {
        if health == Health::Sound {
            check_blob(index, tier, report, &digest, placement).await?;
        }
    }
    check_files(index, tier, report).await?;
    check_uploads(index, disk, report).await
}

/// Reads one blob whole: length, digest and chunk checksums.
async fn check_blob(
    index: &dyn Index,
    tier: &dyn Tier,
    report: &mut Report,
    digest: &Digest,
    placement: Placement,
) -> Result<()> {
    let Some(record) = index.get(Table::Blobs, &digest.to_key()).map_err(index_error)? else { return Ok(()) };
    let record = BlobRecord::decode(&record)?;
    let mut tally = Tally::new(digest);
    match placement {
        Placement::Inline => match index.get(Table::Bytes, &digest.to_key()).map_err(index_error)? {
            Some(bytes) => tally.add(&bytes),
            None => {
                report.find(1, format!("{digest}: its inline bytes are missing"));
                return Ok(());
            }
        },
        Placement::File => {
            if let Err(error) = read_file(tier, digest, &mut tally).await {
                report.find(1, format!("{digest}: its file cannot be read: {error}"));
                return Ok(());
            }
        }
    }
    report.blobs += 1;
    report.bytes += tally.size;
    if tally.size != record.size {
        report.find(1, format!("{digest}: {} bytes expected, {} found", record.size, tally.size));
    }
    let found = tally.hasher.finish();
    if found != *digest {
        report.find(2, format!("{digest}: its bytes have the digest {found}"));
    } else if tally.sums.finish() != record.sums {
        report.find(2, format!("{digest}: its chunk checksums do not match its bytes"));
    }
    Ok(())
}

/// Adds up a whole file.
pub(crate) async fn read_file(tier: &dyn Tier, digest: &Digest, tally: &mut Tally) -> std::io::Result<()> {
    let file = tier.open(digest).await?;
    let pool = Pool::new(READ_BYTES);
    let mut wanted = FIRST_BYTES;
    loop {
        let buffer = tier.read(&file, pool.take(wanted).await, tally.size, wanted).await?;
        tally.add(buffer.filled());
        if buffer.len() < wanted {
            return Ok(());
        }
        wanted = READ_BYTES;
    }
}

/// Every file under a final name is known, or complete and only left over.
async fn check_files(index: &dyn Index, tier: &dyn Tier, report: &mut Report) -> Result<()> {
    for (_, bytes) in tier.strays().await.map_err(|source| Error::io("listing blobs", source))? {
        report.unreferenced += 1;
        report.unreferenced_bytes += bytes;
    }
    let occupied = tier.occupied().await.map_err(|source| Error::io("listing blobs", source))?;
    for shard in occupied {
        let listed = tier.list(shard).await.map_err(|source| Error::io("listing blobs", source))?;
        for entry in listed {
            match entry {
                Listed::Foreign(path) => report.find(3, format!("{path} is nothing the store puts there")),
                Listed::Stored(stored) => check_stored(index, tier, report, stored).await?,
            }
        }
    }
    Ok(())
}

async fn check_stored(index: &dyn Index, tier: &dyn Tier, report: &mut Report, stored: Stored) -> Result<()> {
    let record = index.get(Table::Blobs, &stored.digest.to_key()).map_err(index_error)?;
    if record.is_some() {
        return Ok(());
    }
    let mut tally = Tally::new(&stored.digest);
    match read_file(tier, &stored.digest, &mut tally).await {
        Ok(()) if tally.hasher.finish() == stored.digest => {
            report.unreferenced += 1;
            report.unreferenced_bytes += stored.size;
        }
        Ok(()) => report.find(3, format!("{} is incomplete under its final name", stored.digest)),
        Err(error) => report.find(3, format!("{} cannot be read: {error}", stored.digest)),
    }
    Ok(())
}

async fn check_uploads(index: &dyn Index, disk: &dyn Disk, report: &mut Report) -> Result<()> {
    let mut files = Vec::new();
    each(index, Table::Uploads, &[], |(key, value)| {
        report.uploads += 1;
        match (UploadId::from_key(&key), UploadRecord::decode(&value)) {
            (Some(id), Ok(record)) if record.sink == UploadSink::File => files.push((id.to_string(), record.offset)),
            (Some(_), Ok(_)) => {}
            _ => report.find(7, format!("a malformed upload record {key:02x?}")),
        }
        Ok(())
    })?;
    let entries = disk.list(&uploads_path()).await.map_err(|source| Error::io("reading the upload area", source))?;
    for entry in &entries {
        if !files.iter().any(|(id, _)| *id == entry.name) {
            report.find(7, format!("uploads/{} belongs to no known session", entry.name));
        }
    }
    for (id, offset) in files {
        match entries.iter().find(|entry| entry.name == id) {
            Some(entry) if entry.size >= offset => {}
            Some(entry) => {
                report.find(7, format!("uploads/{id} has {} bytes, its session counts {offset}", entry.size))
            }
            None => report.find(7, format!("uploads/{id} is missing")),
        }
    }
    Ok(())
}
