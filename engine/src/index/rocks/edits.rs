//! RocksDB's list of files, read as far as it must be understood here.
//!
//! In: the bytes of a list. Out: its changes in order, each with the tables that it adds and removes and whether
//! it is nothing but a compaction. What is not known gives no answer at all rather than half of one.
//!
//! The format is RocksDB's: records of its log (`db/log_format.h`), each of which, put together from its pieces,
//! is a version edit (`db/version_edit.h`): numbered fields whose payloads are varints and strings with lengths.

use super::versions::{BLOCK_BYTES, HEADER_BYTES, record_end};

/// Kinds of pieces of a record: all of it, the first, one in the middle, the last.
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Fields of a version edit.
const COMPARATOR: u64 = 1;
const LOG_NUMBER: u64 = 2;
const NEXT_FILE: u64 = 3;
const LAST_SEQUENCE: u64 = 4;
const CURSOR: u64 = 5;
const DELETED_FILE: u64 = 6;
const PREVIOUS_LOG: u64 = 9;
const LOG_NUMBER_MIN: u64 = 10;
const NEW_FILE: u64 = 103;
const TABLE: u64 = 200;
const TABLE_ADDED: u64 = 201;
const TABLE_DROPPED: u64 = 202;
const TABLES_MAX: u64 = 203;
const VALUE_FILE: u64 = 400;
const VALUE_GARBAGE: u64 = 401;
/// From here on every field but the [`OLD`] ones is a string, so that older versions can pass over it.
const IGNORABLE: u64 = 1 << 13;
/// Ignorable fields of versions that did not keep to that.
const OLD: std::ops::RangeInclusive<u64> = IGNORABLE + 2..=IGNORABLE + 5;

/// Ends the optional parts of a new file, and those of a file of values.
const NEW_FILE_END: u64 = 1;
const VALUE_FILE_END: u64 = 0;

/// One change of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edit {
    /// Where its record begins in the list.
    pub at: usize,
    /// Numbers of files.
    pub added: Vec<u64>,
    pub removed: Vec<u64>,
    /// It replaces tables by others with the same content and says nothing about logs, tables or large values
    /// that are of no use any more.
    pub is_compaction: bool,
}

/// The changes of a list, in order. `None` if a part of it is damaged or unknown; a last one that ends early is
/// left out, as RocksDB does.
pub(super) fn edits(bytes: &[u8]) -> Option<Vec<Edit>> {
    let (mut edits, mut at) = (Vec::new(), 0);
    // The record whose pieces are being put together, and where it began.
    let mut open: Option<(usize, Vec<u8>)> = None;
    while at < bytes.len() {
        let rest = BLOCK_BYTES - at % BLOCK_BYTES;
        if rest < HEADER_BYTES {
            at += rest;
            continue;
        }
        let end = match record_end(bytes, at) {
            Some(Ok(end)) => end,
            None if ends_early(bytes, at) => break,
            Some(Err(_)) | None => return None,
        };
        let payload = &bytes[at + HEADER_BYTES..end];
        let whole = match (bytes[at + HEADER_BYTES - 1], open.take()) {
            (WHOLE, None) => Some((at, payload.to_vec())),
            (FIRST, None) => {
                open = Some((at, payload.to_vec()));
                None
            }
            (MIDDLE, Some((begin, pieces))) => {
                open = Some((begin, [pieces.as_slice(), payload].concat()));
                None
            }
            (LAST, Some((begin, pieces))) => Some((begin, [pieces.as_slice(), payload].concat())),
            _ => return None,
        };
        if let Some((begin, record)) = whole {
            edits.push(decode(begin, &record)?);
        }
        at = end;
    }
    Some(edits)
}

/// Whether the list ends before the piece at `at` does.
fn ends_early(bytes: &[u8], at: usize) -> bool {
    let rest = &bytes[at..];
    match rest.get(4..HEADER_BYTES) {
        None => true,
        Some(header) => {
            let length = u16::from_le_bytes([header[0], header[1]]) as usize;
            (WHOLE..=LAST).contains(&header[2]) && rest.len() < HEADER_BYTES + length
        }
    }
}

