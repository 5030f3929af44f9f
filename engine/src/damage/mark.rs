//! Damage in the index, on the commit thread.
//!
//! Between the look at the bytes and the mark, the content may have been collected, and pushed again.
//! So the record must still be the one whose bytes were looked at. Bytes in the index are looked at
//! once more here; a file cannot have changed, because who marks holds the lock of its digest.

use crate::{
    Digest,
    commit::{Transaction, decoded},
    error::Result,
    format::{BlobRecord, DamageRecord, Health, Placement},
    index::Table,
    verify::Tally,
};

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marked {
    /// The content was taken for sound until now, or its damage was not on the list.
    New,
    /// It was on the list already.
    Known,
    /// The record is not the one that was seen, or the bytes are right after all.
    Changed,
}

/// Records that the bytes of `seen` are wrong.
pub(super) fn mark(
    transaction: &mut Transaction<'_>,
    digest: &Digest,
    seen: &BlobRecord,
    damage: &DamageRecord,
) -> Result<Marked> {
    let key = digest.to_key();
    let Some(record) = same(transaction, digest, seen)? else { return Ok(Marked::Changed) };
    if record.health == Health::Damaged && transaction.contains(Table::Damaged, &key)? {
        return Ok(Marked::Known);
    }
    if record.placement == Placement::Inline && is_inline_sound(transaction, digest, &record) {
        return Ok(Marked::Changed);
    }
    transaction.put(Table::Blobs, key.clone(), BlobRecord { health: Health::Damaged, ..record }.encode());
    transaction.put(Table::Damaged, key, damage.encode());
    Ok(Marked::New)
}

/// What became of a mark that everything is right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// The content was damaged until now, and on the list or not.
    Sound { was_listed: bool },
    /// The record is not the one that was seen, or the bytes are wrong after all.
    Changed,
}

/// Records that the bytes of `seen`, which is damaged, were found right.
pub(crate) fn mark_sound(transaction: &mut Transaction<'_>, digest: &Digest, seen: &BlobRecord) -> Result<Unmarked> {
    let Some(record) = same(transaction, digest, seen)? else { return Ok(Unmarked::Changed) };
    let is_wrong = record.placement == Placement::Inline && !is_inline_sound(transaction, digest, &record);
    if record.health != Health::Damaged || is_wrong {
        return Ok(Unmarked::Changed);
    }
    let was_listed = clear(transaction, digest)?;
    transaction.put(Table::Blobs, digest.to_key(), BlobRecord { health: Health::Sound, ..record }.encode());
    Ok(Unmarked::Sound { was_listed })
}

/// Takes content off the list: it is stored anew, or gone. Gives whether it was on it.
pub(crate) fn clear(transaction: &mut Transaction<'_>, digest: &Digest) -> Result<bool> {
    let key = digest.to_key();
    let is_listed = transaction.contains(Table::Damaged, &key)?;
    if is_listed {
        transaction.delete(Table::Damaged, key);
    }
    Ok(is_listed)
}

/// The record, if it speaks of the same bytes as the one that was seen.
fn same(transaction: &Transaction<'_>, digest: &Digest, seen: &BlobRecord) -> Result<Option<BlobRecord>> {
    let Some(bytes) = transaction.get(Table::Blobs, &digest.to_key())? else { return Ok(None) };
    let record = decoded(BlobRecord::decode(&bytes))?;
    let is_same = record.placement == seen.placement && record.size == seen.size && record.sums == seen.sums;
    Ok(is_same.then_some(record))
}

/// Whether the bytes in the index are what the record says. At most 1 MiB.
fn is_inline_sound(transaction: &Transaction<'_>, digest: &Digest, record: &BlobRecord) -> bool {
    // Bytes that the index cannot read are not sound.
    let Ok(Some(bytes)) = transaction.get(Table::Bytes, &digest.to_key()) else { return false };
    let mut tally = Tally::new(digest);
    tally.add(&bytes);
    tally.compare(digest, record).is_none()
}
