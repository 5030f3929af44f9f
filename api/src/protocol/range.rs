//! Range requests (RFC 9110 section 14): the header and the size of the content come in, the bytes
//! to send come out.
//!
//! A header that is not understood is ignored, as section 14.2 says: the answer is the whole
//! content. A header that is understood but asks for nothing that exists, or for a range that ends
//! before it begins, is answered with 416.

/// The most ranges in one request; more are answered with the whole content.
pub const RANGES_MAX: usize = 16;
/// The longest header in bytes that is read: 16 ranges of two 20-digit numbers, and space.
pub const RANGE_HEADER_BYTES_MAX: usize = 1024;

/// A part of content: bytes from `start` up to, not including, `end`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

impl ByteRange {
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The value of the Content-Range header: `bytes first-last/size`.
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

/// What to answer a request with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// 200 with everything.
    Whole,
    /// 206 with one part.
    Single(ByteRange),
    /// 206 with 2 to `RANGES_MAX` parts, ascending, with a gap between each; together they are
    /// smaller than the content.
    Multiple(Vec<ByteRange>),
    /// 416, with `unsatisfied(size)` as the Content-Range.
    Unsatisfiable,
}

/// The Content-Range of a 416 answer: `bytes */size`.
pub fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// Selects the bytes of content of `size` bytes that the Range header asks for.
pub fn select(header: &str, size: u64) -> Selection {
    let Some(specs) = parse(header) else { return Selection::Whole };
    if specs.len() > RANGES_MAX {
        return Selection::Whole;
    }
    if specs.iter().any(|spec| matches!(spec, Spec::From { first, last: Some(last) } if last < first)) {
        return Selection::Unsatisfiable;
    }
    // A non-empty suffix of nothing is all of nothing, which no Content-Range can express.
    if size == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix { bytes: 1.. })) {
        return Selection::Whole;
    }
    let mut ranges: Vec<ByteRange> = specs.iter().filter_map(|spec| spec.of(size)).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let joined = next.start <= kept.end;
        if joined {
            kept.end = kept.end.max(next.end);
        }
        joined
    });
    match ranges[..] {
        [] => Selection::Unsatisfiable,
        [range] => Selection::Single(range),
        _ => Selection::Multiple(ranges),
    }
}

/// A range as it is written. Numbers beyond 64 bits are taken as the largest: no content is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix { bytes: u64 },
}

impl Spec {
    fn of(self, size: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Spec::From { first, last: None } => (first, size),
            Spec::From { first, last: Some(last) } => (first, last.saturating_add(1).min(size)),
            Spec::Suffix { bytes } => (size.saturating_sub(bytes), size),
        };
        (start < end).then_some(ByteRange { start, end })
    }
}

