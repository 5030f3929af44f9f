//! A growing file: bytes are gathered in aligned buffers and written while more come in.

use std::{collections::VecDeque, io, sync::Arc};

use super::{
    filling::{BUFFER_BYTES_MAX, Filling},
    hashing::{Hashed, Lane},
    held::Held,
    reservation::{Ahead, Reservation},
};
use crate::{
    environment::Environment,
    error::{Error, Result},
    io::{ALIGNMENT, Buffer, Disk, Handle, Pool, StorePath},
    schedule::{self, JoinHandle},
};

/// Buffers under way per file, each being hashed and then written; with three the hash never waits for
/// the disk, nor for the socket. With the buffer being filled an upload has at most 2 MiB. (A file that
/// begins with bytes that were held back may have more buffers under way, but no more bytes.)
pub(super) const IN_FLIGHT_MAX: usize = 3;

/// The same while all uploads together have no more than [`PLENTY_BYTES`]: with few of them there is nobody else whose
/// work fills the moments in which one waits for a thread to wake up.
const IN_FLIGHT_PLENTY_MAX: usize = 16;

/// What one upload with so many buffers has, and another one beside it.
const PLENTY_BYTES: usize = 2 * IN_FLIGHT_PLENTY_MAX * BUFFER_BYTES_MAX;

/// The same once all uploads together have more than [`CROWDED_BYTES`]: so many of them keep every thread busy, and
/// what each holds counts.
const IN_FLIGHT_CROWDED_MAX: usize = 2;
const CROWDED_BYTES: usize = 128 << 20;

/// What a file sink needs from the store.
#[derive(Clone)]
pub(super) struct Means {
    pub disk: Arc<dyn Disk>,
    pub pool: Pool,
    pub environment: Arc<dyn Environment>,
    /// No buffer is larger: a running upload is written down at the end of a buffer.
    pub buffer_bytes_max: usize,
    /// What all uploads have allocated ahead.
    pub ahead: Arc<Ahead>,
}

/// Why nothing more can be done with a file.
#[derive(Clone, Copy)]
enum Broken {
    NoSpace,
    Failed,
}

impl Broken {
    fn by(error: &Error) -> Self {
        if matches!(error, Error::NoSpace) { Broken::NoSpace } else { Broken::Failed }
    }
}

pub(super) struct FileSink {
    means: Means,
    file: Handle,
    /// Bytes before this offset are written or on their way, by the hasher; a multiple of the alignment.
    flushed: u64,
    /// Bytes from `flushed` on.
    tail: Filling,
    /// Oldest first. Each gives its buffer back to the pool as soon as it lands, whether or not
    /// its upload goes on; only a padded tail is handed back here.
    in_flight: VecDeque<JoinHandle<io::Result<Option<Buffer>>>>,
    /// The youngest one under way is the tail itself, padded; this many of its bytes count. It
    /// comes back as the tail when it lands, before its place is written again.
    tail_in_flight: Option<usize>,
    broken: Option<Broken>,
    reservation: Reservation,
    /// An allocation under way. It must end before the file is cut: it makes the file longer.
    allocation: Option<JoinHandle<io::Result<()>>>,
}

impl FileSink {
    /// A new unnamed file for `total` bytes (0: unknown), of which the first get room.
    pub async fn create(means: Means, total: u64) -> Result<Self> {
        let (file, reservation) = create(&means, total).await?;
        let tail = Filling::new(&means, total);
        Ok(FileSink::over(means, file, 0, tail, reservation))
    }

    /// A new unnamed file that begins with bytes that were held back until now, whose writes start
    /// at once. Cancel safe, if `held` is given up after this has returned.
    pub async fn create_for(means: Means, total: u64) -> Result<impl FnOnce(Held) -> Self> {
        let (file, reservation) = create(&means, total).await?;
        Ok(move |held: Held| {
            let (full, tail) = held.into_parts();
            let mut sink = FileSink::over(means, file, 0, tail, reservation);
            full.into_iter().for_each(|buffer| sink.write_full(buffer));
            sink
        })
    }

