//! The names of content: an algorithm and its bytes, and the hashers that prove them.
//!
//! Textual form: `algorithm:hex`, lower case.

use std::{fmt, str::FromStr};

mod hasher;

pub use hasher::{Hasher, SavedState};

/// The longest digest in bytes (SHA-512).
pub const BYTES_MAX: usize = 64;

/// The algorithms content can be named with. The discriminants are part of the on-disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Algorithm {
    Sha256 = 1,
    Sha512 = 2,
    Blake3 = 3,
}

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3];

    /// The digest's length in bytes.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 | Algorithm::Blake3 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The registered identifier, as it stands before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
            Algorithm::Blake3 => "blake3",
        }
    }

    /// The algorithm of a stored discriminant.
    pub fn from_code(code: u8) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| *algorithm as u8 == code)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text).ok_or(ParseError::Algorithm)
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("a digest is ALGORITHM:HEX, the colon is missing")]
    Separator,
    #[error("the digest algorithm must be sha256, sha512 or blake3")]
    Algorithm,
    #[error("a {algorithm} digest has {} hexadecimal digits, found {found}", algorithm.digest_bytes() * 2)]
    Length { algorithm: Algorithm, found: usize },
    #[error("digest digits must be 0-9 or a-f")]
    Digit,
}

/// The name of content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// Zero beyond the algorithm's length, so that derived comparisons are right.
    bytes: [u8; BYTES_MAX],
}

impl Digest {
    /// Hashes content that is in memory.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// From raw bytes; `None` if their number does not fit the algorithm.
    pub fn from_bytes(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        if raw.len() != algorithm.digest_bytes() {
            return None;
        }
        let mut bytes = [0; BYTES_MAX];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Digest { algorithm, bytes })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.digest_bytes()]
    }

    /// The part after the colon: lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.algorithm.digest_bytes() * 2);
        for byte in self.as_bytes() {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
        text
    }

    /// Appends the stored form: the algorithm's code, then the raw bytes. Stored digests sort by
    /// algorithm, then by bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.algorithm as u8);
        out.extend_from_slice(self.as_bytes());
    }

    /// The stored form as a key of its own.
    pub fn to_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + self.algorithm.digest_bytes());
        self.encode(&mut key);
        key
    }

    /// Reads a stored digest from the front of `bytes`; gives what follows it.
    pub fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (code, rest) = bytes.split_first()?;
        let algorithm = Algorithm::from_code(*code)?;
        let (raw, rest) = rest.split_at_checked(algorithm.digest_bytes())?;
        Some((Digest::from_bytes(algorithm, raw)?, rest))
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (algorithm, hex) = text.split_once(':').ok_or(ParseError::Separator)?;
        let algorithm: Algorithm = algorithm.parse()?;
        if hex.len() != algorithm.digest_bytes() * 2 {
            return Err(ParseError::Length { algorithm, found: hex.len() });
        }
        let mut bytes = [0; BYTES_MAX];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Digest { algorithm, bytes })
    }
}

fn digit(byte: u8) -> Result<u8, ParseError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(ParseError::Digit),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_of_nothing() {
        let empty = [
            (Algorithm::Sha256, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (
                Algorithm::Sha512,
                "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
            (Algorithm::Blake3, "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ];
        for (algorithm, text) in empty {
            let digest = Digest::of(algorithm, b"");
            assert_eq!(digest.to_string(), text);
            assert_eq!(text.parse(), Ok(digest));
            assert_eq!(Digest::decode(&digest.to_key()), Some((digest, &[][..])));
        }
    }

    #[test]
    fn malformed_digests_say_why() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, error) in [
            (hex.to_owned(), ParseError::Separator),
            (format!("md5:{hex}"), ParseError::Algorithm),
            (format!("SHA256:{hex}"), ParseError::Algorithm),
            (format!("sha256:{}", hex.to_uppercase()), ParseError::Digit),
            (format!("sha512:{hex}"), ParseError::Length { algorithm: Algorithm::Sha512, found: 64 }),
            (format!("sha256:{hex}\n"), ParseError::Length { algorithm: Algorithm::Sha256, found: 65 }),
            ("sha256:".to_owned(), ParseError::Length { algorithm: Algorithm::Sha256, found: 0 }),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
    }
}
