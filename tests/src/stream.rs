//! Deterministic bytes of any length, made and hashed as they pass.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use sha2::{Digest, Sha256};

use crate::http::Body;

/// Bytes in one frame.
const FRAME_BYTES: usize = 1 << 20;

/// `sha256:<hex>` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    name(Sha256::new().chain_update(bytes))
}

/// `sha512:<hex>` of `bytes`.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&sha2::Sha512::digest(bytes)))
}

fn name(hasher: Sha256) -> String {
    format!("sha256:{}", hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `length` bytes that differ for each seed and do not repeat.
pub fn bytes(seed: u64, length: usize) -> Bytes {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast and the same everywhere.
pub struct Random(pub u64);

impl Random {
    #[expect(clippy::should_implement_trait, reason = "an endless sequence needs no Option")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The digest of a [`Large`] body, known once it was sent whole.
#[derive(Clone, Default)]
pub struct Sent(Arc<Mutex<Option<String>>>);

impl Sent {
    /// # Panics
    /// If the body has not been sent whole.
    pub fn digest(&self) -> String {
        self.0.lock().expect("no sender panics").clone().expect("the body was sent whole")
    }
}

/// A request body too large to hold in memory: one random frame, stamped with its number.
pub struct Large {
    frame: Vec<u8>,
    number: u64,
    remaining: u64,
    hasher: Sha256,
    sent: Sent,
}

impl Large {
    /// A body of `length` bytes, a multiple of one MiB, and where its digest will be.
    pub fn body(length: u64) -> (Body, Sent) {
        assert!(length.is_multiple_of(FRAME_BYTES as u64), "whole frames only");
        let sent = Sent::default();
        let large = Self {
            frame: bytes(7, FRAME_BYTES).to_vec(),
            number: 0,
            remaining: length,
            hasher: Sha256::new(),
            sent: sent.clone(),
        };
        (large.boxed_unsync(), sent)
    }
}

impl HttpBody for Large {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let large = self.get_mut();
        if large.remaining == 0 {
            return Poll::Ready(None);
        }
        large.frame[..8].copy_from_slice(&large.number.to_le_bytes());
        large.number += 1;
        large.remaining -= FRAME_BYTES as u64;
        large.hasher.update(&large.frame);
        if large.remaining == 0 {
            *large.sent.0.lock().expect("no reader panics") = Some(name(large.hasher.clone()));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&large.frame)))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

/// Reads a body to its end without keeping it: its length and its digest.
///
/// Errors: the connection broke before the announced end.
pub async fn drain(mut body: Incoming) -> Result<(u64, String), hyper::Error> {
    let mut length = 0;
    let mut hasher = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            length += data.len() as u64;
            hasher.update(&data);
        }
    }
    Ok((length, name(hasher)))
}
