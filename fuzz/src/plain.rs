//! Heads of requests against the grammar of RFC 9112, line by line: whatever is taken for a plain request is one
//! under the strictest reading, ends where every parser sees its end, and has nothing that frames a body.

use orlop_api::server::{Begin, Credentials, PLAIN_HEAD_BYTES_MAX, Plain, begin};

/// As many as the server may allow.
const HEADERS_MAX: usize = 1_000;

pub fn run(data: &[u8]) {
    let judged = begin(data, HEADERS_MAX);
    match judged {
        Begin::Plain(plain, length) => {
            assert_eq!(plain, slow(&data[..length]).expect("a strict reading"));
            // What follows changes nothing, and no part of it is enough.
            assert_eq!(begin(&data[..length], HEADERS_MAX), judged);
            for part in [1, length / 2, length - 1] {
                assert_eq!(begin(&data[..part], HEADERS_MAX), Begin::Partial, "{part} of {length} bytes");
            }
        }
        Begin::Partial => assert!(data.len() < PLAIN_HEAD_BYTES_MAX),
        // Once refused, whatever comes.
        Begin::Other => assert_eq!(begin(&[data, b"\r\n\r\n"].concat(), HEADERS_MAX), Begin::Other),
    }
}

/// What a head says that is nothing but plain.
fn slow(head: &[u8]) -> Option<Plain<'_>> {
    let lines = head.strip_suffix(b"\r\n\r\n")?;
    // Between two ends of lines there is neither CR nor LF nor NUL.
    let mut lines = split(lines).into_iter();
    let request = lines.next()?.strip_suffix(b" HTTP/1.1")?;
    let (is_head, target) = match request.strip_prefix(b"GET ") {
        Some(target) => (false, target),
        None => (true, request.strip_prefix(b"HEAD ")?),
    };
    if target.first() != Some(&b'/') || target.iter().any(|byte| !(0x21..=0x7e).contains(byte) || *byte == b'#') {
        return None;
    }
    let (mut hosts, mut none_match, mut credentials) = (0, None, None);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii());
        let is_word = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'-';
        if name.is_empty() || !name.iter().all(is_word) || line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return None;
        }
        match &*name {
            b"host" => hosts += 1,
            b"if-none-match" if none_match.is_none() => none_match = Some(value),
            b"authorization" if credentials.is_none() && value.to_ascii_lowercase().starts_with(b"basic ") => {
                credentials = Some(value);
            }
            b"connection" if value.eq_ignore_ascii_case(b"keep-alive") => {}
            b"if-none-match" | b"connection" | b"content-length" | b"transfer-encoding" | b"expect" | b"upgrade"
            | b"te" | b"trailer" | b"range" | b"if-range" | b"authorization" | b"cookie" | b"http2-settings" => {
                return None;
            }
            _ => {}
        }
    }
    let (none_match, credentials) = (none_match.unwrap_or_default(), Credentials(credentials.unwrap_or_default()));
    (hosts == 1).then_some(Plain { is_head, target, none_match, credentials })
}

fn split(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(at) = text.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&text[..at]);
        text = &text[at + 2..];
    }
    lines.push(text);
    lines
}
