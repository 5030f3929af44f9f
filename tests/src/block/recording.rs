//! What was written to a device, in its order, and the images that follow from it.
//!
//! In: a first image and entries. Out: for a [`Moment`] one of the images that a device with a volatile cache
//! may show when its power is cut then. Copies of an image share all their pages, and a [`Player`] goes
//! through a recording once, so an image costs what differs.

use std::{
    fmt,
    fs::File as Kept,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use crate::{faults::pages::File, stream::Random};

/// What most devices write whole or not at all.
const BLOCK_BYTES: usize = 4096;

/// Of an image that is kept as a file, written or left a hole.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of a device; a copy shares them.
#[derive(Debug, Clone)]
pub struct Image(pub(super) File);

impl Image {
    /// Zeros.
    pub fn empty(bytes: u64) -> Self {
        let mut file = File::default();
        file.resize(bytes);
        Image(file)
    }

    pub fn bytes(&self) -> u64 {
        self.0.size()
    }

    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        self.0.read(offset, length)
    }

    /// Bytes past the end are not written.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let length = self.bytes().saturating_sub(offset).min(bytes.len() as u64);
        self.0.write(offset, &bytes[..length as usize]);
    }

    /// Writes it to a file, with holes for zeros: it can be mounted as it is.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = Kept::create(path)?;
        file.set_len(self.bytes())?;
        for offset in (0..self.bytes()).step_by(CHUNK_BYTES) {
            let bytes = self.read(offset, CHUNK_BYTES);
            if bytes.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(offset))?;
                file.write_all(&bytes)?;
            }
        }
        Ok(())
    }

    /// Reads such a file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut file = Kept::open(path)?;
        let mut image = Image::empty(file.metadata()?.len());
        let mut bytes = vec![0; CHUNK_BYTES];
        for offset in (0..image.bytes()).step_by(CHUNK_BYTES) {
            let length = (image.bytes() - offset).min(CHUNK_BYTES as u64) as usize;
            file.read_exact(&mut bytes[..length])?;
            if bytes[..length].iter().any(|byte| *byte != 0) {
                image.write(offset, &bytes[..length]);
            }
        }
        Ok(image)
    }

    pub(super) fn zero(&mut self, offset: u64, length: u64) {
        self.0.punch(offset..offset.saturating_add(length));
    }

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Write { offset, bytes } => self.write(*offset, bytes),
            Entry::Zero { offset, length } => self.zero(*offset, *length),
            Entry::Flush => {}
        }
    }
}

/// One request to the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Discarded, or zeros written.
    Zero {
        offset: u64,
        length: u64,
    },
    /// Everything before it is durable.
    Flush,
}

/// What became of the entries that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// Each entry whole or not at all.
    Entries,
    /// Each block of 4 KiB of each entry.
    Blocks,
    /// Each sector of each entry.
    Sectors,
    /// One entry is lost.
    AllButOne,
    /// One entry is there, and no other.
    One,
    /// All up to one of them, which is torn at a sector.
    Prefix,
}

impl Left {
    pub const ALL: [Left; 7] =
        [Left::Nothing, Left::Entries, Left::Blocks, Left::Sectors, Left::AllButOne, Left::One, Left::Prefix];
}

/// A moment at which the power is cut, counted in entries from the start of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// All entries before this one are durable.
    pub durable: usize,
    /// No entry from this one on was made. Whatever was acknowledged when there were so many must be there.
    pub until: usize,
    pub left: Left,
    /// Chooses what is left.
    pub seed: u64,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moment { durable, until, left, seed } = self;
        write!(f, "{durable} entries durable, of the next {} {left:?} left by seed {seed}", until - durable)
    }
}

#[derive(Debug, Clone)]
pub struct Recording {
    pub base: Image,
    pub entries: Vec<Entry>,
    /// What this device writes whole or not at all.
    pub sector_bytes: usize,
}

