//! Values of the index tables.

use super::{
    codec::{Decoder, Encoder, Malformed},
    sums::{ChunkSums, Sums},
};
use crate::{
    Algorithm, Digest, Namespace,
    clock::Moment,
    digest::SavedState,
    ingest::{UploadHome, UploadOwner},
};

const RECORD_VERSION: u8 = 1;

/// Names have a time by the store's clock since this version.
const NAME_VERSION: u8 = 2;

/// Uploads have an owner since this version, if they have one.
const OWNED_UPLOAD_VERSION: u8 = 2;

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
    /// When it became a member, milliseconds by the store's clock.
    pub since_clock_ms: u64,
    /// What the caller wants to know about this member; empty for plain content.
    pub label: Vec<u8>,
}

impl MemberRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.since_clock_ms);
        out.rest(&self.label);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("member", RECORD_VERSION, bytes)?;
        Ok(MemberRecord { since_clock_ms: from.u64()?, label: from.rest().to_vec() })
    }
}

/// `Names`: version 2 (8 bits), wall clock, store's clock (64 bits each), digest. Version 1 has only
/// the wall clock, at which the store's clock of those times is taken to have stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRecord {
    /// When it was bound.
    pub bound: Moment,
    pub digest: Digest,
}

impl NameRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(NAME_VERSION);
        out.u64(self.bound.unix_ms);
        out.u64(self.bound.clock_ms);
        self.digest.encode(out.raw());
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let is_current = bytes.first() == Some(&NAME_VERSION);
        let version = if is_current { NAME_VERSION } else { RECORD_VERSION };
        let mut from = Decoder::new("name", version, bytes)?;
        let unix_ms = from.u64()?;
        let clock_ms = if is_current { from.u64()? } else { unix_ms };
        let digest = from.with(Digest::decode)?;
        from.finish()?;
        Ok(NameRecord { bound: Moment { unix_ms, clock_ms }, digest })
    }
}

/// `Sizes` of quotas, and the number of namespaces: version (8 bits), used and allowed (64 bits
/// each).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowanceRecord {
    pub used: u64,
    /// What is used may be more than this, if it was lowered.
    pub max: u64,
}

impl AllowanceRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.used);
        out.u64(self.max);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("allowance", RECORD_VERSION, bytes)?;
        let (used, max) = (from.u64()?, from.u64()?);
        from.finish()?;
        Ok(AllowanceRecord { used, max })
    }
}

/// `Usage`: version (8 bits), pulls, wall clock and store's clock of the last one (64 bits each).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRecord {
    /// How often the document was pulled; at least 1.
    pub pulls: u64,
    /// When it was pulled last.
    pub pulled: Moment,
}

impl UsageRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.pulls);
        out.u64(self.pulled.unix_ms);
        out.u64(self.pulled.clock_ms);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("usage", RECORD_VERSION, bytes)?;
        let pulls = from.u64()?;
        let pulled = Moment { unix_ms: from.u64()?, clock_ms: from.u64()? };
        from.finish()?;
        Ok(UsageRecord { pulls, pulled })
    }
}

/// `Meta`, the journal: version (8 bits), from, synced, sequence (64 bits each).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalRecord {
    /// The journal's log has every change of the index from this one on.
    pub from: u64,
    /// Up to this one the log was synced when this was written.
    pub synced: u64,
    /// The last change of the index that the journal has.
    pub sequence: u64,
}

