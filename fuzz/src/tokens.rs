//! Signed tokens, with one key and one token that it has signed.
//!
//! An input is a token. Only what the key has signed is taken, byte for byte: nothing that can be made of it without
//! the key. The input is read as the claims of a token, too, as an issuer could write them.

use std::sync::LazyLock;

use orlop_api::access::Actions;
use orlop_auth::bearer::{Expected, Keys, access};
use serde_json::{Map, Value};

/// The public half of a key that signed one token and was thrown away.
const KEY: &[u8] = br#"{"kty":"OKP","crv":"Ed25519","kid":"fuzz","x":"UMMb8IAL_rxKWypYdY-hnESWnkL2yqTaE06B1TBD2gA"}"#;

/// That token, without its signature.
const SIGNED: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImZ1enoifQ.eyJpc3MiOiJpIiwic3ViIjoiYWxpY2UiLCJhdWQiOlsiYSJdLCJleHAiOjQxMDI\
0NDQ4MDAsImFjY2VzcyI6W3sidHlwZSI6InJlcG9zaXRvcnkiLCJuYW1lIjoiYS9iIiwiYWN0aW9ucyI6WyJwdWxsIiwicHVzaCJdfV19";

/// A time in the life of that token, in seconds since 1970.
const NOW: u64 = 2_000_000_000;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::parse(KEY).expect("a key"));

pub fn run(data: &[u8]) {
    if let Ok(token) = std::str::from_utf8(data)
        && let Some(claims) = KEYS.claims_of(token)
    {
        assert_eq!(token.rsplit_once('.').map(|(signed, _)| signed), Some(SIGNED), "not what was signed");
        assert_eq!(Expected::default().holds_until(&claims, NOW), Some(4_102_444_800));
        assert!(!access(&claims, NOW).0.actions("a/b").intersection(Actions::FULL).is_empty());
    }
    if let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) {
        let expected = Expected { issuer: Some("i".to_owned()), audiences: vec!["a".to_owned()] };
        if let Some(until) = expected.holds_until(&claims, NOW) {
            assert!(until > NOW && claims["iss"] == "i");
            assert!(
                Expected::default().holds_until(&claims, NOW) == Some(until),
                "more was asked, and less is not enough"
            );
        }
        let (scopes, first_end) = access(&claims, NOW);
        assert!(first_end.is_none_or(|end| end > NOW));
        let text = String::from_utf8_lossy(data);
        // A name that is nowhere in the token, whatever escapes it may have, is in no scope.
        if !text.contains(['\\', 'z']) {
            assert_eq!(scopes.actions("zz/z"), Actions::NONE);
        }
    }
}
