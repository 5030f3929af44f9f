//! The files of a journal, written by hand as docs/format.md says, whatever is to be in them.

use std::{fs, path::Path};

use orlop_engine::index::Table;

/// The code of each table that a journal may have; the one behind them is unknown.
const CODES_END: u8 = 12;

/// Bytes in place of a table's: what they do.
const END_FRAME: u8 = 0xf0;
const SKIP_A_CHANGE: u8 = 0xf1;
const REPEAT_A_CHANGE: u8 = 0xf2;
const NEXT_LOG: u8 = 0xf3;
const BEGIN_BASE: u8 = 0xf4;
const END_BASE: u8 = 0xf5;
const DELETE: u8 = 0xf6;
const FLIP: u8 = 0xf7;
const CUT: u8 = 0xf8;
const REMOVE: u8 = 0xf9;

const LOG: u32 = 1;
const BASE: u32 = 2;

/// Numbers of tables in the inputs of `records`, and their codes in a journal.
fn code(table: u8) -> u8 {
    match Table::ALL[usize::from(table) % Table::ALL.len()] {
        Table::Meta => 1,
        Table::Blobs => 2,
        Table::Bytes => 3,
        Table::Members => 4,
        Table::Namespaces => 5,
        Table::Names => 6,
        Table::Edges => 7,
        Table::Reverse => 8,
        Table::Usage => 9,
        Table::Damaged => 10,
        // Not in a journal of this version.
        Table::Holders | Table::Bindings | Table::Uploads | Table::Garbage | Table::Sizes => CODES_END - 1,
    }
}

struct Writing<'a> {
    directory: &'a Path,
    kind: u32,
    /// The file under way: its number, the change it begins with, its bytes.
    ordinal: u64,
    first: u64,
    file: Vec<u8>,
    payload: Vec<u8>,
    sequence: u64,
    /// A base was written to its end.
    has_base: bool,
}

/// Writes what an input says into a directory; whether there is a base with an end.
pub fn write(data: &[u8], directory: &Path) -> bool {
    let mut writing = Writing {
        directory,
        kind: LOG,
        ordinal: 1,
        first: 1,
        file: Vec::new(),
        payload: Vec::new(),
        sequence: 1,
        has_base: false,
    };
    writing.begin();
    let mut rest = data;
    while let Some((control, more)) = rest.split_first() {
        rest = if *control >= END_FRAME { writing.control(*control, more) } else { writing.entry(*control, more) };
    }
    writing.end_frame();
    writing.end_file();
    writing.has_base
}

impl Writing<'_> {
    fn begin(&mut self) {
        self.file = b"orlop journal 1\n".to_vec();
        self.file.extend(self.kind.to_le_bytes());
        self.file.extend(0u32.to_le_bytes());
        self.file.extend(self.first.to_le_bytes());
        self.file.extend(self.salt().to_le_bytes());
        let crc = crc32fast::hash(&self.file[..40]);
        self.file.extend(crc.to_le_bytes());
    }

    fn salt(&self) -> u64 {
        self.ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn entry<'d>(&mut self, table: u8, rest: &'d [u8]) -> &'d [u8] {
        let [key, value, rest @ ..] = rest else { return &[] };
        let (key, rest) = rest.split_at(usize::from(*key).min(rest.len()));
        let (value, rest) = rest.split_at(usize::from(*value).min(rest.len()));
        self.push(code(table), key, Some(value));
        rest
    }

    fn push(&mut self, code: u8, key: &[u8], value: Option<&[u8]>) {
        self.payload.push(if value.is_some() { code } else { code | 0x80 });
        self.payload.extend((key.len() as u16).to_le_bytes());
        self.payload.extend(key);
        if let Some(value) = value {
            self.payload.extend((value.len() as u32).to_le_bytes());
            self.payload.extend(value);
        }
    }

    fn control<'d>(&mut self, control: u8, rest: &'d [u8]) -> &'d [u8] {
        match control {
            END_FRAME => self.end_frame(),
            SKIP_A_CHANGE => {
                self.end_frame();
                self.sequence = self.sequence.wrapping_add(1);
            }
            REPEAT_A_CHANGE => {
                self.end_frame();
                self.sequence = self.sequence.saturating_sub(1);
            }
            NEXT_LOG => {
                self.end_frame();
                self.end_file();
                (self.kind, self.ordinal, self.first) = (LOG, self.ordinal + 1, self.sequence);
                self.begin();
            }
            BEGIN_BASE => {
                self.end_frame();
                self.end_file();
                (self.kind, self.ordinal, self.first) = (BASE, self.ordinal + 1, self.sequence);
                self.begin();
            }
            END_BASE if self.kind == BASE => {
                self.end_frame();
                self.frame();
                self.has_base = true;
                self.end_file();
                (self.kind, self.ordinal, self.sequence) = (LOG, self.ordinal + 1, self.sequence + 1);
                self.first = self.sequence;
                self.begin();
            }
            DELETE => {
                let [table, key, rest @ ..] = rest else { return &[] };
                let (key, rest) = rest.split_at(usize::from(*key).min(rest.len()));
                self.push(code(*table), key, None);
                return rest;
            }
            FLIP | CUT => {
                let Some((at, rest)) = rest.split_first() else { return rest };
                let at = usize::from(*at) * self.file.len() / 256;
                match self.file.get_mut(at) {
                    Some(byte) if control == FLIP => *byte ^= 1,
                    _ => self.file.truncate(at),
                }
                return rest;
            }
            REMOVE => self.file.clear(),
            _ => {}
        }
        rest
    }

    fn end_frame(&mut self) {
        if self.payload.is_empty() {
            return;
        }
        self.frame();
        if self.kind == LOG {
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    fn frame(&mut self) {
        let payload = std::mem::take(&mut self.payload);
        let mut head = b"OjF1".to_vec();
        head.extend((payload.len() as u32).to_le_bytes());
        head.extend(self.sequence.to_le_bytes());
        head.extend(crc32fast::hash(&payload).to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.salt().to_le_bytes());
        crc.update(&head);
        head.extend(crc.finalize().to_le_bytes());
        self.file.extend(head);
        self.file.extend(payload);
    }

    fn end_file(&mut self) {
        if self.file.is_empty() {
            return;
        }
        let path = match self.kind {
            BASE => {
                let base = self.directory.join(format!("base-{:016x}", self.first));
                fs::create_dir_all(&base).expect("scratch can be written");
                base.join(format!("{:016x}", 0))
            }
            _ => self.directory.join(format!("log-{:016x}-{:016x}", self.ordinal, self.first)),
        };
        fs::write(path, &self.file).expect("scratch can be written");
    }
}
