//! What is given to browsers to keep, so that nobody else can read it, and nobody can change it unnoticed.
//!
//! AES-256-GCM-SIV (RFC 8452): the nonces are random, and one that came twice would tell no more than that the same
//! was sealed twice. What a text was sealed for goes with it, so that it is good for nothing else.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{
    base64url,
    logins::{KEY_BYTES, fill_random},
};

/// The longest text that is looked at, in bytes: browsers keep no longer ones (RFC 6265 section 6.1).
const TEXT_BYTES_MAX: usize = 4096;

/// Separates this use of a secret from any other (BLAKE3 key derivation).
const CONTEXT: &str = "orlop 2026 sealed cookies, version 1";

/// The least bytes of a secret: who can guess it can log in as anybody.
const SECRET_BYTES_MIN: usize = 16;

/// A secret that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has {bytes} bytes, expected at least {SECRET_BYTES_MIN}; 'openssl rand -hex 32' makes a good one")]
pub struct WeakSecret {
    bytes: usize,
}

/// Seals and opens.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// With a key of this process.
    pub fn random() -> Self {
        let mut key = [0; KEY_BYTES];
        fill_random(&mut key);
        Sealer::with(&key)
    }

    /// With a key that is made from secrets, the same one wherever these are.
    ///
    /// Errors: the first one is so short that it could be guessed.
    pub fn of(secret: &str, more: &str) -> Result<Self, WeakSecret> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(WeakSecret { bytes: secret.len() });
        }
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        // The length says where one ends and the other begins.
        hasher.update(&(secret.len() as u64).to_be_bytes()).update(secret.as_bytes()).update(more.as_bytes());
        Ok(Sealer::with(hasher.finalize().as_bytes()))
    }

    fn with(key: &[u8; KEY_BYTES]) -> Self {
        Sealer(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).expect("the key has the length of the cipher")))
    }

    /// The text is good for `purpose` only.
    pub fn seal(&self, purpose: &str, content: &[u8]) -> String {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        let mut sealed = content.to_vec();
        let (unique, purpose) = (Nonce::assume_unique_for_key(nonce), Aad::from(purpose.as_bytes()));
        self.0.seal_in_place_append_tag(unique, purpose, &mut sealed).expect("it is far shorter than 2^36 bytes");
        base64url::encode(&[&nonce, &sealed[..]].concat())
    }

    /// What was sealed; `None` for everything that was not sealed with this key for this purpose.
    pub fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = base64url::decode(Some(text).filter(|text| text.len() <= TEXT_BYTES_MAX)?)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut content = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn what_was_sealed_is_opened_with_the_same_key_for_the_same_purpose() {
        let sealer = Sealer::of(SECRET, "").expect("a key");
        let text = sealer.seal("a", b"content");
        assert_ne!(text, sealer.seal("a", b"content"), "no two are alike");
        assert_eq!(sealer.open("a", &text).as_deref(), Some(&b"content"[..]));
        assert_eq!(Sealer::of(SECRET, "").expect("a key").open("a", &text).as_deref(), Some(&b"content"[..]));
        assert_eq!(sealer.open("b", &text), None, "another purpose");
        assert_eq!(Sealer::of(SECRET, "x").expect("a key").open("a", &text), None, "another key");
        assert_eq!(Sealer::random().open("a", &text), None, "another key");
        assert_eq!(sealer.open("a", &sealer.seal("a", b"")).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn nothing_else_is_opened() {
        let sealer = Sealer::random();
        let text = sealer.seal("a", b"content");
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(sealer.open("a", &changed), None, "{at}");
            assert_eq!(sealer.open("a", &text[..at]), None, "{at}");
        }
        for text in ["", "A", "\u{e4}", &"A".repeat(TEXT_BYTES_MAX + 4), &format!("{text}AAAA")] {
            assert_eq!(sealer.open("a", text), None);
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_and_not_shown() {
        let error = Sealer::of("secret", "more").expect_err("too short").to_string();
        assert!(error.contains("6 bytes") && !error.contains("secret"), "{error}");
        assert_eq!(format!("{:?}", Sealer::random()), "Sealer");
    }
}
