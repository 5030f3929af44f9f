//! The changes of one group as bytes: a frame.
//!
//! ```text
//!   "OjF1"  length: u32  sequence: u64  payload CRC: u32  head CRC: u32  payload
//! ```
//!
//! All integers are little-endian, checksums are CRC-32 (IEEE 802.3). The payload is entries, each
//! with a table's code (8 bits, the highest one set for a deletion), a key (length of 16 bits, bytes)
//! and, unless it is a deletion, a value (length of 32 bits, bytes). The head's checksum begins with
//! the salt of the file: content that somebody pushed cannot look like a frame, so frames can be
//! searched for behind damage.

use crate::index::Table;

/// What every frame begins with.
const MAGIC: &[u8; 4] = b"OjF1";
/// Magic, length, sequence, payload CRC, head CRC.
pub(super) const HEAD_BYTES: usize = 4 + 4 + 8 + 4 + 4;
/// A group is closed at 8 MiB, and one change on top of that is far below the rest.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;
/// Set in the code of a table for a deletion.
const DELETED: u8 = 0x80;

/// One key of a table, and what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub table: Table,
    pub key: &'a [u8],
    /// Nothing: deleted.
    pub value: Option<&'a [u8]>,
}

/// A frame whose checksums hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub sequence: u64,
    payload: &'a [u8],
}

/// A frame in the making, in memory that is used again.
#[derive(Default)]
pub(super) struct Framing {
    bytes: Vec<u8>,
}

impl Framing {
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
    }

    pub fn push(&mut self, entry: Entry<'_>) {
        let deleted = if entry.value.is_none() { DELETED } else { 0 };
        let key_len = u16::try_from(entry.key.len()).expect("a key is a namespace, two digests and a name at most");
        self.bytes.push(code(entry.table) | deleted);
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(entry.key);
        if let Some(value) = entry.value {
            let len = u32::try_from(value.len()).expect("a value is far below 4 GiB");
            self.bytes.extend_from_slice(&len.to_le_bytes());
            self.bytes.extend_from_slice(value);
        }
    }

    /// Bytes of the frame so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= HEAD_BYTES
    }

    /// The frame, ready to be written. `None`: it is too large to be one.
    pub fn finish(&mut self, sequence: u64, salt: u64) -> Option<&[u8]> {
        let (head, payload) = self.bytes.split_at_mut(HEAD_BYTES);
        let len = u32::try_from(payload.len()).ok().filter(|len| *len as usize <= PAYLOAD_BYTES_MAX)?;
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&len.to_le_bytes());
        head[8..16].copy_from_slice(&sequence.to_le_bytes());
        head[16..20].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let crc = head_crc(&head[..20], salt);
        head[20..].copy_from_slice(&crc.to_le_bytes());
        Some(&self.bytes)
    }
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with, and how many bytes it has.
    pub(super) fn parse(bytes: &'a [u8], salt: u64) -> Option<(Self, usize)> {
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        if &head[..4] != MAGIC || head_crc(&head[..20], salt).to_le_bytes() != head[20..] {
            return None;
        }
        let payload = rest.get(..u32_at(head, 4) as usize)?;
        if crc32fast::hash(payload) != u32_at(head, 16) {
            return None;
        }
        let sequence = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        Some((Frame { sequence, payload }, HEAD_BYTES + payload.len()))
    }

    /// Where the next frame may begin, at or after `from`.
    pub(super) fn search(bytes: &[u8], from: usize) -> Option<usize> {
        bytes.get(from..)?.windows(MAGIC.len()).position(|window| window == MAGIC).map(|at| from + at)
    }

    /// The entries in their order; `None` in place of one that no version wrote, which is the last.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Option<Entry<'a>>> + use<'a> {
        let mut rest = self.payload;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let entry = take_entry(rest);
            rest = entry.map_or(&[], |(_, rest)| rest);
            Some(entry.map(|(entry, _)| entry))
        })
    }

    /// A frame without entries ends a base.
    pub(super) fn is_end(&self) -> bool {
        self.payload.is_empty()
    }
}

