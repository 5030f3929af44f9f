//! Base 64 with padding (RFC 4648 section 4), for content embedded in descriptors. A text comes in,
//! its bytes come out; a text with more than one reading is refused.

/// Decodes `text`; `None` if it is not canonical: other characters (line breaks too), wrong
/// padding, or unused bits that are not zero.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (index, group) in groups.iter().enumerate() {
        let last = index + 1 == groups.len();
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && !last) {
            return None;
        }
        let mut bits: u32 = 0;
        for character in &group[..4 - padding] {
            bits = bits << 6 | u32::from(value(*character)?);
        }
        bits <<= 6 * padding;
        let [_, decoded @ ..] = bits.to_be_bytes();
        let (kept, unused) = decoded.split_at(3 - padding);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, straight from the RFC's table.
    fn slow_encode(bytes: &[u8]) -> String {
        const TABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        let mut text = String::new();
        for six in bits.chunks(6) {
            let index = (0..6).fold(0, |index, bit| index << 1 | six.get(bit).copied().unwrap_or(0));
            text.push(char::from(TABLE[usize::from(index)]));
        }
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        text
    }

    #[test]
    fn vectors_of_the_rfc() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn texts_that_are_not_canonical_are_refused() {
        for text in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-v", "Z=g="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn decodes_what_was_encoded(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&slow_encode(&bytes)), Some(bytes));
        }

        #[test]
        fn accepts_only_what_encodes_back(text in "[AZaz09+/=]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(slow_encode(&bytes), text);
            }
        }
    }
}
