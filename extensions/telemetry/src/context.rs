//! What a caller says of the trace that a request belongs to.
//!
//! In: the fields `traceparent` and `tracestate` (W3C Trace Context, sections 3.2 and 3.3). Out: the trace, the
//! caller's span and its decision; or nothing, for what is not there or not of the form: then the request begins a
//! trace of its own.

/// The longest `tracestate` in bytes that is handed on; the recommendation asks for at least as many (section 3.3.1.5).
const STATE_BYTES_MAX: usize = 512;

/// The most entries of a `tracestate` (section 3.3.1.1).
const STATE_ENTRIES_MAX: usize = 32;

/// The length in bytes of what every version has: `00-<32>-<16>-<2>`.
const PARENT_BYTES: usize = 55;

/// The bit of the flags that says that the caller writes its span down.
const SAMPLED: u8 = 1;

/// A caller's span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Not 0.
    pub trace: u128,
    /// Not 0.
    pub span: u64,
    pub is_sampled: bool,
}

impl Parent {
    /// Reads the values of `traceparent`. Several of them cannot all be right.
    pub fn read(values: &[&[u8]]) -> Option<Self> {
        let [value] = values else { return None };
        let value = value.trim_ascii();
        let (begin, rest) = value.split_at_checked(PARENT_BYTES)?;
        let mut parts = begin.split(|byte| *byte == b'-');
        let mut part = |length: usize| parts.next().filter(|part| part.len() == length).and_then(hex);
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // What later versions add comes behind another dash (section 4, "Versioning of traceparent").
        let is_whole = rest.is_empty() || version > 0 && rest.starts_with(b"-");
        let span = u64::try_from(span).ok()?;
        let is_valid = version != 0xff && trace != 0 && span != 0 && is_whole && parts.next().is_none();
        is_valid.then_some(Parent { trace, span, is_sampled: flags as u8 & SAMPLED != 0 })
    }
}

/// Digits in lower case, as the recommendation has them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The entries of all `tracestate` fields, to be handed on as they are; empty if they are not of the form. They mean
/// something to others only.
pub fn state(values: &[&[u8]]) -> String {
    let length: usize = values.iter().map(|value| value.len() + 1).sum();
    if length > STATE_BYTES_MAX + 1 {
        return String::new();
    }
    let Ok(text) = String::from_utf8(values.join(&b","[..])) else { return String::new() };
    let entries = || text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let is_printable = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let is_entry = |entry: &str| entry.split_once('=').is_some_and(|(key, _)| !key.is_empty()) && is_printable(entry);
    match entries().count() <= STATE_ENTRIES_MAX && entries().all(is_entry) {
        true => entries().collect::<Vec<_>>().join(","),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_and_anything_else_is_none() {
        let parent = |flags: &str, version: &str, more: &str| {
            let text = format!("{version}{}{flags}{more}", &GOOD[2..53]);
            Parent::read(&[text.as_bytes()])
        };
        let read =
            Parent { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xb7ad_6b71_6920_3331, is_sampled: true };
        assert_eq!(parent("01", "00", ""), Some(read.clone()));
        assert_eq!(parent("ff", "00", " "), Some(read.clone()), "other flags mean nothing");
        assert_eq!(parent("01", "cc", "-anything"), Some(read.clone()), "a later version");
        assert_eq!(parent("01", "cc", ""), Some(read.clone()));
        assert_eq!(parent("00", "00", ""), Some(Parent { is_sampled: false, ..read.clone() }));
        assert_eq!(parent("02", "00", ""), Some(Parent { is_sampled: false, ..read }));
        assert_eq!(parent("01", "00", "-anything"), None, "version 0 has no more");
        assert_eq!(parent("01", "cc", "x"), None);
        assert_eq!(parent("01", "ff", ""), None);
        assert_eq!(Parent::read(&[]), None);
        assert_eq!(Parent::read(&[GOOD.as_bytes(), GOOD.as_bytes()]), None, "twice");
        for (from, to) in [
            ("0af7", "0AF7"),
            ("0af7", "+af7"),
            ("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            ("b7ad6b7169203331", "0000000000000000"),
            ("b7ad", "b7a"),
            ("c-b7", "c0b7"),
            ("00-0", "0-00"),
            ("-01", "-0"),
            ("-01", "-0x"),
            ("0af7", "\u{e9}f7"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            assert_eq!(Parent::read(&[text.as_bytes()]), None, "{text}");
        }
        for length in 0..GOOD.len() {
            assert_eq!(Parent::read(&[&GOOD.as_bytes()[..length]]), None, "{length}");
        }
    }

    #[test]
    fn a_state_is_handed_on_or_left_out() {
        assert_eq!(state(&[]), "");
        assert_eq!(state(&[b"a=1, b@c=2 ,", b"d="]), "a=1,b@c=2,d=");
        for bad in [&b"a"[..], b"=1", b"a=1,b", b"a=\xff", b"a=\x01"] {
            assert_eq!(state(&[bad]), "", "{bad:?}");
        }
        let most = format!("a={}", "x".repeat(STATE_BYTES_MAX - 2));
        assert_eq!(state(&[most.as_bytes()]), most);
        assert_eq!(state(&[format!("{most}x").as_bytes()]), "");
        let entries = ["a=1"; STATE_ENTRIES_MAX + 1].join(",");
        assert_eq!(state(&[entries.as_bytes()]), "");
        assert_eq!(state(&[&entries.as_bytes()[4..]]), &entries[4..]);
    }
}
