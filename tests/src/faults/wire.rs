//! The kernel's side of a file system in user space, as bytes.
//!
//! In: what was read from /dev/fuse. Out: a [`Request`], and answers as the kernel wants them. The
//! layouts are those of linux/fuse.h, protocol 7.38; numbers are in the machine's own byte order. What
//! the kernel asks for beyond [`Call`] is refused with ENOSYS, which it takes as "not supported".

use rustix::io::Errno;

/// Bytes of one write or read at most.
pub const TRANSFER_BYTES_MAX: usize = 1 << 20;

/// A request: a header, its arguments, and at most one transfer.
pub const REQUEST_BYTES_MAX: usize = TRANSFER_BYTES_MAX + 8192;

const PAGES_MAX: u16 = (TRANSFER_BYTES_MAX / 4096) as u16;
const MAJOR: u32 = 7;
const MINOR: u32 = 38;
const IN_HEADER_BYTES: usize = 40;
const OUT_HEADER_BYTES: usize = 16;

/// Names and attributes change through this mount only, so the kernel may keep them.
const VALID_SECONDS: u64 = 3600;

/// What this side can do, of what the kernel offers (`FUSE_ASYNC_READ`, `FUSE_BIG_WRITES`,
/// `FUSE_ASYNC_DIO`, `FUSE_PARALLEL_DIROPS`, `FUSE_MAX_PAGES`). No writeback cache: each write comes at once.
const FLAGS: u32 = 1 | 1 << 5 | 1 << 15 | 1 << 18 | 1 << 22;

const SETATTR_MODE: u32 = 1;
const SETATTR_SIZE: u32 = 1 << 3;

/// Of an open: writes are to be durable when they are answered (`O_DSYNC`, part of `O_SYNC`).
const OPEN_DSYNC: u32 = 0o10000;
const OPEN_DIRECT: u32 = 0o40000;
const OPEN_EXCLUSIVE: u32 = 0o200;

const RENAME_NOREPLACE: u32 = 1;
const ALLOCATE_KEEP_SIZE: u32 = 1;
const ALLOCATE_PUNCH_HOLE: u32 = 2;
const ALLOCATE_ZERO_RANGE: u32 = 16;

/// One request of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To be given back in the answer.
    pub unique: u64,
    /// The node that it is about.
    pub node: u64,
    pub call: Call,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Start {
        minor: u32,
        flags: u32,
    },
    Lookup(String),
    /// No answer is expected.
    Forget,
    /// No answer is expected.
    ForgetMany(Vec<u64>),
    Attributes,
    SetAttributes {
        mode: Option<u32>,
        size: Option<u64>,
    },
    MakeDirectory {
        name: String,
        mode: u32,
    },
    Unlink(String),
    RemoveDirectory(String),
    Rename {
        name: String,
        to: u64,
        new: String,
        may_replace: bool,
    },
    Link {
        node: u64,
        name: String,
    },
    Open,
    Create {
        name: String,
        mode: u32,
        is_exclusive: bool,
    },
    /// A file without a name (`O_TMPFILE`).
    CreateUnnamed {
        mode: u32,
    },
    Read {
        offset: u64,
        length: usize,
    },
    Write {
        offset: u64,
        bytes: Vec<u8>,
        is_synced: bool,
        is_direct: bool,
    },
    Allocate {
        offset: u64,
        length: u64,
        how: Allocation,
    },
    Sync,
    Statistics,
    OpenDirectory,
    ReadDirectory {
        handle: u64,
        from: u64,
        length: usize,
    },
    CloseDirectory {
        handle: u64,
    },
    SyncDirectory,
    Close,
    /// No answer is expected.
    Interrupt,
    /// A kind of node that a store must not make: a link, a device.
    Strange(u32),
    Unknown(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    Extend,
    KeepSize,
    /// Reads as zeros from then on, whether its blocks are given back or not.
    Punch,
    Unknown,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub node: u64,
    pub size: u64,
    pub mode: u32,
    pub links: u32,
    pub blocks: u64,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub node: u64,
    pub is_directory: bool,
    pub name: String,
}

