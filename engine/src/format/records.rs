//! Values of the index tables.

use super::{
    codec::{Decoder, Encoder, Malformed},
    sums::{ChunkSums, Sums},
};
use crate::{Algorithm, Digest, Namespace, digest::SavedState};

const RECORD_VERSION: u8 = 1;

/// Where a blob's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Placement {
    /// In the table `Bytes`.
    Inline = 1,
    /// In a file of its own.
    File = 2,
}

/// Whether a blob's bytes were found to differ from what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    Sound = 1,
    /// Answers as not found until the content is pushed again.
    Damaged = 2,
}

/// `Blobs`: version, health, placement (8 bits each), size (64 bits), sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecord {
    pub health: Health,
    pub placement: Placement,
    /// Bytes.
    pub size: u64,
    pub sums: Sums,
}

impl BlobRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u8(self.health as u8);
        out.u8(self.placement as u8);
        out.u64(self.size);
        self.sums.encode(&mut out);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("blob", RECORD_VERSION, bytes)?;
        let health = match from.u8()? {
            1 => Health::Sound,
            2 => Health::Damaged,
            _ => return Err(from.malformed()),
        };
        let placement = match from.u8()? {
            1 => Placement::Inline,
            2 => Placement::File,
            _ => return Err(from.malformed()),
        };
        let size = from.u64()?;
        let sums = Sums::decode(&mut from)?;
        if size.div_ceil(sums.chunk_bytes) != sums.sums.len() as u64 {
            return Err(from.malformed());
        }
        from.finish()?;
        Ok(BlobRecord { health, placement, size, sums })
    }
}

/// `Members`: version (8 bits), time (64 bits), label to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// When it became a member, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// What the caller wants to know about this member; empty for plain content.
    pub label: Vec<u8>,
}

impl MemberRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.since_unix_ms);
        out.rest(&self.label);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("member", RECORD_VERSION, bytes)?;
        Ok(MemberRecord { since_unix_ms: from.u64()?, label: from.rest().to_vec() })
    }
}

/// `Names`: version (8 bits), time (64 bits), digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// When it was bound, milliseconds since 1970.
    pub bound_unix_ms: u64,
    pub digest: Digest,
}

impl NameRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.bound_unix_ms);
        self.digest.encode(out.raw());
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("name", RECORD_VERSION, bytes)?;
        let bound_unix_ms = from.u64()?;
        let digest = from.with(Digest::decode)?;
        from.finish()?;
        Ok(NameRecord { bound_unix_ms, digest })
    }
}

/// Where the bytes of a suspended upload are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadSink {
    /// In the record itself: not more than fits inline.
    Memory(Vec<u8>),
    /// In the file `uploads/ID`.
    File,
}

/// `Uploads`: version, algorithm (8 bits each), offset (64 bits), hash state and namespace (length
/// of 32 bits, bytes), sums, sink (8 bits), bytes to the end. Everything up to `offset` is durable
/// when the record is written.
#[derive(Clone)]
pub struct UploadRecord {
    pub namespace: Namespace,
    pub algorithm: Algorithm,
    /// Bytes received.
    pub offset: u64,
    /// Empty when the algorithm's state cannot be stored: hash the bytes again.
    pub hash_state: SavedState,
    pub sums: ChunkSums,
    pub sink: UploadSink,
}

impl UploadRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u8(self.algorithm as u8);
        out.u64(self.offset);
        out.bytes(&self.hash_state.0);
        out.bytes(self.namespace.as_str().as_bytes());
        self.sums.encode(&mut out);
        match &self.sink {
            UploadSink::Memory(bytes) => {
                out.u8(1);
                out.rest(bytes);
            }
            UploadSink::File => out.u8(2),
        }
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("upload", RECORD_VERSION, bytes)?;
        let algorithm = Algorithm::from_code(from.u8()?).ok_or(from.malformed())?;
        let offset = from.u64()?;
        let hash_state = SavedState(from.bytes()?.to_vec());
        let namespace = std::str::from_utf8(from.bytes()?).ok().and_then(|text| Namespace::new(text).ok());
        let namespace = namespace.ok_or(from.malformed())?;
        let sums = ChunkSums::decode(&mut from)?;
        let malformed = from.malformed();
        let sink = match (from.u8()?, from.rest()) {
            (1, bytes) if bytes.len() as u64 == offset => UploadSink::Memory(bytes.to_vec()),
            (2, []) => UploadSink::File,
            _ => return Err(malformed),
        };
        Ok(UploadRecord { namespace, algorithm, offset, hash_state, sums, sink })
    }
}
