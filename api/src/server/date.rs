//! The Date field (RFC 9110 section 6.6.1), made once a second.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

thread_local! {
    static LAST: RefCell<Made> = const { RefCell::new(Made { second: u64::MAX, line: Vec::new() }) };
}

struct Made {
    second: u64,
    line: Vec<u8>,
}

/// Ends a head: the date of this moment and the empty line.
pub(super) fn end_head(head: &mut Vec<u8>) {
    // Before 1970 no clock of a server that runs is right.
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|made| {
        if made.second != second {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *made = Made { second, line: format!("date: {date}\r\n\r\n").into_bytes() };
        }
        head.extend_from_slice(&made.line);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_the_date_of_now() {
        let mut head = b"a: b\r\n".to_vec();
        let before = SystemTime::now() - Duration::from_secs(1);
        end_head(&mut head);
        let text = String::from_utf8(head).unwrap();
        let date = text.strip_prefix("a: b\r\ndate: ").and_then(|text| text.strip_suffix("\r\n\r\n")).unwrap();
        let date = httpdate::parse_http_date(date).unwrap();
        assert!(before <= date && date <= SystemTime::now(), "{date:?}");
    }
}