/// Reads arguments one after the other.
struct Arguments<'a>(&'a [u8]);

impl Arguments<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_ne_bytes)
    }

    /// Up to a zero byte.
    fn name(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Some(name)
    }
}

impl Request {
    /// Reads one request. `None` if it is shorter than its kind, which no kernel sends.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Arguments(bytes.get(..IN_HEADER_BYTES)?);
        let (_length, operation, unique, node) = (header.u32()?, header.u32()?, header.u64()?, header.u64()?);
        let call = call(operation, Arguments(&bytes[IN_HEADER_BYTES..]))?;
        Some(Request { unique, node, call })
    }
}

fn call(operation: u32, mut rest: Arguments<'_>) -> Option<Call> {
    let call = match operation {
        1 => Call::Lookup(rest.name()?),
        2 => Call::Forget,
        3 => Call::Attributes,
        4 => set_attributes(rest)?,
        9 => {
            let (mode, _umask) = (rest.u32()?, rest.u32()?);
            Call::MakeDirectory { name: rest.name()?, mode }
        }
        10 => Call::Unlink(rest.name()?),
        11 => Call::RemoveDirectory(rest.name()?),
        12 | 45 => {
            let to = rest.u64()?;
            let flags = if operation == 45 { rest.u64()? as u32 } else { 0 };
            let (name, new) = (rest.name()?, rest.name()?);
            match flags & !RENAME_NOREPLACE {
                0 => Call::Rename { name, to, new, may_replace: flags == 0 },
                _ => Call::Unknown(operation),
            }
        }
        13 => Call::Link { node: rest.u64()?, name: rest.name()? },
        14 => Call::Open,
        35 | 51 => {
            let (flags, mode, _umask, _open) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
            match operation {
                51 => Call::CreateUnnamed { mode },
                _ => Call::Create { name: rest.name()?, mode, is_exclusive: flags & OPEN_EXCLUSIVE != 0 },
            }
        }
        15 => {
            let (_handle, offset, length) = (rest.u64()?, rest.u64()?, rest.u32()?);
            Call::Read { offset, length: length as usize }
        }
        16 => write(rest)?,
        17 => Call::Statistics,
        18 => Call::Close,
        20 => Call::Sync,
        26 => {
            let (_major, minor, _read_ahead, flags) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
            Call::Start { minor, flags }
        }
        27 => Call::OpenDirectory,
        28 => Call::ReadDirectory { handle: rest.u64()?, from: rest.u64()?, length: rest.u32()? as usize },
        29 => Call::CloseDirectory { handle: rest.u64()? },
        30 => Call::SyncDirectory,
        36 => Call::Interrupt,
        42 => {
            let count = rest.u64()? as u32;
            let nodes = (0..count).map_while(|_| Some((rest.u64()?, rest.u64()?).0));
            Call::ForgetMany(nodes.collect())
        }
        43 => {
            let (_handle, offset, length, mode) = (rest.u64()?, rest.u64()?, rest.u64()?, rest.u32()?);
            Call::Allocate { offset, length, how: allocation(mode) }
        }
        6 | 8 => Call::Strange(operation),
        other => Call::Unknown(other),
    };
    Some(call)
}

fn set_attributes(mut rest: Arguments<'_>) -> Option<Call> {
    let (valid, _padding, _handle, size) = (rest.u32()?, rest.u32()?, rest.u64()?, rest.u64()?);
    // The lock's owner and three times.
    rest.take(4 * 8 + 3 * 4)?;
    let mode = rest.u32()?;
    let mode = (valid & SETATTR_MODE != 0).then_some(mode);
    Some(Call::SetAttributes { mode, size: (valid & SETATTR_SIZE != 0).then_some(size) })
}

fn write(mut rest: Arguments<'_>) -> Option<Call> {
    let (_handle, offset, length, _flags) = (rest.u64()?, rest.u64()?, rest.u32()?, rest.u32()?);
    let (_owner, opened, _padding) = (rest.u64()?, rest.u32()?, rest.u32()?);
    let bytes = rest.take(length as usize)?.to_vec();
    let (is_synced, is_direct) = (opened & OPEN_DSYNC != 0, opened & OPEN_DIRECT != 0);
    Some(Call::Write { offset, bytes, is_synced, is_direct })
}