/// `None` if the header is not a list of byte ranges. Reads one range more than is allowed at most.
fn parse(header: &str) -> Option<Vec<Spec>> {
    if header.len() > RANGE_HEADER_BYTES_MAX {
        return None;
    }
    let (unit, list) = header.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::with_capacity(1);
    for element in list.split(',') {
        // Empty elements of a list are skipped (section 5.6.1.2).
        let element = element.trim_matches([' ', '\t']);
        if !element.is_empty() {
            specs.push(spec(element)?);
        }
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(element: &str) -> Option<Spec> {
    let (first, last) = element.split_once('-')?;
    match (first, last) {
        ("", "") => None,
        ("", bytes) => Some(Spec::Suffix { bytes: number(bytes)? }),
        (first, "") => Some(Spec::From { first: number(first)?, last: None }),
        (first, last) => Some(Spec::From { first: number(first)?, last: Some(number(last)?) }),
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn single(start: u64, end: u64) -> Selection {
        Selection::Single(ByteRange { start, end })
    }

    #[test]
    fn one_range() {
        for (header, selection) in [
            ("bytes=0-0", single(0, 1)),
            ("bytes=0-99", single(0, 100)),
            ("bytes=0-", single(0, 100)),
            ("bytes=10-19", single(10, 20)),
            ("bytes=99-", single(99, 100)),
            ("bytes=50-5000", single(50, 100)),
            ("bytes=50-99999999999999999999999", single(50, 100)),
            ("bytes=-1", single(99, 100)),
            ("bytes=-500", single(0, 100)),
            ("bytes=-18446744073709551616", single(0, 100)),
            ("BYTES= 1-2 ,", single(1, 3)),
            ("bytes=100-200,5-6", single(5, 7)),
        ] {
            assert_eq!(select(header, 100), selection, "{header}");
        }
    }

    #[test]
    fn what_does_not_exist_is_unsatisfiable() {
        for header in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=5-2",
            "bytes=0-1,5-2",
            "bytes=18446744073709551616-",
            "bytes=18446744073709551615-18446744073709551615",
        ] {
            assert_eq!(select(header, 100), Selection::Unsatisfiable, "{header}");
        }
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-0", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Selection::Whole);
        assert_eq!(unsatisfied(100), "bytes */100");
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2-3",
            "items=0-1",
            "bytes =0-1",
            " bytes=0-1",
            "bytes=0x1-2",
            "bytes=+1-2",
            "bytes=0 -1",
            "bytes=--1",
            "bytes=0-1,x",
            "bytes=\u{661}-",
        ] {
            assert_eq!(select(header, 100), Selection::Whole, "{header:?}");
        }
        let long = format!("bytes={}0-1", ",".repeat(RANGE_HEADER_BYTES_MAX));
        assert_eq!(select(&long, 100), Selection::Whole);
    }

    #[test]
    fn several_ranges_are_ordered_and_joined() {
        let two = vec![ByteRange { start: 0, end: 10 }, ByteRange { start: 20, end: 30 }];
        for header in ["bytes=0-9,20-29", "bytes=20-29,0-9", "bytes=0-4,5-9,20-29", "bytes=0-9,3-7,20-25,22-29"] {
            assert_eq!(select(header, 100), Selection::Multiple(two.clone()), "{header}");
        }
        assert_eq!(select("bytes=0-49,50-", 100), single(0, 100));
    }

    #[test]
    fn many_ranges_are_answered_whole() {
        let list = |count: u64| (0..count).map(|i| format!("{}-{}", i * 2, i * 2)).collect::<Vec<_>>().join(",");
        assert!(
            matches!(select(&format!("bytes={}", list(16)), 100), Selection::Multiple(ranges) if ranges.len() == 16)
        );
        assert_eq!(select(&format!("bytes={}", list(17)), 100), Selection::Whole);
        assert_eq!(select(&format!("bytes={}", list(1000)), 100_000), Selection::Whole);
    }

    proptest! {
        /// Byte by byte: the selected bytes are exactly those that one of the ranges names.
        #[test]
        fn agrees_with_a_set_of_bytes(
            size in 0u64..40,
            specs in prop::collection::vec((0u64..45, 0u64..45, 0u8..3), 1..6),
        ) {
            let mut wanted = vec![false; size as usize];
            let mut reversed = false;
            let mut suffix = false;
            let mut texts = Vec::new();
            for (a, b, form) in specs {
                let (text, named): (_, Box<dyn Fn(u64) -> bool>) = match form {
                    0 => (format!("{a}-{b}"), Box::new(move |at| a <= at && at <= b)),
                    1 => (format!("{a}-"), Box::new(move |at| a <= at)),
                    _ => (format!("-{b}"), Box::new(move |at| at + b >= size)),
                };
                reversed |= form == 0 && b < a;
                suffix |= form == 2 && b > 0;
                texts.push(text);
                for at in 0..size {
                    wanted[at as usize] |= named(at);
                }
            }
            let selection = select(&format!("bytes={}", texts.join(", ")), size);
            let ranges = match &selection {
                Selection::Whole => {
                    prop_assert!(size == 0 && suffix && !reversed);
                    return Ok(());
                }
                Selection::Unsatisfiable => {
                    prop_assert!(reversed || wanted.iter().all(|wanted| !wanted));
                    return Ok(());
                }
                Selection::Single(range) => std::slice::from_ref(range),
                Selection::Multiple(ranges) => &ranges[..],
            };
            prop_assert!(!reversed);
            let mut selected = vec![false; size as usize];
            for range in ranges {
                prop_assert!(!range.is_empty() && range.end <= size);
                for at in range.start..range.end {
                    prop_assert!(!selected[at as usize]);
                    selected[at as usize] = true;
                }
            }
            prop_assert_eq!(selected, wanted);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
