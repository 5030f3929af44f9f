//! The Content-Range of chunks, in both forms, with numbers of any length.

use orlop_api::protocol::upload_range::{self, UploadRangeError};

use crate::slow;

pub fn run(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    match (upload_range::parse(header), slow(header)) {
        (Ok(range), Some((first, last, total))) => {
            assert_eq!((u128::from(range.start), u128::from(range.end)), (first, last + 1), "{header:?}");
            assert!(first <= last && total.is_none_or(|total| last < total), "{header:?}");
            assert_eq!(upload_range::parse(&format!("{}-{}", range.start, range.end - 1)), Ok(range));
            assert_eq!(upload_range::parse_with_length(header, Some(range.len())), Ok(range));
            assert_eq!(upload_range::parse_with_length(header, Some(range.len() - 1)), Err(UploadRangeError::Length));
        }
        (Err(UploadRangeError::Order), Some((first, last, total))) => {
            let too_large = last >= u128::from(u64::MAX) || total.is_some_and(|total| total > u128::from(u64::MAX));
            assert!(last < first || too_large || total.is_some_and(|total| total <= last), "refused {header:?}");
        }
        (Err(UploadRangeError::Syntax), None) => {}
        // One number is already out of range where another is no number at all.
        (Err(UploadRangeError::Order), None) => assert!(header.len() >= 20, "{header:?}"),
        (found, expected) => panic!("{header:?}: {found:?}, expected {expected:?}"),
    }
}

/// `first-last`, or `bytes first-last/total` with `*` for an unknown total.
fn slow(header: &str) -> Option<(u128, u128, Option<u128>)> {
    let text = header.trim_matches([' ', '\t']);
    let is_long = text.get(..6).is_some_and(|unit| unit.eq_ignore_ascii_case("bytes "));
    let (range, total) = match is_long {
        true => {
            let at = text.find('/')?;
            (&text[6..at], Some(&text[at + 1..]))
        }
        false => (text, None),
    };
    let at = range.find('-')?;
    let (first, last) = (slow::decimal(&range[..at])?, slow::decimal(&range[at + 1..])?);
    match total {
        None | Some("*") => Some((first, last, None)),
        Some(total) => Some((first, last, Some(slow::decimal(total)?))),
    }
}
