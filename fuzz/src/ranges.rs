//! Range requests against a set of bytes, and the length of answers with several parts.
//!
//! An input is the size of the content (8 bytes, little endian, or fewer at the end of the input)
//! and the header.

use orlop_api::protocol::{
    ByteRange, Selection,
    multipart::Multipart,
    range::{self, RANGE_HEADER_BYTES_MAX, RANGES_MAX},
};

use crate::slow;

/// Content up to this size is compared byte by byte.
const BYTES_COMPARED_MAX: u64 = 256;

pub fn run(data: &[u8]) {
    let (size, header) = data.split_at(data.len().min(8));
    let mut bytes = [0; 8];
    bytes[..size.len()].copy_from_slice(size);
    let size = u64::from_le_bytes(bytes);
    let Ok(header) = std::str::from_utf8(header) else { return };
    let selection = range::select(header, size);
    let expected = slow(header);
    match &selection {
        Selection::Whole => {
            let ignored = expected.is_none_or(|specs| specs.len() > RANGES_MAX);
            assert!(ignored || size == 0, "ignored {header:?} of {size}");
        }
        Selection::Unsatisfiable => {
            let specs = expected.expect("a header that is answered is understood");
            let reversed = specs.iter().any(|spec| matches!(spec, (Some(first), Some(last)) if last < first));
            let anything = (0..size.min(BYTES_COMPARED_MAX)).any(|at| is_wanted(&specs, at, size));
            assert!(reversed || !anything, "refused {header:?} of {size}");
        }
        Selection::Single(range) => check(&[*range], header, size),
        Selection::Multiple(ranges) => {
            assert!(ranges.len() >= 2);
            check(ranges, header, size);
            let multipart = Multipart::new(u128::from(size), "application/octet-stream", size);
            let framing: u64 = ranges.iter().map(|range| multipart.part_header(range, false).len() as u64).sum();
            let content: u64 = ranges.iter().map(ByteRange::len).sum();
            // The first part does not have the line break that ends the one before it.
            if size < 1 << 63 {
                let length = framing - 2 + content + multipart.end().len() as u64;
                assert_eq!(multipart.content_length(ranges), length);
            }
        }
    }
}

fn check(ranges: &[ByteRange], header: &str, size: u64) {
    let specs = slow(header).expect("a header that is answered is understood");
    assert!(ranges.len() <= RANGES_MAX);
    assert!(ranges.iter().all(|range| range.start < range.end && range.end <= size), "{ranges:?} of {size}");
    assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
    // Near the edges of the ranges, and at both ends of the content.
    let edges = ranges.iter().flat_map(|range| [range.start.saturating_sub(1), range.start, range.end - 1, range.end]);
    let ends = (0..size.min(BYTES_COMPARED_MAX)).chain(size.saturating_sub(BYTES_COMPARED_MAX)..size);
    for at in edges.chain(ends).filter(|at| *at < size) {
        let selected = ranges.iter().any(|range| range.start <= at && at < range.end);
        assert_eq!(selected, is_wanted(&specs, at, size), "byte {at} of {size}, {header:?}");
    }
}

type Spec = (Option<u128>, Option<u128>);

fn is_wanted(specs: &[Spec], at: u64, size: u64) -> bool {
    let (at, size) = (u128::from(at), u128::from(size));
    specs.iter().any(|spec| match spec {
        (Some(first), Some(last)) => *first <= at && at <= *last,
        (Some(first), None) => *first <= at,
        (None, Some(suffix)) => at >= size.saturating_sub(*suffix),
        (None, None) => false,
    })
}

/// RFC 9110 section 14.1.1: ranges as pairs of optional numbers.
fn slow(header: &str) -> Option<Vec<Spec>> {
    let unit = header.get(..6)?;
    if !unit.eq_ignore_ascii_case("bytes=") || header.len() > RANGE_HEADER_BYTES_MAX {
        return None;
    }
    let mut specs = Vec::new();
    for element in header[6..].split(',') {
        let element = element.trim_matches([' ', '\t']);
        if element.is_empty() {
            continue;
        }
        let at = element.find('-')?;
        let number = |text: &str| if text.is_empty() { Some(None) } else { slow::decimal(text).map(Some) };
        let spec = (number(&element[..at])?, number(&element[at + 1..])?);
        if spec == (None, None) {
            return None;
        }
        specs.push(spec);
    }
    (!specs.is_empty()).then_some(specs)
}
