//! Bit rot: bits flip, files are cut, grow, vanish or change places, values of the index change. Not one
//! wrong byte is ever handed out; what is wrong is known as soon as it is read, and a push heals it for
//! everybody.
//!
//! `ORLOP_ROT_HARMS` says how many; a quick run is part of `make test`, `make crash` a long one.

use std::{env, sync::Arc};

use orlop_engine::{
    Digest, Engine, Error, Options,
    index::{Changes, Durability, Index, MemoryIndex, Pair, Table},
    io::{ALIGNMENT, Disk, Pool, SimDisk, keep},
    tier::LocalTier,
};

use crate::common::*;

const HARMS_DEFAULT: u64 = 2_000;
const SEED_DEFAULT: u64 = 1;

/// Lengths of the contents: inline ones and files, of one checksum's chunk and of several.
const LENGTHS: [usize; 12] = [1, 100, 4095, 4096, 4097, 65_535, 65_536, 65_537, 100_000, 131_072, 200_001, 300_000];
const INLINE_BYTES_MAX: usize = 4096;

pub fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Cut,
    Grow,
    Remove,
    /// Has the bytes of the neighbour.
    Swap,
}

#[derive(Debug, Default)]
struct Counts {
    flips: u64,
    cuts: u64,
    others: u64,
    /// Reads that ended with an error, and that gave the right bytes in spite of it.
    refused: u64,
    right: u64,
}

struct Rot {
    disk: SimDisk,
    index: Arc<MemoryIndex>,
    contents: Vec<(Digest, Vec<u8>)>,
    /// The keys of inline content.
    keys: Vec<Pair>,
    random: Random,
    counts: Counts,
}

impl Rot {
    async fn open(&self) -> Engine {
        // Nothing that was verified before is kept: each read looks at the disk.
        let options = Options { inline_bytes_max: INLINE_BYTES_MAX, hot_bytes_max: 0, ..Options::default() };
        Engine::simulated(Arc::new(self.disk.clone()), self.index.clone(), options).await.expect("opens")
    }

    fn choose(&mut self) -> Harm {
        match self.random.below(10) {
            0 => Harm::Cut,
            1 => Harm::Swap,
            2 if self.random.below(2) == 0 => Harm::Grow,
            2 => Harm::Remove,
            _ => Harm::Flip,
        }
    }

    /// What is there instead of `bytes`.
    fn harmed(&mut self, harm: Harm, bytes: &[u8], other: &[u8]) -> Option<Vec<u8>> {
        let mut harmed = bytes.to_vec();
        match harm {
            Harm::Flip => {
                let at = self.random.below(bytes.len());
                harmed[at] ^= 1 << self.random.below(8);
            }
            Harm::Cut => harmed.truncate(self.random.below(bytes.len())),
            Harm::Grow => harmed.extend_from_slice(&[0; 7]),
            Harm::Remove => return None,
            Harm::Swap => harmed = other.to_vec(),
        }
        Some(harmed)
    }

    /// Harms content number `at` behind the store's back.
    async fn harm(&mut self, at: usize) -> Harm {
        let harm = self.choose();
        let (digest, bytes) = self.contents[at].clone();
        let other = self.contents[(at + 1) % self.contents.len()].1.clone();
        let harmed = self.harmed(harm, &bytes, &other);
        match harm {
            Harm::Flip => self.counts.flips += 1,
            Harm::Cut | Harm::Swap => self.counts.cuts += 1,
            Harm::Grow | Harm::Remove => self.counts.others += 1,
        }
        if bytes.len() > INLINE_BYTES_MAX {
            rewrite(&self.disk, &digest, harmed.as_deref()).await;
        } else {
            let (key, _) = self.keys.iter().find(|(_, value)| *value == bytes).expect("inline");
            let changes = Changes { conditions: Vec::new(), writes: vec![(Table::Bytes, key.clone(), harmed)] };
            self.index.write(&changes, Durability::Synced).expect("memory");
        }
        harm
    }

