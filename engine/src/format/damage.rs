//! Values about damage and the search for it.

use super::codec::{Decoder, Encoder, Malformed};
use crate::{
    Digest,
    clock::Moment,
    damage::{Finder, Flaw},
    scrub::Pass,
};

const RECORD_VERSION: u8 = 1;

/// `Damaged`: version, flaw, finder (8 bits each), offset, wall clock, store's clock (64 bits each).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamageRecord {
    pub flaw: Flaw,
    pub finder: Finder,
    /// Where the damage begins, in bytes.
    pub offset: u64,
    /// When it was found; the store's clock is part of the name in quarantine.
    pub found: Moment,
}

impl DamageRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        out.u8(self.flaw as u8);
        out.u8(self.finder as u8);
        out.u64(self.offset);
        moment(&mut out, self.found);
        out.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("damage", RECORD_VERSION, bytes)?;
        let (flaw, finder) = (from.u8()?, from.u8()?);
        let flaw = Flaw::ALL.into_iter().find(|each| *each as u8 == flaw).ok_or(from.malformed())?;
        let finder = Finder::ALL.into_iter().find(|each| *each as u8 == finder).ok_or(from.malformed())?;
        let offset = from.u64()?;
        let found = read_moment(&mut from)?;
        from.finish()?;
        Ok(DamageRecord { flaw, finder, offset, found })
    }
}

/// A pass in `Meta`: version (8 bits), start (wall clock, store's clock), end (the same, 0 while it goes
/// on), blobs, bytes, damaged, known, recovered, skipped (64 bits each), then the last digest that was dealt
/// with, if there is one.
impl Pass {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(RECORD_VERSION);
        moment(&mut out, self.started);
        moment(&mut out, self.ended.unwrap_or_default());
        for count in [self.blobs, self.bytes, self.damaged, self.known, self.recovered, self.skipped] {
            out.u64(count);
        }
        if let Some(cursor) = &self.cursor {
            cursor.encode(out.raw());
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new("pass", RECORD_VERSION, bytes)?;
        let started = read_moment(&mut from)?;
        let ended = Some(read_moment(&mut from)?).filter(|ended| *ended != Moment::default());
        let mut counts = [0; 6];
        for count in &mut counts {
            *count = from.u64()?;
        }
        let [blobs, bytes, damaged, known, recovered, skipped] = counts;
        let malformed = from.malformed();
        let cursor = match from.rest() {
            [] => None,
            key => match Digest::decode(key) {
                Some((digest, [])) => Some(digest),
                _ => return Err(malformed),
            },
        };
        Ok(Pass { started, ended, blobs, bytes, damaged, known, recovered, skipped, cursor })
    }
}

fn moment(out: &mut Encoder, moment: Moment) {
    out.u64(moment.unix_ms);
    out.u64(moment.clock_ms);
}

fn read_moment(from: &mut Decoder<'_>) -> Result<Moment, Malformed> {
    Ok(Moment { unix_ms: from.u64()?, clock_ms: from.u64()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn pass() -> Pass {
        Pass {
            started: Moment { unix_ms: 1, clock_ms: 2 },
            ended: None,
            blobs: 3,
            bytes: 4,
            damaged: 5,
            known: 6,
            recovered: 7,
            skipped: 8,
            cursor: None,
        }
    }

    /// Stores in the field have these bytes.
    #[test]
    fn the_format_is_what_it_was() {
        let damage = DamageRecord {
            flaw: Flaw::Checksum,
            finder: Finder::Scrub,
            offset: 65_536,
            found: Moment { unix_ms: 1, clock_ms: 2 },
        };
        let expected = "010302000001000000000001000000000000000200000000000000";
        assert_eq!(hex(&damage.encode()), expected);
        let number = |number: u8| format!("{number:02x}{}", "00".repeat(7));
        let numbers: String = [1, 2, 0, 0, 3, 4, 5, 6, 7, 8].into_iter().map(number).collect();
        assert_eq!(hex(&pass().encode()), format!("01{numbers}"));
        let digest = Digest::from_bytes(Algorithm::Sha256, &[0xab; 32]).expect("32 bytes");
        let with_cursor = Pass { cursor: Some(digest), ..pass() };
        assert_eq!(hex(&with_cursor.encode()), format!("01{numbers}01{}", "ab".repeat(32)));
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        for (flaw, finder) in Flaw::ALL.into_iter().flat_map(|flaw| Finder::ALL.map(|finder| (flaw, finder))) {
            let damage = DamageRecord { flaw, finder, offset: u64::MAX, found: Moment { unix_ms: 9, clock_ms: 8 } };
            let bytes = damage.encode();
            assert_eq!(DamageRecord::decode(&bytes), Ok(damage));
            assert!((0..bytes.len()).all(|cut| DamageRecord::decode(&bytes[..cut]).is_err()));
            assert!(DamageRecord::decode(&[bytes.as_slice(), &[0]].concat()).is_err(), "a byte too many");
        }
        assert!(DamageRecord::decode(&[1, 6, 1].into_iter().chain([0; 24]).collect::<Vec<u8>>()).is_err());
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let ended = Some(Moment { unix_ms: 5, clock_ms: 6 });
        for pass in [pass(), Pass { ended, ..pass() }, Pass { cursor: Some(digest), ..pass() }] {
            let bytes = pass.encode();
            assert_eq!(Pass::decode(&bytes), Ok(pass));
            assert!((0..81).all(|cut| Pass::decode(&bytes[..cut]).is_err()));
            assert!(Pass::decode(&[bytes.as_slice(), &[1]].concat()).is_err(), "a byte too many");
        }
    }
}
