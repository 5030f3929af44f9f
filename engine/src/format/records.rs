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

/// `Garbage`: since (64 bits), then told (64 bits) if there is such an epoch. Without a version, as
/// it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandidateRecord {
    /// The epoch in which it lost what kept it, or came to be with nothing that keeps it.
    pub since: u64,
    /// The epoch in which somebody was last told that it is there.
    pub told: Option<u64>,
}

impl CandidateRecord {
    pub fn encode(&self) -> Vec<u8> {
        let told = self.told.map(u64::to_le_bytes);
        [self.since.to_le_bytes().as_slice(), told.as_ref().map_or(&[], |told| told.as_slice())].concat()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed { record: "candidate" };
        let (since, told) = bytes.split_at_checked(8).ok_or(malformed)?;
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| malformed);
        let told = if told.is_empty() { None } else { Some(number(told)?) };
        Ok(CandidateRecord { since: number(since)?, told })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EdgeKind, UploadId, digest::Hasher, format::keys};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn digest() -> Digest {
        Digest::from_bytes(Algorithm::Sha256, &[0xab; 32]).expect("32 bytes")
    }

    fn sums(content: &[u8]) -> ChunkSums {
        let mut sums = ChunkSums::default();
        sums.update(content);
        sums
    }

    /// The bytes of format 1. A change here is a new format: stores in the field have these.
    #[test]
    fn the_format_is_what_it_was() {
        let blob = BlobRecord {
            health: Health::Sound,
            placement: Placement::File,
            size: 65_537,
            sums: sums(&[0; 65_537]).finish(),
        };
        assert_eq!(hex(&blob.encode()), "01010201000100000000001002000000eb8e97d78def02d2");
        let member = MemberRecord { since_unix_ms: 1, label: b"type".to_vec() };
        assert_eq!(hex(&member.encode()), "01010000000000000074797065");
        let name = NameRecord { bound_unix_ms: 2, digest: digest() };
        assert_eq!(hex(&name.encode()), format!("01020000000000000001{}", "ab".repeat(32)));
        let candidate = CandidateRecord { since: 4, told: None };
        assert_eq!(hex(&candidate.encode()), "0400000000000000");
        let leased = CandidateRecord { since: 4, told: Some(5) };
        assert_eq!(hex(&leased.encode()), "04000000000000000500000000000000");
        let upload = UploadRecord {
            namespace: Namespace::new("a").expect("valid"),
            algorithm: Algorithm::Blake3,
            offset: 3,
            hash_state: SavedState(vec![7]),
            sums: sums(b"abc"),
            sink: UploadSink::Memory(b"abc".to_vec()),
        };
        let expected = "01030300000000000000010000000701000000611000000000c241243503000000000000000161626";
        assert_eq!(hex(&upload.encode()), format!("{expected}3"));
    }

    #[test]
    fn keys_are_what_they_were_and_come_apart_again() {
        let ns = Namespace::new("a/b").expect("valid");
        let (ab, named) = ("ab".repeat(32), "612f6200");
        assert_eq!(hex(&keys::member(&ns, &digest())), format!("{named}01{ab}"));
        assert_eq!(hex(&keys::holder(&digest(), &ns)), format!("01{ab}612f62"));
        assert_eq!(hex(&keys::name(&ns, "v1")), format!("{named}7631"));
        assert_eq!(hex(&keys::binding(&ns, &digest(), "v1")), format!("{named}01{ab}7631"));
        let edge = keys::edge(&ns, &digest(), EdgeKind::Refers, &digest());
        assert_eq!(hex(&edge), format!("{named}01{ab}0201{ab}"));
        assert_eq!(hex(&keys::unheld(&digest())), format!("0001{ab}"));
        assert_eq!(hex(&keys::emptied(&ns)), named);
        assert_eq!(hex(keys::EPOCH), hex(b"epoch"));

        assert_eq!(keys::split_member(&keys::member(&ns, &digest())), Some((ns.clone(), digest())));
        assert_eq!(keys::split_holder(&keys::holder(&digest(), &ns)), Some((digest(), ns.clone())));
        assert_eq!(keys::split_binding(&keys::binding(&ns, &digest(), "v1")), Some((ns.clone(), digest(), "v1")));
        assert_eq!(keys::split_edge(&edge), Some((ns, digest(), EdgeKind::Refers, digest())));
        let id: UploadId = "000102030405060708090a0b0c0d0e0f".parse().expect("an id");
        assert_eq!(hex(&id.to_key()), "000102030405060708090a0b0c0d0e0f");
    }

    #[test]
    fn records_come_back_and_every_cut_or_longer_one_is_refused() {
        let state = Hasher::new(Algorithm::Sha256).save().expect("storable");
        let blob =
            BlobRecord { health: Health::Damaged, placement: Placement::Inline, size: 9, sums: sums(&[1; 9]).finish() };
        let name = NameRecord { bound_unix_ms: 5, digest: digest() };
        let leased = CandidateRecord { since: 4, told: Some(u64::MAX) };
        let upload = UploadRecord {
            namespace: Namespace::new("x").expect("valid"),
            algorithm: Algorithm::Sha256,
            offset: 70_000,
            hash_state: state,
            sums: sums(&[3; 70_000]),
            sink: UploadSink::File,
        };
        assert_eq!(BlobRecord::decode(&blob.encode()), Ok(blob.clone()));
        assert_eq!(NameRecord::decode(&name.encode()), Ok(name.clone()));
        let back = UploadRecord::decode(&upload.encode()).expect("own bytes");
        assert_eq!((back.offset, back.sink, back.hash_state), (70_000, UploadSink::File, upload.hash_state.clone()));
        for record in [leased, CandidateRecord { told: None, ..leased }] {
            assert_eq!(CandidateRecord::decode(&record.encode()), Ok(record));
        }
        for cut in (0..8).chain(9..16).chain(17..20) {
            assert!(CandidateRecord::decode(&[1; 20][..cut]).is_err(), "{cut} bytes");
        }
        for (record, accepts) in [
            (blob.encode(), (|bytes| BlobRecord::decode(bytes).is_ok()) as fn(&[u8]) -> bool),
            (name.encode(), |bytes| NameRecord::decode(bytes).is_ok()),
            (upload.encode(), |bytes| UploadRecord::decode(bytes).is_ok()),
        ] {
            for cut in 0..record.len() {
                assert!(!accepts(&record[..cut]), "cut at {cut}");
            }
            assert!(!accepts(&[record.as_slice(), &[0]].concat()), "a byte too many");
        }
    }
}