fn decode(at: usize, record: &[u8]) -> Option<Edit> {
    let mut edit = Edit { at, ..Edit::default() };
    let mut is_other = false;
    let mut input = Input(record);
    while !input.0.is_empty() {
        let field = input.number()?;
        is_other |= !matches!(
            field,
            NEXT_FILE | LAST_SEQUENCE | CURSOR | DELETED_FILE | PREVIOUS_LOG | NEW_FILE | TABLE | VALUE_FILE
        );
        match field {
            LOG_NUMBER | NEXT_FILE | LAST_SEQUENCE | PREVIOUS_LOG | LOG_NUMBER_MIN | TABLE | TABLES_MAX => {
                input.number()?;
            }
            COMPARATOR | TABLE_ADDED => input.text()?,
            TABLE_DROPPED => {}
            CURSOR => {
                input.number()?;
                input.text()?;
            }
            DELETED_FILE => {
                input.number()?;
                edit.removed.push(input.number()?);
            }
            NEW_FILE => edit.added.push(input.new_file()?),
            VALUE_FILE => input.value_file()?,
            VALUE_GARBAGE => {
                input.numbers(3)?;
                input.options(VALUE_FILE_END)?;
            }
            other if other > IGNORABLE && !OLD.contains(&other) => input.text()?,
            _ => return None,
        }
    }
    edit.is_compaction = !is_other && !edit.removed.is_empty();
    Some(edit)
}

/// What is left of a record.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    /// A varint: seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return Some(number);
            }
        }
        None
    }

    fn numbers(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    fn text(&mut self) -> Option<()> {
        let length = usize::try_from(self.number()?).ok()?;
        self.0 = self.0.get(length..)?;
        Some(())
    }

    /// Numbered strings up to the number that ends them.
    fn options(&mut self, end: u64) -> Option<()> {
        while self.number()? != end {
            self.text()?;
        }
        Some(())
    }

    /// Level, number, size, the smallest and the largest key, the range of its changes.
    fn new_file(&mut self) -> Option<u64> {
        self.number()?;
        let number = self.number()?;
        self.number()?;
        self.text()?;
        self.text()?;
        self.numbers(2)?;
        self.options(NEW_FILE_END)?;
        Some(number)
    }

    /// Number, count and bytes of values, how its checksum is made, the checksum.
    fn value_file(&mut self) -> Option<()> {
        self.numbers(3)?;
        self.text()?;
        self.text()?;
        self.options(VALUE_FILE_END)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A change that replaces tables.
    pub fn compaction(removed: &[u8], added: &[u8]) -> Vec<u8> {
        // Fields from 128 on take two bytes.
        let mut bytes = vec![200, 1, 3];
        for number in removed {
            bytes.extend([6, 0, *number]);
        }
        for number in added {
            bytes.extend([103, 6, *number, 9, 1, b'a', 1, b'z', 1, 2, 5, 1, 0, 1]);
        }
        bytes.extend([9, 0, 3, 40, 4, 50]);
        bytes
    }

    /// A change that a table was written from the log.
    pub fn flush(added: u8) -> Vec<u8> {
        let mut bytes = vec![2, 7];
        bytes.extend([103, 0, added, 9, 1, b'a', 1, b'z', 1, 2, 1]);
        bytes
    }

    #[test]
    fn changes_say_what_they_add_and_remove() {
        let edit = decode(3, &compaction(&[4, 5], &[6])).expect("known fields");
        assert_eq!(edit, Edit { at: 3, added: vec![6], removed: vec![4, 5], is_compaction: true });
        let edit = decode(0, &flush(8)).expect("known fields");
        assert_eq!(edit, Edit { at: 0, added: vec![8], removed: vec![], is_compaction: false });
        // An ignorable field, and one that is not.
        assert!(decode(0, &[0x81, 0x40, 2, b'i', b'd']).is_some_and(|edit| !edit.is_compaction));
        assert_eq!(decode(0, &[0x83, 0x40, 2, b'i', b'd']), None);
        assert_eq!(decode(0, &[99, 1]), None);
    }

    #[test]
    fn a_change_that_is_cut_anywhere_is_none_or_less() {
        let whole = compaction(&[4], &[6]);
        for end in 1..whole.len() {
            if let Some(edit) = decode(0, &whole[..end]) {
                assert!(edit.added.len() + edit.removed.len() <= 2, "{end}");
            }
        }
    }
}
