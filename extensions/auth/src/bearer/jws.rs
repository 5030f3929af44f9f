//! Signed tokens in compact form (RFC 7515 section 3.1, RFC 7519), taken apart.
//!
//! In: what a client brought, which may be anything. Out: the parts of a token that has exactly one reading. Nothing
//! is believed by that: the signature is looked at with a key that the operator or an issuer named, never with one
//! that the token names or brings (`jwk`, `jku`, `x5c`, `x5u` are not read).

use orlop_api::protocol::base64;
use serde_json::{Map, Value};

/// The longest token in bytes. What a request may bring is shorter; a form may bring more.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How a token is signed. Those with a shared secret are missing: whoever could check such a token could make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    EdDsa,
    Rs(Hash),
    Ps(Hash),
    Es(Hash),
}

/// The hash that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// By its name (RFC 7518 section 3.1, RFC 8037 section 3.1), which is written in one way only.
    pub fn named(name: &str) -> Option<Self> {
        if name == "EdDSA" {
            return Some(Algorithm::EdDsa);
        }
        let (family, bits) = name.split_at_checked(2)?;
        let hash = match bits {
            "256" => Hash::Sha256,
            "384" => Hash::Sha384,
            "512" => Hash::Sha512,
            _ => return None,
        };
        match family {
            "RS" => Some(Algorithm::Rs(hash)),
            "PS" => Some(Algorithm::Ps(hash)),
            "ES" => Some(Algorithm::Es(hash)),
            _ => None,
        }
    }
}

/// A token of which nothing was checked.
#[derive(Debug)]
pub struct Jws<'t> {
    pub algorithm: Algorithm,
    /// Which key of its issuer signed it, if it says so.
    pub key_id: Option<String>,
    pub claims: Map<String, Value>,
    /// What is signed.
    pub signed: &'t [u8],
    pub signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    /// `None` for everything that is no token, or one that is signed in a way that is not known, or that demands to
    /// be understood in ways that are not (`crit`, RFC 7515 section 4.1.11).
    pub fn parse(token: &'t str) -> Option<Self> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, payload) = signed.split_once('.')?;
        if payload.contains('.') {
            return None;
        }
        let head: Map<String, Value> = serde_json::from_slice(&decode(head)?).ok()?;
        if head.contains_key("crit") {
            return None;
        }
        let key_id = match head.get("kid") {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => return None,
        };
        Some(Jws {
            algorithm: Algorithm::named(head.get("alg")?.as_str()?)?,
            key_id,
            claims: serde_json::from_slice(&decode(payload)?).ok()?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }
}

/// Base 64 for addresses, without padding (RFC 7515 section 2).
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut plain = String::with_capacity(text.len() + 3);
    for character in text.chars() {
        plain.push(match character {
            '-' => '+',
            '_' => '/',
            '+' | '/' | '=' => return None,
            other => other,
        });
    }
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    base64::decode(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signed_tokens_are_read() {
        // {"alg":"ES256","kid":"a"} . {"a":1} . 0x00
        let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJhIjoxfQ.AA";
        let read = Jws::parse(token).expect("a token");
        assert_eq!((read.algorithm, read.key_id.as_deref()), (Algorithm::Es(Hash::Sha256), Some("a")));
        assert_eq!((read.claims["a"].as_u64(), read.signature), (Some(1), vec![0]));
        for text in [
            "",
            ".",
            "..",
            "...",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJhIjoxfQ",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJhIjoxfQ.AA.AA",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ==.eyJhIjoxfQ.AA",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.W10.AA",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJhIjoxfQ.A",
            // {"alg":"none"}, {"alg":"HS256"}, {"alg":"ES256","crit":["x"]}, {"alg":"ES256","kid":1}
            "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.",
            "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.AA",
            "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsieCJdfQ.eyJhIjoxfQ.AA",
            "eyJhbGciOiJFUzI1NiIsImtpZCI6MX0.eyJhIjoxfQ.AA",
            &".".repeat(1000),
            &"a".repeat(TOKEN_BYTES_MAX + 1),
        ] {
            assert!(Jws::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn algorithms_have_one_name_each() {
        for name in ["EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"] {
            assert!(Algorithm::named(name).is_some(), "{name}");
            assert!(Algorithm::named(&name.to_lowercase()).is_none(), "{name}");
        }
        for name in ["", "none", "None", "HS256", "HS512", "ES256K", "RS", "RS1", "\u{e4}\u{e4}256"] {
            assert!(Algorithm::named(name).is_none(), "{name}");
        }
    }
}
