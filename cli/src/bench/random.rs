//! Pseudo-random bytes, faster than a disk or a loopback connection takes them.
//!
//! In: a seed. Out: the same endless stream for the same seed, so a digest computed before the
//! clock starts fits the bytes generated again while a request is sent, and nothing large is kept.

/// Streams that are generated side by side, so that the compiler uses vector instructions.
const LANES: usize = 8;

/// Bytes that one step makes; every [`Random::fill`] but the last takes a multiple of this.
pub const STEP_BYTES: usize = LANES * size_of::<u64>();

/// xoshiro256++ (Blackman and Vigna, 2019) in [`LANES`] lanes: incompressible, not for secrets.
#[derive(Clone)]
pub struct Random {
    state: [[u64; LANES]; 4],
}

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut spread = seed;
        // The authors' advice: seed with another generator, so that similar seeds start far apart.
        let state = std::array::from_fn(|_| std::array::from_fn(|_| split_mix(&mut spread)));
        Self { state }
    }

    /// Fills `bytes` with the next bytes of the stream. What is left of a last, partial step is
    /// thrown away, so only the last piece of a stream may have a length that is no multiple of
    /// [`STEP_BYTES`].
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let mut steps = bytes.chunks_exact_mut(STEP_BYTES);
        for step in &mut steps {
            let words = self.step();
            for (slot, word) in step.chunks_exact_mut(size_of::<u64>()).zip(words) {
                slot.copy_from_slice(&word.to_le_bytes());
            }
        }
        let rest = steps.into_remainder();
        if !rest.is_empty() {
            let words = self.step();
            let stream = words.iter().flat_map(|word| word.to_le_bytes());
            rest.iter_mut().zip(stream).for_each(|(slot, byte)| *slot = byte);
        }
    }

    /// A number for a choice or a name; takes a whole step of the stream.
    pub fn number(&mut self) -> u64 {
        self.step()[0]
    }

    /// A number below `bound`, which is small against 2^64, so the bias is not measurable.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    fn step(&mut self) -> [u64; LANES] {
        let [mut a, mut b, mut c, mut d] = self.state;
        let mut words = [0; LANES];
        for lane in 0..LANES {
            words[lane] = a[lane].wrapping_add(d[lane]).rotate_left(23).wrapping_add(a[lane]);
            let shifted = b[lane] << 17;
            c[lane] ^= a[lane];
            d[lane] ^= b[lane];
            b[lane] ^= c[lane];
            a[lane] ^= d[lane];
            c[lane] ^= shifted;
            d[lane] = d[lane].rotate_left(45);
        }
        self.state = [a, b, c, d];
        words
    }
}

/// A seed for something that belongs to `seed` and is told from its siblings by `index`.
pub fn derive(seed: u64, index: u64) -> u64 {
    let mut state = seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93);
    split_mix(&mut state)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_stream_does_not_depend_on_how_it_is_cut() {
        let mut whole = vec![0; 10 * STEP_BYTES + 5];
        Random::new(7).fill(&mut whole);
        let mut pieces = vec![0; whole.len()];
        let mut random = Random::new(7);
        let (first, rest) = pieces.split_at_mut(3 * STEP_BYTES);
        random.fill(first);
        random.fill(rest);
        assert_eq!(whole, pieces);
    }

    #[test]
    fn seeds_and_derived_seeds_give_other_streams() {
        let seeds: HashSet<u64> = (0..100).flat_map(|seed| (0..100).map(move |index| derive(seed, index))).collect();
        assert_eq!(seeds.len(), 10_000);
        let numbers: HashSet<u64> = (0..1000).map(|seed| Random::new(seed).number()).collect();
        assert_eq!(numbers.len(), 1000);
    }

    #[test]
    fn bytes_are_spread_evenly() {
        let mut bytes = vec![0; 1 << 20];
        Random::new(1).fill(&mut bytes);
        let mut counts = [0_u32; 256];
        bytes.iter().for_each(|&byte| counts[usize::from(byte)] += 1);
        // 4096 of each are expected, with a standard deviation of 64.
        assert!(counts.iter().all(|count| (3700..4500).contains(count)), "{counts:?}");
    }
}