    /// A range first, then the whole: right bytes or an error.
    async fn read(&mut self, engine: &Engine, at: usize, harm: Harm) {
        let (digest, bytes) = self.contents[at].clone();
        let ns = namespace("a");
        let start = self.random.below(bytes.len());
        let end = start + 1 + self.random.below(bytes.len() - start);
        let range = pull_range(engine, &ns, &digest, start as u64..end as u64).await;
        self.judge(range, &bytes[start..end], &digest);
        let whole = pull(engine, &ns, &digest).await;
        let is_refused = whole.is_err();
        self.judge(whole, &bytes, &digest);
        // What was added to the end of a file belongs to nothing and is not looked at.
        assert!(is_refused || harm == Harm::Grow, "{harm:?} of {digest} went unnoticed");
        if is_refused {
            assert!(is_missing(&engine.find(&namespace("b"), &digest).await), "known damage is not found, by anybody");
            push(engine, &namespace("b"), &bytes).await;
        }
        assert_eq!(pull(engine, &ns, &digest).await.expect("healed"), bytes);
    }

    fn judge(&mut self, read: orlop_engine::Result<Vec<u8>>, expected: &[u8], digest: &Digest) {
        match read {
            Ok(bytes) => {
                assert_eq!(bytes, expected, "wrong bytes of {digest} under a clean end");
                self.counts.right += 1;
            }
            Err(Error::Damaged { .. } | Error::NotFound { .. }) => self.counts.refused += 1,
            Err(error) => panic!("{digest}: {error}"),
        }
    }
}

/// Puts other bytes in the place of a file, or nothing.
async fn rewrite(disk: &SimDisk, digest: &Digest, bytes: Option<&[u8]>) {
    let path = LocalTier::path(digest);
    disk.unlink(&path).await.expect("memory");
    let Some(bytes) = bytes else { return };
    let file = disk.create(0).await.expect("memory");
    let padded = bytes.len().next_multiple_of(ALIGNMENT).max(ALIGNMENT);
    let mut buffer = Pool::new(usize::MAX).take(padded).await;
    buffer.extend(bytes);
    buffer.pad_to_alignment();
    if !buffer.filled().is_empty() {
        disk.write(&file, buffer, 0).await.expect("memory");
    }
    keep(disk, &file, Some(bytes.len() as u64), &path).await.expect("memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_is_never_handed_out_and_always_healed() {
    let (harms, seed) = (number("ORLOP_ROT_HARMS", HARMS_DEFAULT), number("ORLOP_RIG_SEED", SEED_DEFAULT));
    let contents = LENGTHS.iter().zip(1..).map(|(len, seed)| content(seed, *len).to_vec());
    let contents = contents.map(|bytes| (sha256(&bytes), bytes)).collect();
    let (disk, index, random) = (SimDisk::new(seed), Arc::default(), Random(seed));
    let mut rot = Rot { disk, index, contents, keys: Vec::new(), random, counts: Counts::default() };
    let engine = rot.open().await;
    for (_, bytes) in &rot.contents {
        push(&engine, &namespace("a"), bytes).await;
        push(&engine, &namespace("b"), bytes).await;
    }
    engine.close().await.expect("closed");
    rot.keys = rot.index.snapshot().scan(Table::Bytes, &[], None, usize::MAX).expect("memory");
    let mut done = 0;
    while done < harms {
        let mut harmed = Vec::new();
        for at in 0..rot.contents.len() {
            harmed.push(rot.harm(at).await);
        }
        let engine = rot.open().await;
        for (at, harm) in harmed.into_iter().enumerate() {
            rot.read(&engine, at, harm).await;
            done += 1;
        }
        engine.close().await.expect("closed");
    }
    eprintln!("rig rot, seed {seed}: {:?}; wrong bytes 0, unnoticed 0, not healed 0", rot.counts);
}
