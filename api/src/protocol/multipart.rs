//! The framing of an answer with several ranges: `multipart/byteranges` (RFC 9110 section 14.6,
//! RFC 2046 section 5.1). The ranges come in; the texts between the parts and the exact length of
//! the whole body come out, so that the answer has a Content-Length.

use super::range::ByteRange;

/// The framing of one answer.
#[derive(Debug, Clone)]
pub struct Multipart {
    boundary: String,
    content_type: &'static str,
    size: u64,
}

impl Multipart {
    /// `random` makes the boundary: 128 bits that the content's author could not know, so the
    /// content cannot contain it but by chance. `size` is that of the whole content.
    pub fn new(random: u128, content_type: &'static str, size: u64) -> Self {
        Multipart { boundary: format!("{random:032x}"), content_type, size }
    }

    /// The Content-Type of the answer.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// What is sent before the bytes of `range`. `first` says that no part came before.
    pub fn part_header(&self, range: &ByteRange, first: bool) -> String {
        format!(
            "{}--{}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
            if first { "" } else { "\r\n" },
            self.boundary,
            self.content_type,
            range.content_range(self.size),
        )
    }

    /// What is sent after the bytes of the last part.
    pub fn end(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// The length of the whole body in bytes. The ranges must be those of one `Selection`, which
    /// do not overlap: the sum fits 64 bits for any content below 2^63 bytes.
    pub fn content_length(&self, ranges: &[ByteRange]) -> u64 {
        let parts = ranges.iter().enumerate();
        let parts: u64 =
            parts.map(|(index, range)| self.part_header(range, index == 0).len() as u64 + range.len()).sum();
        parts + self.end().len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(multipart: &Multipart, ranges: &[ByteRange], content: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            body.extend_from_slice(multipart.part_header(range, index == 0).as_bytes());
            body.extend_from_slice(&content[range.start as usize..range.end as usize]);
        }
        body.extend_from_slice(multipart.end().as_bytes());
        body
    }

    #[test]
    fn two_parts() {
        let multipart = Multipart::new(0xff, "application/octet-stream", 10);
        let boundary = "000000000000000000000000000000ff";
        assert_eq!(multipart.content_type(), format!("multipart/byteranges; boundary={boundary}"));
        let ranges = [ByteRange { start: 0, end: 2 }, ByteRange { start: 5, end: 6 }];
        let expected = format!(
            "--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/10\r\n\r\nab\
             \r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 5-5/10\r\n\r\nf\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body(&multipart, &ranges, b"abcdefghij")), Ok(expected));
    }

    proptest! {
        #[test]
        fn length_is_that_of_the_body(random: u128, cuts in prop::collection::btree_set(0usize..300, 4..20)) {
            let content = vec![7; 300];
            let cuts: Vec<u64> = cuts.into_iter().map(|cut| cut as u64).collect();
            let ranges: Vec<_> = cuts.chunks_exact(2).map(|cut| ByteRange { start: cut[0], end: cut[1] }).collect();
            let multipart = Multipart::new(random, "text/plain", 300);
            prop_assert_eq!(multipart.content_length(&ranges), body(&multipart, &ranges, &content).len() as u64);
        }
    }
}
