//! Percent-encoding (RFC 3986 section 2.1), decoded exactly once and strictly. A raw text comes in,
//! text in UTF-8 comes out, borrowed if nothing was encoded.

use std::borrow::Cow;

/// Why a text cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    #[error("'%' must be followed by two hexadecimal digits; broken at byte {at}")]
    Digits { at: usize },
    #[error("the percent-encoded bytes must be UTF-8")]
    Utf8,
}

/// Decodes every `%XX`. A plus stands for itself: the query grammar of RFC 3986 knows no other
/// meaning, media types contain it, and no value of the protocol contains a space.
pub fn decode(raw: &str) -> Result<Cow<'_, str>, PercentError> {
    let bytes = raw.as_bytes();
    let Some(first) = bytes.iter().position(|byte| *byte == b'%') else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut at = first;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            decoded.push(encoded_byte(bytes, at).ok_or(PercentError::Digits { at })?);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| PercentError::Utf8)
}

/// Appends `text` with everything but unreserved characters encoded, so that it is one value of a
/// query whatever it contains.
pub fn encode(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

fn encoded_byte(bytes: &[u8], at: usize) -> Option<u8> {
    let high = digit(*bytes.get(at + 1)?)?;
    let low = digit(*bytes.get(at + 2)?)?;
    Some(high << 4 | low)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_once() {
        assert_eq!(decode("a+b%2Bc").as_deref(), Ok("a+b+c"));
        assert_eq!(decode("%252e").as_deref(), Ok("%2e"));
        assert_eq!(decode("%C3%a9").as_deref(), Ok("\u{e9}"));
        assert!(matches!(decode("plain"), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn broken_encodings_are_refused() {
        for (raw, error) in [
            ("%", PercentError::Digits { at: 0 }),
            ("ab%4", PercentError::Digits { at: 2 }),
            ("%zz", PercentError::Digits { at: 0 }),
            ("%+1", PercentError::Digits { at: 0 }),
            ("%4\u{e9}", PercentError::Digits { at: 0 }),
            ("%c0%ae", PercentError::Utf8),
            ("%ff", PercentError::Utf8),
            ("%ed%a0%80", PercentError::Utf8),
        ] {
            assert_eq!(decode(raw), Err(error), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in ".{0,20}") {
            let mut encoded = String::new();
            encode(&text, &mut encoded);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(decode(&encoded).map(Cow::into_owned), Ok(text));
        }

        #[test]
        fn decoding_agrees_with_the_percent_encoding_crate(text in "[a%0-9A-Fg]{0,12}") {
            if let Ok(decoded) = decode(&text) {
                let theirs = percent_encoding::percent_decode_str(&text).decode_utf8();
                prop_assert_eq!(theirs.ok(), Some(decoded));
            }
        }
    }
}
