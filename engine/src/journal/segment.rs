//! The files of the journal: a header, then frames.
//!
//! ```text
//!   "orlop journal 1\n"  kind: u32  part: u32  sequence: u64  salt: u64  CRC of these: u32
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::frame::{Frame, HEAD_BYTES};

const MAGIC: &[u8; 16] = b"orlop journal 1\n";
/// Magic, kind, part, sequence, salt, CRC.
pub(super) const HEADER_BYTES: usize = 16 + 4 + 4 + 8 + 8 + 4;

/// A file of the journal is followed by another one when it has so many bytes; the last frame may
/// go beyond. It bounds what is read at a start, and what a reader holds.
pub(super) const SEGMENT_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// Changes as they were made.
    Log = 1,
    /// A part of all tables as they stood after a change.
    Base = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    /// Of a base: the number of this part, from 0.
    pub part: u32,
    /// Of a log: that of its first frame; frames of earlier files from there on do not count. Of a
    /// base: that of the last change it has.
    pub sequence: u64,
    /// Random, so that nobody outside can make frames.
    pub salt: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..20].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.part.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        if &header[..16] != MAGIC || crc32fast::hash(&header[..40]) != u32_at(40) {
            return None;
        }
        let kind = match u32_at(16) {
            1 => Kind::Log,
            2 => Kind::Base,
            _ => return None,
        };
        Some(Header { kind, part: u32_at(20), sequence: u64_at(24), salt: u64_at(32) })
    }
}

/// Makes a new file with a header and nothing else. The header is not synced.
pub(super) fn create(path: &Path, header: &Header) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&header.encode())?;
    Ok(file)
}

/// A file of the journal in memory.
pub(super) struct Segment {
    /// `None` if it cannot be read; then no frame can be told from anything else.
    pub header: Option<Header>,
    bytes: Vec<u8>,
}

/// What a file has at some place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Frame(Frame<'a>),
    /// Bytes that are no frame. At the end of a log they are what a crash cut off.
    Damage {
        offset: u64,
        bytes: u64,
    },
}

impl Segment {
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        Ok(Segment { header: Header::decode(&bytes), bytes })
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Everything behind the header, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let mut at = HEADER_BYTES.min(self.bytes.len());
        let salt = self.header.map(|header| header.salt);
        std::iter::from_fn(move || {
            let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
            if let Some((frame, len)) = salt.and_then(|salt| Frame::parse(rest, salt)) {
                at += len;
                return Some(Piece::Frame(frame));
            }
            let next = salt.and_then(|salt| self.next_frame(at + 1, salt)).unwrap_or(self.bytes.len());
            let damage = Piece::Damage { offset: at as u64, bytes: (next - at) as u64 };
            at = next;
            Some(damage)
        })
    }

    /// Where the next sound frame begins.
    fn next_frame(&self, mut from: usize, salt: u64) -> Option<usize> {
        while from + HEAD_BYTES <= self.bytes.len() {
            from = Frame::search(&self.bytes, from)?;
            if Frame::parse(&self.bytes[from..], salt).is_some() {
                return Some(from);
            }
            from += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        index::Table,
        journal::frame::{Entry, Framing},
    };

    const HEADER: Header = Header { kind: Kind::Log, part: 0, sequence: 7, salt: 3 };

    fn frame(sequence: u64, value: &[u8]) -> Vec<u8> {
        let mut framing = Framing::default();
        framing.begin();
        framing.push(Entry { table: Table::Names, key: b"k", value: Some(value) });
        framing.finish(sequence, HEADER.salt).expect("small").to_vec()
    }

    fn read(bytes: &[u8]) -> (Vec<u64>, Vec<(u64, u64)>) {
        let segment = Segment { header: Header::decode(bytes), bytes: bytes.to_vec() };
        let (mut frames, mut damages) = (Vec::new(), Vec::new());
        for piece in segment.pieces() {
            match piece {
                Piece::Frame(frame) => frames.push(frame.sequence),
                Piece::Damage { offset, bytes } => damages.push((offset, bytes)),
            }
        }
        (frames, damages)
    }

    #[test]
    fn the_header_is_what_it_was_and_damage_of_it_is_seen() {
        let bytes = HEADER.encode();
        assert_eq!(&bytes[..40], b"orlop journal 1\n\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
        assert_eq!(Header::decode(&bytes), Some(HEADER));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(Header::decode(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_log_cut_anywhere_gives_the_frames_that_are_whole() {
        let frames = [frame(7, b"one"), frame(8, &[5; 100]), frame(9, b"")];
        let whole = [&HEADER.encode()[..], &frames.concat()].concat();
        let ends: Vec<usize> = frames
            .iter()
            .scan(HEADER_BYTES, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        for cut in HEADER_BYTES..=whole.len() {
            let (found, damages) = read(&whole[..cut]);
            let expected: Vec<u64> =
                (7..).zip(&ends).filter(|(_, end)| **end <= cut).map(|(number, _)| number).collect();
            assert_eq!(found, expected, "cut to {cut} bytes");
            assert_eq!(damages.is_empty(), cut == HEADER_BYTES || ends.contains(&cut), "cut to {cut} bytes");
        }
    }

    #[test]
    fn frames_behind_damage_are_found_and_foreign_ones_are_not() {
        // Somebody pushed what looks like a frame: of another file, or of this format without salt.
        let mut foreign = Framing::default();
        foreign.begin();
        foreign.push(Entry { table: Table::Names, key: b"k", value: Some(b"evil") });
        let foreign = foreign.finish(8, 0).expect("small").to_vec();
        let frames = [frame(7, b"one"), frame(8, &foreign), frame(9, b"three")];
        let whole = [&HEADER.encode()[..], &frames.concat()].concat();
        let second = HEADER_BYTES + frames[0].len();
        for at in second..second + frames[1].len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            let (found, damages) = read(&changed);
            assert_eq!(found, [7, 9], "byte {at}");
            assert_eq!(damages, [(second as u64, frames[1].len() as u64)]);
        }
    }
}