    /// A suspended upload's file, of which `offset` bytes count.
    pub async fn reopen(means: Means, path: &StorePath, offset: u64) -> Result<Self> {
        let file = means.disk.open(path, true).await.map_err(|source| Error::io("opening an upload file", source))?;
        let flushed = offset - offset % ALIGNMENT as u64;
        let tail = Filling::new(&means, 0);
        let mut reservation = Reservation::new(means.ahead.clone(), 0);
        reservation.cut(flushed);
        let mut sink = FileSink::over(means, file, flushed, tail, reservation);
        let rest = usize::try_from(offset - flushed).expect("less than the alignment");
        if rest > 0 {
            let buffer = Filling::block(&sink.means).await;
            let read = sink.means.disk.read(&sink.file, buffer, flushed, rest);
            let tail = read.await.map_err(|source| Error::io("reading an upload file", source))?;
            if tail.filled().len() != rest {
                return Err(Error::io("reading an upload file", io::ErrorKind::UnexpectedEof.into()));
            }
            sink.tail.put_back(tail);
        }
        Ok(sink)
    }

    fn over(means: Means, file: Handle, flushed: u64, tail: Filling, reservation: Reservation) -> Self {
        FileSink {
            means,
            file,
            flushed,
            tail,
            in_flight: VecDeque::new(),
            tail_in_flight: None,
            broken: None,
            reservation,
            allocation: None,
        }
    }

    /// The content will have so many bytes.
    pub fn expect(&mut self, total: u64) {
        self.reservation.expect(total);
    }

    pub fn handle(&self) -> &Handle {
        &self.file
    }

    /// Whether the file has, or is about to have, exactly the bytes taken so far.
    pub fn is_flush(&self) -> bool {
        !self.tail.has_buffer() && self.tail_in_flight.is_none()
    }

    pub fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Nothing more can be done with this file: every later operation fails for the same reason.
    pub fn give_up(&mut self, error: &Error) {
        self.broken.get_or_insert(Broken::by(error));
    }

    /// Waits until bytes can be taken, and says how many: at least one. Cancel safe.
    pub async fn room(&mut self) -> Result<usize> {
        while self.in_flight.len() >= self.in_flight_max() || self.tail_in_flight.is_some() {
            self.land_one().await?;
        }
        self.tail.take_buffer(&self.means).await;
        self.check()?;
        Ok(self.tail.room())
    }

    /// Goes back to the least as soon as others come: who has more under way then lands it before he takes a buffer.
    fn in_flight_max(&self) -> usize {
        match self.means.pool.bytes_out() {
            ..PLENTY_BYTES if !self.means.pool.is_scarce() => IN_FLIGHT_PLENTY_MAX,
            ..CROWDED_BYTES => IN_FLIGHT_MAX,
            _ => IN_FLIGHT_CROWDED_MAX,
        }
    }

    /// Takes at most `room` bytes.
    pub fn push(&mut self, lane: &Lane, bytes: &[u8]) {
        if let Some(full) = self.tail.push(&self.means, bytes) {
            self.write_full(lane.push(self.flushed, full));
        }
    }

    fn write_full(&mut self, buffer: Hashed) {
        let written = buffer.len as u64;
        self.write(buffer, false);
        self.flushed += written;
        self.allocate_ahead();
    }

    /// Starts the next allocation when it is due. Its outcome does not matter: where there are no
    /// blocks, the writes will tell.
    fn allocate_ahead(&mut self) {
        if self.allocation.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        if let Some(range) = self.reservation.next(self.flushed) {
            self.allocation = self.means.disk.reserve(&self.file, range).map(schedule::spawn);
        }
    }

    async fn end_allocation(&mut self) {
        if let Some(running) = &mut self.allocation {
            let _ = running.await;
            self.allocation = None;
        }
    }

    /// The file was cut to its bytes, up to the end of their last block.
    pub fn was_cut(&mut self) {
        self.reservation.cut(self.flushed);
    }

    /// Bytes of the settled file, with what pads its last block.
    pub fn settled_len(&self) -> u64 {
        let tail = self.tail.partial().len().next_multiple_of(ALIGNMENT);
        self.flushed + tail as u64
    }

    /// The bytes that are not on their way, and where in the content they begin.
    pub fn tail(&self) -> (u64, &[u8]) {
        (self.flushed, self.tail.partial())
    }

