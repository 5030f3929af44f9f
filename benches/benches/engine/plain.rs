//! The yardsticks: the least that plain files and system calls need for the same work.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::Path,
};

/// Bytes of one read, as many as the engine's reader takes.
const READ_BYTES: usize = 256 << 10;

/// Writes a new file and makes bytes and name durable.
pub fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(directory.join(name))?;
    file.write_all(content)?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

/// Appends and makes the bytes durable.
pub fn append(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_data()
}

/// Opens a file and reads a range of it; `look` sees the bytes. Gives how many they were.
pub fn read(path: &Path, range: &Range<u64>, mut look: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut file = File::open(path)?;
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start))?;
    }
    let len = range.end - range.start;
    let mut file = file.take(len);
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(len).unwrap_or(READ_BYTES))];
    let mut total = 0;
    while total < len {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        look(&buffer[..count]);
        total += count as u64;
    }
    Ok(total)
}

/// Removes a file of [`write`].
pub fn remove(directory: &Path, name: &str) -> io::Result<()> {
    fs::remove_file(directory.join(name))
}