fn allocation(mode: u32) -> Allocation {
    match mode {
        0 => Allocation::Extend,
        ALLOCATE_KEEP_SIZE => Allocation::KeepSize,
        mode if mode == ALLOCATE_KEEP_SIZE | ALLOCATE_PUNCH_HOLE => Allocation::Punch,
        mode if mode == ALLOCATE_KEEP_SIZE | ALLOCATE_ZERO_RANGE => Allocation::Punch,
        _ => Allocation::Unknown,
    }
}

/// What an answer carries.
#[derive(Debug, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    fn zeros(mut self, count: usize) -> Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    fn attributes(self, attributes: &Attributes) -> Self {
        let Attributes { node, size, mode, links, blocks } = *attributes;
        // No times: nothing here may depend on them.
        self.u64(node).u64(size).u64(blocks).zeros(3 * 8 + 3 * 4).u32(mode).u32(links).zeros(3 * 4).u32(4096).u32(0)
    }

    pub fn empty() -> Self {
        Reply::default()
    }

    pub fn bytes(bytes: Vec<u8>) -> Self {
        Reply(bytes)
    }

    /// The kernel's offer is answered with what of it is taken.
    pub fn start(minor: u32, offered: u32) -> Self {
        let (background, congestion) = (64, 48);
        let reply = Reply::default().u32(MAJOR).u32(minor.min(MINOR)).u32(TRANSFER_BYTES_MAX as u32);
        let reply = reply.u32(offered & FLAGS).u16(background).u16(congestion).u32(TRANSFER_BYTES_MAX as u32);
        // Times in nanoseconds, pages of a transfer, then what is not used.
        reply.u32(1).u16(PAGES_MAX).u16(0).zeros(8 * 4)
    }

    pub fn known(attributes: &Attributes) -> Self {
        Reply::default().u64(VALID_SECONDS).zeros(8).attributes(attributes)
    }

    pub fn entry(attributes: &Attributes) -> Self {
        let reply = Reply::default().u64(attributes.node).u64(0).u64(VALID_SECONDS).u64(VALID_SECONDS);
        reply.zeros(8).attributes(attributes)
    }

    pub fn opened(self, handle: u64) -> Self {
        self.u64(handle).u32(0).u32(0)
    }

    pub fn written(count: usize) -> Self {
        Reply::default().u32(u32::try_from(count).expect("no more than was asked for")).u32(0)
    }

    /// `blocks` are of 4 KiB.
    pub fn statistics(blocks: u64, free: u64) -> Self {
        let reply = Reply::default().u64(blocks).u64(free).u64(free).u64(1 << 20).u64(1 << 20);
        reply.u32(4096).u32(255).u32(4096).zeros(7 * 4)
    }

    /// As many entries from number `from` on as fit into `length` bytes.
    pub fn listing(entries: &[Listed], from: u64, length: usize) -> Self {
        let mut reply = Reply::default();
        for (number, entry) in entries.iter().enumerate().skip(from as usize) {
            let size = (24 + entry.name.len()).next_multiple_of(8);
            if reply.0.len() + size > length {
                break;
            }
            let kind = if entry.is_directory { 4 } else { 8 };
            let end = reply.0.len() + size;
            reply = reply.u64(entry.node).u64(number as u64 + 1).u32(entry.name.len() as u32).u32(kind);
            reply.0.extend_from_slice(entry.name.as_bytes());
            reply.0.resize(end, 0);
        }
        reply
    }
}

/// A whole answer.
pub fn answer(unique: u64, result: Result<Reply, Errno>) -> Vec<u8> {
    let (error, payload) = match result {
        Ok(reply) => (0, reply.0),
        Err(errno) => (-errno.raw_os_error(), Vec::new()),
    };
    let length = u32::try_from(OUT_HEADER_BYTES + payload.len()).expect("an answer fits a transfer");
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&error.to_ne_bytes());
    bytes.extend_from_slice(&unique.to_ne_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}