fn take_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (code, rest) = bytes.split_first()?;
    let table = table(code & !DELETED)?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    if code & DELETED != 0 {
        return Some((Entry { table, key, value: None }, rest));
    }
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((Entry { table, key, value: Some(value) }, rest))
}

fn head_crc(head: &[u8], salt: u64) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(head);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The tables that frames can have, with their codes on disk.
const CODES: [(Table, u8); 10] = [
    (Table::Meta, 1),
    (Table::Blobs, 2),
    (Table::Bytes, 3),
    (Table::Members, 4),
    (Table::Namespaces, 5),
    (Table::Names, 6),
    (Table::Edges, 7),
    (Table::Reverse, 8),
    (Table::Usage, 9),
    (Table::Damaged, 10),
];

fn code(table: Table) -> u8 {
    CODES
        .iter()
        .find(|(known, _)| *known == table)
        .map(|(_, code)| *code)
        .expect("only tables of the journal come here")
}

fn table(code: u8) -> Option<Table> {
    CODES.iter().find(|(_, known)| *known == code).map(|(table, _)| *table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Digest, EdgeKind, Namespace, format::keys, journal::is_journaled};

    const SALT: u64 = 0x0102_0304_0506_0708;

    fn framed(sequence: u64) -> Vec<u8> {
        let mut framing = Framing::default();
        framing.begin();
        framing.push(Entry { table: Table::Names, key: b"a\0v1", value: Some(b"xyz") });
        framing.push(Entry { table: Table::Members, key: b"b", value: None });
        framing.finish(sequence, SALT).expect("small").to_vec()
    }

    /// The bytes of format 1. A change here is a new format: stores in the field have these.
    #[test]
    fn every_table_of_the_journal_has_a_code() {
        let namespace = Namespace::new("a").expect("valid");
        let digest = Digest::of(Algorithm::Sha256, b"");
        let referring = keys::edge(&namespace, &digest, EdgeKind::Refers, &digest);
        for table in Table::ALL {
            let keys = [keys::EPOCH, &referring];
            let is_journaled = keys.iter().any(|key| is_journaled(table, key));
            let code = CODES.iter().find(|(known, _)| *known == table);
            assert_eq!(code.is_some(), is_journaled, "{table:?}");
        }
    }

    #[test]
    fn the_format_is_what_it_was() {
        let hex: String = framed(5).iter().map(|byte| format!("{byte:02x}")).collect();
        let payload = "060400610076310300000078797a84010062";
        assert_eq!(hex, format!("4f6a46311200000005000000000000003b04586dc9bfb65d{payload}"));
    }

    #[test]
    fn entries_come_back() {
        let bytes = framed(9);
        let (frame, len) = Frame::parse(&bytes, SALT).expect("own bytes");
        assert_eq!((frame.sequence, len), (9, bytes.len()));
        let entries: Vec<_> = frame.entries().collect();
        assert_eq!(
            entries,
            [
                Some(Entry { table: Table::Names, key: b"a\0v1", value: Some(b"xyz") }),
                Some(Entry { table: Table::Members, key: b"b", value: None }),
            ]
        );
    }

    #[test]
    fn a_cut_or_changed_frame_is_none_and_neither_is_one_of_another_file() {
        let bytes = framed(9);
        for at in 0..bytes.len() {
            assert_eq!(Frame::parse(&bytes[..at], SALT), None, "cut to {at} bytes");
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Frame::parse(&changed, SALT), None, "byte {at} was changed");
        }
        assert_eq!(Frame::parse(&bytes, SALT + 1), None);
    }

    #[test]
    fn entries_that_no_version_wrote_end_the_frame() {
        for payload in [&[0x7f_u8, 0, 0][..], &[1], &[1, 9, 0, 1], &[1, 0, 0, 9, 0, 0, 0, 1]] {
            let frame = Frame { sequence: 1, payload };
            assert_eq!(frame.entries().collect::<Vec<_>>(), [None], "{payload:?}");
        }
    }
}
