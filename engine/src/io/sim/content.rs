//! The bytes of a simulated file: what reads see, what is durable, and what lies between.

use std::{collections::BTreeMap, io};

use super::random::Random;
use crate::io::{ALIGNMENT, check};

/// Bytes that a device promises to write whole or not at all; a torn sector is cut at such a
/// boundary.
const ATOM: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// What each sector was given since the last sync, oldest first, by sector number.
    pending: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths since the last sync, oldest first.
    lengths: Vec<usize>,
    /// Set by a failed sync: the kernel has forgotten that the bytes are not durable, so no later
    /// sync makes them so, even if it succeeds.
    abandoned: bool,
}

impl Content {
    /// A new file with `len` bytes allocated.
    pub(super) fn reserved(len: usize) -> Self {
        Content { current: vec![0; len], lengths: vec![len], ..Content::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.current.len()
    }

    /// Up to `len` bytes from `offset`.
    pub(super) fn read(&self, offset: usize, len: usize) -> &[u8] {
        let start = offset.min(self.current.len());
        let end = start.saturating_add(len).min(self.current.len());
        &self.current[start..end]
    }

    /// Whole sectors at a sector's start.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
            self.lengths.push(end);
        }
        self.current[offset..end].copy_from_slice(bytes);
        for (index, sector) in bytes.chunks(ALIGNMENT).enumerate() {
            self.pending.entry(offset / ALIGNMENT + index).or_default().push(sector.to_vec());
        }
    }

    /// Cuts the file, if a length is given.
    pub(super) fn cut(&mut self, len: Option<u64>) -> io::Result<()> {
        if let Some(len) = len {
            check::cut(self.current.len() as u64, len)?;
            let len = usize::try_from(len).expect("not longer than the bytes in memory");
            self.current.truncate(len);
            self.lengths.push(len);
        }
        Ok(())
    }

    /// How many sectors and lengths a crash may leave in more than one way.
    pub(super) fn uncertain(&self) -> usize {
        self.pending.len() + usize::from(!self.lengths.is_empty())
    }

    pub(super) fn sync(&mut self, len: Option<u64>) -> io::Result<()> {
        self.cut(len)?;
        if self.abandoned {
            return Ok(());
        }
        self.durable.resize(self.current.len(), 0);
        for sector in std::mem::take(&mut self.pending).into_keys() {
            let start = (sector * ALIGNMENT).min(self.current.len());
            let end = (start + ALIGNMENT).min(self.current.len());
            self.durable[start..end].copy_from_slice(&self.current[start..end]);
        }
        self.lengths.clear();
        Ok(())
    }

    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Changes a byte wherever it lies: the medium is damaged.
    pub(super) fn corrupt(&mut self, offset: usize, xor: u8) {
        let pending = self.pending.get_mut(&(offset / ALIGNMENT)).into_iter().flatten();
        let versions = pending.filter_map(|sector| sector.get_mut(offset % ALIGNMENT));
        let settled = [&mut self.current, &mut self.durable].into_iter().filter_map(|bytes| bytes.get_mut(offset));
        for byte in settled.chain(versions) {
            *byte ^= xor;
        }
    }

    /// What the device holds after a crash now, as the choices of `random` have it.
    pub(super) fn crashed(&self, random: &mut Random) -> Content {
        let mut bytes = self.durable.clone();
        let lengths: Vec<usize> = std::iter::once(self.durable.len()).chain(self.lengths.iter().copied()).collect();
        let len = lengths[random.below(lengths.len())];
        bytes.resize(bytes.len().max(len), 0);
        for (sector, versions) in &self.pending {
            let version = &versions[random.below(versions.len())];
            let kept = match random.below(3) {
                0 => 0,
                1 => version.len(),
                _ => random.below(version.len() / ATOM + 1) * ATOM,
            };
            let start = (sector * ALIGNMENT).min(bytes.len());
            let end = (start + kept).min(bytes.len());
            bytes[start..end].copy_from_slice(&version[..end - start]);
        }
        bytes.truncate(len);
        Content { current: bytes.clone(), durable: bytes, ..Content::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_makes_exactly_the_current_bytes_durable() {
        let mut content = Content::reserved(3 * ALIGNMENT);
        content.write(ALIGNMENT, &[1; 2 * ALIGNMENT]);
        content.write(ALIGNMENT, &[2; ALIGNMENT]);
        content.sync(Some(2 * ALIGNMENT as u64 + 7)).expect("a cut");
        assert_eq!(content.durable, content.current);
        content.write(2 * ALIGNMENT, &[3; ALIGNMENT]);
        content.sync(None).expect("a sync");
        assert_eq!(content.durable, content.current);
        for seed in 0..50 {
            assert_eq!(content.crashed(&mut Random::new(seed)).current, content.current);
        }
    }

    #[test]
    fn an_unsynced_sector_is_lost_kept_or_torn() {
        let mut content = Content::reserved(ALIGNMENT);
        content.write(0, &[1; ALIGNMENT]);
        content.sync(None).expect("a sync");
        content.write(0, &[2; ALIGNMENT]);
        let mut seen = [false; 3];
        for seed in 0..200 {
            let crashed = content.crashed(&mut Random::new(seed)).current;
            let kept = crashed.iter().take_while(|byte| **byte == 2).count();
            assert!(crashed[kept..].iter().all(|byte| *byte == 1), "a torn sector is new, then old");
            assert_eq!(kept % ATOM, 0);
            seen[if kept == 0 {
                0
            } else if kept == ALIGNMENT {
                1
            } else {
                2
            }] = true;
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn a_sync_after_a_failed_one_promises_nothing() {
        let mut content = Content::reserved(0);
        content.write(0, &[1; ALIGNMENT]);
        content.abandon();
        content.sync(None).expect("the kernel says yes");
        let lost = (0..50).filter(|seed| content.crashed(&mut Random::new(*seed)).current != content.current).count();
        assert!(lost > 0);
    }
}
