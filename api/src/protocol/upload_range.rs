//! The Content-Range of a chunk: the header comes in, the bytes of the upload it fills come out.
//!
//! The specification's form is `first-last`, both inclusive (spec, "Pushing a blob in chunks").
//! Clients that follow RFC 9110 section 14.4 send `bytes first-last/total` or `bytes first-last/*`;
//! both are read too.

use super::range::ByteRange;

/// Why a Content-Range is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadRangeError {
    #[error("the Content-Range of a chunk must be FIRST-LAST in decimal digits, such as 0-1023")]
    Syntax,
    #[error("the Content-Range of a chunk must not end before it begins, nor beyond the total")]
    Order,
    #[error("the Content-Range of a chunk does not match the chunk's Content-Length")]
    Length,
}

/// Reads a Content-Range. The result is not empty and its end fits 64 bits.
pub fn parse(header: &str) -> Result<ByteRange, UploadRangeError> {
    let text = header.trim_matches([' ', '\t']);
    let (range, total) = match text.split_once(' ') {
        Some((unit, rest)) if unit.eq_ignore_ascii_case("bytes") => {
            let (range, total) = rest.split_once('/').ok_or(UploadRangeError::Syntax)?;
            (range, if total == "*" { None } else { Some(number(total)?) })
        }
        Some(_) => return Err(UploadRangeError::Syntax),
        None => (text, None),
    };
    let (first, last) = range.split_once('-').ok_or(UploadRangeError::Syntax)?;
    let (start, last) = (number(first)?, number(last)?);
    // The last byte's position is below the end, which must be a number too.
    let end = last.checked_add(1).ok_or(UploadRangeError::Order)?;
    if last < start || total.is_some_and(|total| total < end) {
        return Err(UploadRangeError::Order);
    }
    Ok(ByteRange { start, end })
}

/// Reads a Content-Range and compares it with the number of bytes that follow, if that is known.
pub fn parse_with_length(header: &str, length: Option<u64>) -> Result<ByteRange, UploadRangeError> {
    let range = parse(header)?;
    match length {
        Some(length) if length != range.len() => Err(UploadRangeError::Length),
        _ => Ok(range),
    }
}

/// The Range header of an upload's answers: `0-last`. An upload without bytes has no last one; it
/// is answered with `0-0`, which clients know from the first registries.
pub fn received(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// Digits only. A number beyond 64 bits is well formed, but no upload is that long.
fn number(text: &str) -> Result<u64, UploadRangeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UploadRangeError::Syntax);
    }
    text.parse().map_err(|_| UploadRangeError::Order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_that_are_read() {
        for header in ["10-19", "bytes 10-19/*", "bytes 10-19/20", "Bytes 10-19/21", " 10-19 ", "010-0019"] {
            assert_eq!(parse(header), Ok(ByteRange { start: 10, end: 20 }), "{header}");
        }
        assert_eq!(parse("0-18446744073709551614"), Ok(ByteRange { start: 0, end: u64::MAX }));
    }

    #[test]
    fn wrong_order_is_told_from_wrong_syntax() {
        for header in ["5-3", "bytes 0-9/9", "0-18446744073709551615", "0-18446744073709551616", "bytes 5-3/*"] {
            assert_eq!(parse(header), Err(UploadRangeError::Order), "{header}");
        }
        for header in [
            "",
            "-",
            "0-",
            "-5",
            "-1-5",
            "0",
            "a-b",
            "0-1-2",
            "bytes=0-1",
            "bytes 0-1",
            "bytes 0-1/",
            "0-1/2",
            "bytes */5",
            "items 0-1/2",
            "0 -1",
            "0- 1",
            "+0-1",
            "bytes  0-1/2",
        ] {
            assert_eq!(parse(header), Err(UploadRangeError::Syntax), "{header:?}");
        }
    }

    #[test]
    fn length_must_match() {
        assert_eq!(parse_with_length("0-9", Some(10)), Ok(ByteRange { start: 0, end: 10 }));
        assert_eq!(parse_with_length("0-9", None), Ok(ByteRange { start: 0, end: 10 }));
        assert_eq!(parse_with_length("0-9", Some(9)), Err(UploadRangeError::Length));
    }

    #[test]
    fn received_bytes_are_inclusive() {
        assert_eq!(received(0), "0-0");
        assert_eq!(received(1), "0-0");
        assert_eq!(received(1024), "0-1023");
    }

    proptest! {
        #[test]
        fn ordered_pairs_round_trip(start in 0..u64::MAX, extra in 0..u64::MAX) {
            let last = start.saturating_add(extra).min(u64::MAX - 1);
            prop_assert_eq!(parse(&format!("{start}-{last}")), Ok(ByteRange { start, end: last + 1 }));
            prop_assert_eq!(parse(&format!("bytes {start}-{last}/{}", last + 1)), Ok(ByteRange { start, end: last + 1 }));
        }
    }
}