    /// Brings every byte taken so far to the file, all of them being hashed; the last block is padded with
    /// zeros there and stays in memory for what follows. Takes no further buffer: the pool may be used up by
    /// uploads that wait for exactly this. Cancel safe.
    pub async fn settle(&mut self) -> Result<()> {
        self.land_all().await?;
        if let Some(tail) = self.tail.take_partial() {
            self.tail_in_flight = Some(tail.len());
            self.write(Hashed::already(tail), true);
        }
        self.land_all().await
    }

    /// Starts a write at `flushed`, padded, as soon as the buffer is hashed.
    fn write(&mut self, buffer: Hashed, keep: bool) {
        let (disk, file, offset) = (self.means.disk.clone(), self.file.clone(), self.flushed);
        let write = move |mut buffer: Buffer| {
            buffer.pad_to_alignment();
            disk.write(&file, buffer, offset)
        };
        let writing = match buffer.try_into_buffer() {
            Ok(buffer) => {
                let write = write(buffer);
                schedule::spawn(async move { write.await.map(|buffer| keep.then_some(buffer)) })
            }
            Err(hashed) => schedule::spawn(async move {
                let write = write(hashed.into_buffer().await?);
                write.await.map(|buffer| keep.then_some(buffer))
            }),
        };
        self.in_flight.push_back(writing);
    }

    /// Like `settle`, for a file that is complete: what is left of it is hashed, and the tail is given up.
    pub async fn finish(&mut self, lane: &Lane) -> Result<()> {
        if self.tail_in_flight.is_some() {
            self.land_all().await?;
        }
        if let Some(tail) = self.tail.take_partial() {
            self.write(lane.push(self.flushed, tail), false);
        }
        self.land_all().await
    }

    /// Waits for the writes under way, and for an allocation. Cancel safe.
    pub async fn land_all(&mut self) -> Result<()> {
        self.end_allocation().await;
        while !self.in_flight.is_empty() {
            self.land_one().await?;
        }
        self.check()
    }

    async fn land_one(&mut self) -> Result<()> {
        let Some(oldest) = self.in_flight.front_mut() else { return Ok(()) };
        let landed = oldest.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        drop(self.in_flight.pop_front());
        let was_tail = self.tail_in_flight.take_if(|_| self.in_flight.is_empty());
        let buffer = landed.map_err(|source| {
            let error = Error::io("writing an upload file", source);
            self.broken.get_or_insert(Broken::by(&error));
            error
        })?;
        if let (Some(len), Some(mut buffer)) = (was_tail, buffer) {
            buffer.truncate(len);
            self.tail.put_back(buffer);
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        match self.broken {
            None => Ok(()),
            Some(Broken::NoSpace) => Err(Error::NoSpace),
            Some(Broken::Failed) => {
                let earlier = io::Error::other("an earlier write of this upload failed");
                Err(Error::io("writing an upload file", earlier))
            }
        }
    }

    /// Feeds the first `len` bytes of a settled file to `consume`.
    pub async fn read_back(&mut self, len: u64, mut consume: impl FnMut(&[u8])) -> Result<()> {
        let mut offset = 0;
        let mut buffer = self.means.pool.take(BUFFER_BYTES_MAX).await;
        while offset < len {
            let count = usize::try_from(len - offset).unwrap_or(usize::MAX).min(BUFFER_BYTES_MAX);
            buffer.clear();
            let read = self.means.disk.read(&self.file, buffer, offset, count);
            buffer = read.await.map_err(|source| Error::io("reading an upload file", source))?;
            if buffer.filled().is_empty() {
                return Err(Error::io("reading an upload file", io::ErrorKind::UnexpectedEof.into()));
            }
            consume(buffer.filled());
            offset += buffer.filled().len() as u64;
        }
        Ok(())
    }
}

async fn create(means: &Means, total: u64) -> Result<(Handle, Reservation)> {
    let mut reservation = Reservation::new(means.ahead.clone(), total);
    let first = reservation.next(0).map_or(0, |range| range.end);
    let file = means.disk.create(first).await.map_err(|source| Error::io("creating an upload file", source))?;
    Ok((file, reservation))
}
