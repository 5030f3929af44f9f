//! What a file holds, and how much of it would survive.
//!
//! In: writes, cuts, syncs. Out: bytes, and after a power loss some of those that no sync covered. A
//! copy shares all pages, so images of a whole disk cost next to nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::Left;
use crate::stream::Random;

pub const PAGE_BYTES: u64 = 4096;

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;

type Page = Arc<[u8; PAGE_BYTES as usize]>;

/// Bytes with holes, which read as zeros.
#[derive(Debug, Clone, Default)]
struct Content {
    pages: BTreeMap<u64, Page>,
    size: u64,
}

/// A regular file.
#[derive(Debug, Clone, Default)]
pub struct File {
    now: Content,
    durable: Content,
    /// Pages that changed since they were last synced. One whose sync failed is not among them: the
    /// kernel takes it for clean, and its bytes never reach the device.
    dirty: BTreeSet<u64>,
    has_lost_pages: bool,
}

/// Page numbers that a range touches.
fn touched(range: Range<u64>) -> Range<u64> {
    range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES)
}

impl Content {
    fn set(&mut self, number: u64, page: Option<&Page>) {
        match page {
            Some(page) => drop(self.pages.insert(number, page.clone())),
            None => drop(self.pages.remove(&number)),
        }
    }

    /// Cuts, or adds a hole. Gives the numbers of the pages that changed.
    fn resize(&mut self, size: u64) -> Vec<u64> {
        let mut changed: Vec<u64> = self.pages.range(size.div_ceil(PAGE_BYTES)..).map(|(number, _)| *number).collect();
        changed.iter().for_each(|number| drop(self.pages.remove(number)));
        let (last, kept) = (size / PAGE_BYTES, (size % PAGE_BYTES) as usize);
        if size < self.size
            && let Some(page) = self.pages.get_mut(&last)
        {
            Arc::make_mut(page)[kept..].fill(0);
            changed.push(last);
        }
        self.size = size;
        changed
    }
}

impl File {
    pub fn size(&self) -> u64 {
        self.now.size
    }

    /// Blocks of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.now.pages.len() as u64 * (PAGE_BYTES / 512)
    }

    /// Whether a power loss would change nothing.
    pub fn is_durable(&self) -> bool {
        self.dirty.is_empty() && !self.has_lost_pages && self.now.size == self.durable.size
    }

    /// Up to `length` bytes; fewer only at the end.
    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let end = self.now.size.min(offset.saturating_add(length as u64));
        let mut bytes = vec![0; end.saturating_sub(offset) as usize];
        let mut at = offset;
        while at < end {
            let (number, within) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let count = (PAGE_BYTES - within).min(end - at) as usize;
            if let Some(page) = self.now.pages.get(&number) {
                let start = (at - offset) as usize;
                bytes[start..start + count].copy_from_slice(&page[within as usize..within as usize + count]);
            }
            at += count as u64;
        }
        bytes
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (number, within) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let count = (PAGE_BYTES as usize - within).min(bytes.len() - done);
            let page = self.now.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[within..within + count].copy_from_slice(&bytes[done..done + count]);
            self.dirty.insert(number);
            done += count;
        }
        self.now.size = self.now.size.max(offset + bytes.len() as u64);
    }

    pub fn resize(&mut self, size: u64) {
        let changed = self.now.resize(size);
        self.dirty.extend(changed);
    }

    /// Makes a hole of the whole pages within a range; the rest of it becomes zeros.
    pub fn punch(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(self.now.size);
        for number in touched(range.clone()) {
            let page = number * PAGE_BYTES..(number + 1) * PAGE_BYTES;
            let (start, end) = (page.start.max(range.start), page.end.min(range.end));
            if start >= end {
                continue;
            }
            if let Some(bytes) = self.now.pages.get_mut(&number) {
                Arc::make_mut(bytes)[(start - page.start) as usize..(end - page.start) as usize].fill(0);
                self.dirty.insert(number);
            }
        }
    }

    pub fn sync(&mut self) {
        for number in std::mem::take(&mut self.dirty) {
            self.durable.set(number, self.now.pages.get(&number));
        }
        self.durable.resize(self.now.size);
    }

    /// As Linux does it: the failure is reported once, the pages count as clean from then on, and a
    /// later sync succeeds without them.
    pub fn fail_sync(&mut self) {
        self.has_lost_pages |= !self.dirty.is_empty();
        self.dirty.clear();
    }

    /// What is on the device after the power was cut.
    pub fn after_power_loss(&self, left: Left, random: &mut Random) -> File {
        let mut content = self.durable.clone();
        match left {
            Left::Durable => {}
            // Pages whose sync failed will not be written any more.
            Left::Everything => {
                self.dirty.iter().for_each(|number| content.set(*number, self.now.pages.get(number)));
                content.resize(self.now.size);
            }
            Left::Some => {
                self.dirty.iter().for_each(|number| self.keep_some(*number, &mut content, random));
                let (low, high) = (self.durable.size.min(self.now.size), self.durable.size.max(self.now.size));
                let size = match random.below(4) {
                    0 => self.durable.size,
                    1 => low + random.below(high - low + 1),
                    _ => self.now.size,
                };
                content.resize(size);
            }
        }
        File { durable: content.clone(), now: content, dirty: BTreeSet::new(), has_lost_pages: false }
    }

    /// The old page, the new one, or sectors of both.
    fn keep_some(&self, number: u64, content: &mut Content, random: &mut Random) {
        let new = self.now.pages.get(&number);
        match random.below(5) {
            0 | 1 => {}
            2 | 3 => content.set(number, new),
            _ => {
                let zeros = Arc::new([0; PAGE_BYTES as usize]);
                let mut torn = content.pages.get(&number).unwrap_or(&zeros).clone();
                let new = new.unwrap_or(&zeros);
                for (old, new) in Arc::make_mut(&mut torn).chunks_mut(SECTOR_BYTES).zip(new.chunks(SECTOR_BYTES)) {
                    if random.below(2) == 0 {
                        old.copy_from_slice(new);
                    }
                }
                content.set(number, Some(&torn));
            }
        }
    }
}

impl File {
    /// As if everything had been synced: for images of a disk at rest.
    pub fn settled(&self) -> File {
        File { durable: self.now.clone(), now: self.now.clone(), dirty: BTreeSet::new(), has_lost_pages: false }
    }
}
