//! Go's duration grammar, which zot's configuration files use.
//!
//! In: text such as `1h30m`, `90s`, `1.5s`, `500ms`. Out: nanoseconds.
//! Source: the documentation of Go's `time.ParseDuration`.

use std::time::Duration;

/// What a duration should have looked like; ends the sentence "expected ...".
pub const EXPECTED: &str = "a duration such as \"90s\", \"1h30m\" or \"500ms\"";

/// Units with their nanoseconds. Both micro signs of Unicode are accepted, as in Go.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
];

/// Digits of a fraction that can still change a whole number of nanoseconds: an hour has
/// 3.6e12 of them. Later digits are read and dropped.
const FRACTION_DIGITS_MAX: usize = 18;

/// Go keeps a duration in a signed 64-bit number of nanoseconds (about 292 years).
const NANOSECONDS_MAX: u128 = i64::MAX as u128;

/// A duration as Go reads it; it can be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration {
    nanoseconds: i64,
}

impl GoDuration {
    /// Reads Go's grammar: an optional sign, then `0` or one or more decimal numbers, each with
    /// its unit. Errors: the reason, to be followed by [`EXPECTED`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned == "0" {
            return Ok(Self { nanoseconds: 0 });
        }
        if unsigned.is_empty() {
            return Err(format!("{text:?} has no number"));
        }

        let mut total: u128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (term, after) = term(rest).map_err(|reason| format!("{text:?} {reason}"))?;
            // Each term is bounded before it is added, so that the sum cannot wrap.
            total += term;
            if total > NANOSECONDS_MAX {
                return Err(format!("{text:?} is longer than 292 years"));
            }
            rest = after;
        }
        let nanoseconds = i64::try_from(total).expect("compared with i64::MAX above");
        Ok(Self { nanoseconds: if negative { -nanoseconds } else { nanoseconds } })
    }

    /// The duration unless it is below zero.
    pub fn not_negative(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().map(Duration::from_nanos)
    }

    /// The duration if it is above zero. zot takes zero and less as "no limit".
    pub fn positive(self) -> Option<Duration> {
        match u64::try_from(self.nanoseconds) {
            Ok(0) | Err(_) => None,
            Ok(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
        }
    }
}

/// Reads one number with its unit; gives its nanoseconds and the text after it.
fn term(text: &str) -> Result<(u128, &str), &'static str> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err("has something else where a number should be");
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if name.is_empty() {
        return Err("has a number without a unit");
    }
    let unit = UNITS
        .iter()
        .find(|(unit, _)| *unit == name)
        .map(|(_, nanoseconds)| u128::from(*nanoseconds))
        .ok_or("has a unit other than ns, us, ms, s, m and h")?;

    // 19 digits hold every number up to NANOSECONDS_MAX; longer ones are caught by the parse.
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| "is longer than 292 years")? };
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS_MAX)];
    let mut part: u128 = 0;
    let mut scale: u128 = 1;
    for digit in fraction.bytes() {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    Ok((u128::from(whole) * unit + part * unit / scale, after))
}

/// Splits the decimal digits off the front.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases: [(&str, i64); 18] = [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("90s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("+5s", 5_000_000_000),
            ("-5.6s", -5_600_000_000),
            ("5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("12us", 12_000),
            ("12\u{b5}s", 12_000),
            ("12\u{3bc}s2ns", 12_002),
            ("39h9m14.425s", 140_954_425_000_000),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration { nanoseconds }), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let cases = [
            "",
            "3",
            "-",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "\u{85}\u{85}",
            "\u{ffff}",
            "hello world",
            "--1s",
            "1h 30m",
            "9223372036854775808ns",
            "9223372036854775.808us",
            "9223372036854ms775us808ns",
            "3000000h",
            "99999999999999999999s",
            "1m1",
        ];
        for text in cases {
            assert!(GoDuration::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn zero_and_less_mean_no_limit() {
        assert_eq!(GoDuration::parse("0").map(GoDuration::positive), Ok(None));
        assert_eq!(GoDuration::parse("-1s").map(GoDuration::positive), Ok(None));
        assert_eq!(GoDuration::parse("2m").map(GoDuration::positive), Ok(Some(Duration::from_secs(120))));
    }
}