impl Recording {
    /// Where a flush had just been done: how many entries there were then.
    pub fn flushed(&self) -> Vec<usize> {
        let flushes = self.entries.iter().enumerate().filter(|(_, entry)| **entry == Entry::Flush);
        flushes.map(|(number, _)| number + 1).collect()
    }

    /// The last flush before a moment: how many entries were durable then for certain.
    pub fn durable_at(&self, until: usize) -> usize {
        self.entries[..until].iter().rposition(|entry| *entry == Entry::Flush).map_or(0, |number| number + 1)
    }

    /// The moment just after a flush.
    pub fn after_flush(&self, flushed: usize) -> Moment {
        Moment { durable: flushed, until: flushed, left: Left::Nothing, seed: 0 }
    }

    /// A moment before the next flush, by chance, and a part of what there is then.
    pub fn between_flushes(&self, flushed: usize, random: &mut Random) -> Moment {
        let next = self.entries[flushed..].iter().position(|entry| *entry == Entry::Flush);
        let end = next.map_or(self.entries.len(), |distance| flushed + distance);
        // Late ones are worth more: half of the moments are just before the flush.
        let until = match random.below(2) {
            0 => end,
            _ => flushed + random.below((end - flushed) as u64 + 1) as usize,
        };
        let left = Left::ALL[random.below(Left::ALL.len() as u64) as usize];
        Moment { durable: flushed, until, left, seed: random.next() }
    }
}

/// Goes through a recording, moment by moment.
pub struct Player<'a> {
    recording: &'a Recording,
    image: Image,
    at: usize,
}

impl<'a> Player<'a> {
    pub fn new(recording: &'a Recording) -> Self {
        Player { recording, image: recording.base.clone(), at: 0 }
    }

    /// The image of a moment. Those whose durable part is not before that of the last one are cheap.
    pub fn image(&mut self, moment: &Moment) -> Image {
        if moment.durable < self.at {
            *self = Player::new(self.recording);
        }
        let entries = &self.recording.entries;
        entries[self.at..moment.durable].iter().for_each(|entry| self.image.apply(entry));
        self.at = moment.durable;
        let mut image = self.image.clone();
        let open: Vec<&Entry> =
            entries[moment.durable..moment.until].iter().filter(|entry| **entry != Entry::Flush).collect();
        let part_bytes = if moment.left == Left::Blocks { BLOCK_BYTES } else { self.recording.sector_bytes };
        keep(&mut image, &open, moment.left, part_bytes, &mut Random(moment.seed));
        image
    }
}

/// Applies a part of the entries.
fn keep(image: &mut Image, entries: &[&Entry], left: Left, part_bytes: usize, random: &mut Random) {
    let chosen = random.below(entries.len().max(1) as u64) as usize;
    for (number, entry) in entries.iter().enumerate() {
        match left {
            Left::Nothing => {}
            Left::Entries => {
                if random.below(2) == 0 {
                    image.apply(entry);
                }
            }
            Left::Blocks | Left::Sectors => keep_parts(image, entry, part_bytes, |_| random.below(2) == 0),
            Left::AllButOne if number == chosen => {}
            Left::One if number != chosen => {}
            Left::Prefix if number > chosen => {}
            Left::Prefix if number == chosen => {
                let end = random.below(1 << 8) as usize;
                keep_parts(image, entry, part_bytes, |part| part < end);
            }
            Left::AllButOne | Left::One | Left::Prefix => image.apply(entry),
        }
    }
}

/// Applies those parts of an entry that are kept, which are told by their numbers.
fn keep_parts(image: &mut Image, entry: &Entry, part_bytes: usize, mut is_kept: impl FnMut(usize) -> bool) {
    match entry {
        Entry::Write { offset, bytes } => {
            for (number, part) in bytes.chunks(part_bytes).enumerate() {
                if is_kept(number) {
                    image.write(offset + (number * part_bytes) as u64, part);
                }
            }
        }
        // A range of any size, and nothing says that a device does it in parts.
        Entry::Zero { .. } => {
            if is_kept(0) {
                image.apply(entry);
            }
        }
        Entry::Flush => {}
    }
}