impl JournalRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u64(self.from);
        out.u64(self.synced);
        out.u64(self.sequence);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("journal", RECORD_VERSION, bytes)?;
        let record = JournalRecord { from: from.u64()?, synced: from.u64()?, sequence: from.u64()? };
        from.finish()?;
        Ok(record)
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
/// of 32 bits, bytes), since version 2 the owner (32 bytes), sums, sink (8 bits), bytes to the end.
/// An upload without an owner has a record of version 1. Everything up to `offset` is durable when
/// the record is written.
#[derive(Clone)]
pub struct UploadRecord {
    pub home: UploadHome,
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
        let UploadHome { namespace, owner } = &self.home;
        let mut out = Encoder::new(if owner.is_some() { OWNED_UPLOAD_VERSION } else { RECORD_VERSION });
        out.u8(self.algorithm as u8);
        out.u64(self.offset);
        out.bytes(&self.hash_state.0);
        out.bytes(namespace.as_str().as_bytes());
        if let Some(owner) = owner {
            out.rest(owner.as_bytes());
        }
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
        let is_owned = bytes.first() == Some(&OWNED_UPLOAD_VERSION);
        let mut from = Decoder::new("upload", if is_owned { OWNED_UPLOAD_VERSION } else { RECORD_VERSION }, bytes)?;
        let algorithm = Algorithm::from_code(from.u8()?).ok_or(from.malformed())?;
        let offset = from.u64()?;
        let hash_state = SavedState(from.bytes()?.to_vec());
        let namespace = std::str::from_utf8(from.bytes()?).ok().and_then(|text| Namespace::new(text).ok());
        let namespace = namespace.ok_or(from.malformed())?;
        let owner = match is_owned {
            true => Some(from.with(|rest| {
                let (owner, rest) = rest.split_at_checked(UploadOwner::BYTES)?;
                Some((UploadOwner::from_bytes(owner)?, rest))
            })?),
            false => None,
        };
        let home = UploadHome { namespace, owner };
        let sums = ChunkSums::decode(&mut from)?;
        let malformed = from.malformed();
        let sink = match (from.u8()?, from.rest()) {
            (1, bytes) if bytes.len() as u64 == offset => UploadSink::Memory(bytes.to_vec()),
            (2, []) => UploadSink::File,
            _ => return Err(malformed),
        };
        Ok(UploadRecord { home, algorithm, offset, hash_state, sums, sink })
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
        let member = MemberRecord { since_clock_ms: 1, label: b"type".to_vec() };
        assert_eq!(hex(&member.encode()), "01010000000000000074797065");
        let name = NameRecord { bound: Moment { unix_ms: 2, clock_ms: 3 }, digest: digest() };
        assert_eq!(hex(&name.encode()), format!("020200000000000000030000000000000001{}", "ab".repeat(32)));
        let usage = UsageRecord { pulls: 4, pulled: Moment { unix_ms: 5, clock_ms: 6 } };
        let allowance = AllowanceRecord { used: 7, max: 8 };
        assert_eq!(hex(&allowance.encode()), "0107000000000000000800000000000000");
        assert_eq!(hex(&usage.encode()), "01040000000000000005000000000000000600000000000000");
        let journal = JournalRecord { from: 1, synced: 2, sequence: 3 };
        assert_eq!(hex(&journal.encode()), "01010000000000000002000000000000000300000000000000");
        let candidate = CandidateRecord { since: 4, told: None };
        assert_eq!(hex(&candidate.encode()), "0400000000000000");
        let leased = CandidateRecord { since: 4, told: Some(5) };
        assert_eq!(hex(&leased.encode()), "04000000000000000500000000000000");
        let upload = UploadRecord {
            home: UploadHome::from(&Namespace::new("a").expect("valid")),
            algorithm: Algorithm::Blake3,
            offset: 3,
            hash_state: SavedState(vec![7]),
            sums: sums(b"abc"),
            sink: UploadSink::Memory(b"abc".to_vec()),
        };
        let expected = "01030300000000000000010000000701000000611000000000c241243503000000000000000161626";
        assert_eq!(hex(&upload.encode()), format!("{expected}3"));
        let owner = UploadOwner::from_bytes(&[0xcd; 32]);
        let owned = UploadRecord { home: UploadHome { owner, ..upload.home.clone() }, ..upload };
        let expected = format!(
            "0203030000000000000001000000070100000061{}1000000000c2412435030000000000000001616263",
            "cd".repeat(32)
        );
        assert_eq!(hex(&owned.encode()), expected);
    }

    #[test]
    fn a_name_of_the_first_version_was_bound_when_the_wall_clock_says() {
        let first = [[1, 2, 0, 0, 0, 0, 0, 0, 0, 1].as_slice(), &[0xab; 32]].concat();
        let bound = Moment { unix_ms: 2, clock_ms: 2 };
        assert_eq!(NameRecord::decode(&first), Ok(NameRecord { bound, digest: digest() }));
        assert!(NameRecord::decode(&[&[3], &first[1..]].concat()).is_err(), "a version of the future");
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
        assert_eq!(hex(&keys::quota("a/b")), "00612f62");
        assert_eq!([keys::CLOCK, keys::SIZED, keys::NAMESPACES], [&b"clock"[..], b"sized", b"namespaces"]);

        assert_eq!(keys::split_member(&keys::member(&ns, &digest())), Some((ns.clone(), digest())));
        assert_eq!(keys::split_holder(&keys::holder(&digest(), &ns)), Some((digest(), ns.clone())));
        assert_eq!(keys::split_binding(&keys::binding(&ns, &digest(), "v1")), Some((ns.clone(), digest(), "v1")));
        assert_eq!(keys::edge_kind(&edge), Some(EdgeKind::Refers));
        assert_eq!(keys::edge_kind(&edge[..10]), None);
        assert_eq!(keys::split_edge(&edge), Some((ns, digest(), EdgeKind::Refers, digest())));
        let id: UploadId = "000102030405060708090a0b0c0d0e0f".parse().expect("an id");
        assert_eq!(hex(&id.to_key()), "000102030405060708090a0b0c0d0e0f");
    }

    #[test]
    fn records_come_back_and_every_cut_or_longer_one_is_refused() {
        let state = Hasher::new(Algorithm::Sha256).save().expect("storable");
        let blob =
            BlobRecord { health: Health::Damaged, placement: Placement::Inline, size: 9, sums: sums(&[1; 9]).finish() };
        let name = NameRecord { bound: Moment { unix_ms: 5, clock_ms: 4 }, digest: digest() };
        let usage = UsageRecord { pulls: 1, pulled: Moment { unix_ms: 2, clock_ms: 3 } };
        let leased = CandidateRecord { since: 4, told: Some(u64::MAX) };
        let upload = UploadRecord {
            home: UploadHome::from(&Namespace::new("x").expect("valid")),
            algorithm: Algorithm::Sha256,
            offset: 70_000,
            hash_state: state,
            sums: sums(&[3; 70_000]),
            sink: UploadSink::File,
        };
        assert_eq!(BlobRecord::decode(&blob.encode()), Ok(blob.clone()));
        assert_eq!(NameRecord::decode(&name.encode()), Ok(name.clone()));
        let allowance = AllowanceRecord { used: 7, max: 8 };
        assert_eq!(AllowanceRecord::decode(&allowance.encode()), Ok(allowance));
        assert_eq!(UsageRecord::decode(&usage.encode()), Ok(usage.clone()));
        let owner = Some(UploadOwner::known_by(b"somebody"));
        let owned = UploadRecord { home: UploadHome { owner, ..upload.home.clone() }, ..upload.clone() };
        for record in [&upload, &owned] {
            let back = UploadRecord::decode(&record.encode()).expect("own bytes");
            assert_eq!((back.offset, back.sink, &back.hash_state), (70_000, UploadSink::File, &record.hash_state));
            assert_eq!(back.home, record.home);
        }
        for record in [leased, CandidateRecord { told: None, ..leased }] {
            assert_eq!(CandidateRecord::decode(&record.encode()), Ok(record));
        }
        for cut in (0..8).chain(9..16).chain(17..20) {
            assert!(CandidateRecord::decode(&[1; 20][..cut]).is_err(), "{cut} bytes");
        }
        for (record, accepts) in [
            (blob.encode(), (|bytes| BlobRecord::decode(bytes).is_ok()) as fn(&[u8]) -> bool),
            (name.encode(), |bytes| NameRecord::decode(bytes).is_ok()),
            (allowance.encode(), |bytes| AllowanceRecord::decode(bytes).is_ok()),
            (usage.encode(), |bytes| UsageRecord::decode(bytes).is_ok()),
            (JournalRecord { from: 1, synced: 2, sequence: 3 }.encode(), |bytes| JournalRecord::decode(bytes).is_ok()),
            (upload.encode(), |bytes| UploadRecord::decode(bytes).is_ok()),
            (owned.encode(), |bytes| UploadRecord::decode(bytes).is_ok()),
        ] {
            for cut in 0..record.len() {
                assert!(!accepts(&record[..cut]), "cut at {cut}");
            }
            assert!(!accepts(&[record.as_slice(), &[0]].concat()), "a byte too many");
        }
    }
}
