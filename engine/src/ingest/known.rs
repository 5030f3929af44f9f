//! The bytes of content that the store has already: hashed and dropped.

use std::{collections::VecDeque, io};

use super::{
    file::{IN_FLIGHT_MAX, Means},
    filling::Filling,
    hashing::Lane,
};
use crate::{
    Digest,
    collect::Pin,
    error::{Error, Result},
    schedule::{self, JoinHandle},
};

pub(super) struct Known {
    /// What is expected.
    pub digest: Digest,
    /// Keeps the stored content.
    pub pin: Pin,
    means: Means,
    /// Bytes before this offset are hashed or about to be.
    flushed: u64,
    filling: Filling,
    /// Oldest first; at most [`IN_FLIGHT_MAX`]. Each gives its buffer back to the pool as soon as it is
    /// hashed, also while its upload waits for another one.
    hashing: VecDeque<JoinHandle<io::Result<()>>>,
}

impl Known {
    /// For content of `total` bytes (0: unknown).
    pub fn new(means: Means, digest: Digest, pin: Pin, total: u64) -> Self {
        let filling = Filling::new(&means, total);
        Known { digest, pin, means, flushed: 0, filling, hashing: VecDeque::new() }
    }

    /// Waits until bytes can be taken, and says how many: at least one. Cancel safe.
    pub async fn room(&mut self) -> Result<usize> {
        while self.hashing.len() >= IN_FLIGHT_MAX {
            self.end_oldest().await?;
        }
        self.filling.take_buffer(&self.means).await;
        Ok(self.filling.room())
    }

    /// Takes at most `room` bytes.
    pub fn push(&mut self, lane: &Lane, bytes: &[u8]) {
        if let Some(full) = self.filling.push(&self.means, bytes) {
            let start = self.flushed;
            self.flushed += full.len() as u64;
            if let Err(waiting) = lane.push(start, full).try_into_buffer() {
                self.hashing.push_back(schedule::spawn(async move { waiting.into_buffer().await.map(drop) }));
            }
        }
    }

    /// The buffer that is filling, and where in the content it begins.
    pub fn tail(&mut self) -> (u64, &mut Filling) {
        (self.flushed, &mut self.filling)
    }

    async fn end_oldest(&mut self) -> Result<()> {
        let Some(oldest) = self.hashing.front_mut() else { return Ok(()) };
        let hashed = oldest.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        drop(self.hashing.pop_front());
        hashed.map_err(|source| Error::io("hashing an upload", source))
    }
}
