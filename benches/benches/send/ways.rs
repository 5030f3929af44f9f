//! The ways to the socket.

use std::{
    fs::File,
    io::{self, Write},
    net::TcpStream,
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
};

use memmap2::Mmap;
use rustix::fs::{MemfdFlags, memfd_create, sendfile};

/// The engine's units of reading and of checking.
const UNIT_BYTES: usize = 256 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// Sends all of a content.
pub type Way = fn(&Content, &TcpStream) -> io::Result<()>;

pub const WAYS: &[(&str, Way)] = &[
    ("memory", memory),
    ("pooled", pooled),
    ("pooled+crc", pooled_checked),
    ("mapped", mapped),
    ("mapped+crc", mapped_checked),
    ("sendfile", sendfile_of_file),
    ("sendfile+crc", sendfile_checked),
    ("sendfile of memory", sendfile_of_memory),
];

/// The same bytes in every form that a way needs.
pub struct Content {
    bytes: Vec<u8>,
    file: File,
    pages: Mmap,
    anonymous: File,
    sums: Vec<u32>,
}

impl Content {
    pub fn new(directory: &Path, size: u64) -> io::Result<Self> {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + at / 251) as u8).collect();
        let path = directory.join(size.to_string());
        std::fs::write(&path, &bytes)?;
        let file = File::open(&path)?;
        // SAFETY: nobody changes the file, which lies in a directory of this process.
        let pages = unsafe { Mmap::map(&file)? };
        let mut anonymous = File::from(memfd_create("content", MemfdFlags::CLOEXEC)?);
        anonymous.write_all(&bytes)?;
        let sums = bytes.chunks(CHUNK_BYTES).map(crc32fast::hash).collect();
        Ok(Content { bytes, file, pages, anonymous, sums })
    }

    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn check(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let first = offset / CHUNK_BYTES;
        for (number, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            if crc32fast::hash(chunk) != self.sums[first + number] {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    /// Calls with the offset of each unit and what follows it at most.
    fn units(&self) -> impl Iterator<Item = (usize, usize)> {
        let size = self.bytes.len();
        (0..size).step_by(UNIT_BYTES).map(move |offset| (offset, UNIT_BYTES.min(size - offset)))
    }
}

fn memory(content: &Content, mut socket: &TcpStream) -> io::Result<()> {
    socket.write_all(&content.bytes)
}

fn pooled(content: &Content, socket: &TcpStream) -> io::Result<()> {
    read_and_send(content, socket, false)
}

fn pooled_checked(content: &Content, socket: &TcpStream) -> io::Result<()> {
    read_and_send(content, socket, true)
}

fn read_and_send(content: &Content, mut socket: &TcpStream, checked: bool) -> io::Result<()> {
    let mut buffer = [0; UNIT_BYTES];
    for (offset, len) in content.units() {
        let unit = &mut buffer[..len];
        content.file.read_exact_at(unit, offset as u64)?;
        if checked {
            content.check(offset, unit)?;
        }
        socket.write_all(unit)?;
    }
    Ok(())
}

fn mapped(content: &Content, mut socket: &TcpStream) -> io::Result<()> {
    socket.write_all(&content.pages)
}

fn mapped_checked(content: &Content, mut socket: &TcpStream) -> io::Result<()> {
    for (offset, len) in content.units() {
        let unit = &content.pages[offset..offset + len];
        content.check(offset, unit)?;
        socket.write_all(unit)?;
    }
    Ok(())
}

fn sendfile_of_file(content: &Content, socket: &TcpStream) -> io::Result<()> {
    send(&content.file, socket, 0, content.bytes.len())
}

fn sendfile_of_memory(content: &Content, socket: &TcpStream) -> io::Result<()> {
    send(&content.anonymous, socket, 0, content.bytes.len())
}

fn sendfile_checked(content: &Content, socket: &TcpStream) -> io::Result<()> {
    for (offset, len) in content.units() {
        content.check(offset, &content.pages[offset..offset + len])?;
        send(&content.file, socket, offset, len)?;
    }
    Ok(())
}

fn send(file: &File, socket: &TcpStream, offset: usize, len: usize) -> io::Result<()> {
    let mut position = offset as u64;
    let end = (offset + len) as u64;
    while position < end {
        let count = usize::try_from(end - position).expect("it fits memory");
        if sendfile(socket.as_fd(), file.as_fd(), Some(&mut position), count)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
