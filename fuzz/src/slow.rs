//! The grammars of the protocol once more: read literally from the specification, by rules over
//! whole texts instead of the single pass of the readers under test.

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` per component, joined by slashes, at most 255 bytes.
pub fn is_name(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |run: &str| run.is_empty() || matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-');
    // Cutting at every letter and digit leaves what is between them.
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && text.split(alphanumeric).all(between)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let rest: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    rest == text && !text.starts_with(['.', '-']) && (1..=128).contains(&text.chars().count())
}

/// An algorithm, a colon, and as many lower-case digits as the algorithm has.
pub fn is_digest(text: &str) -> bool {
    [("sha256:", 64), ("sha512:", 128), ("blake3:", 64)].into_iter().any(|(prefix, digits)| {
        text.strip_prefix(prefix)
            .is_some_and(|hex| hex.chars().count() == digits && hex.chars().all(|c| "0123456789abcdef".contains(c)))
    })
}

/// Percent-decoding by replacing every piece after a percent sign; `None` if one is not two digits
/// or the bytes are not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let hex = piece.get(..2).filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

/// Decimal digits only, however many; what does not fit is the largest.
pub fn decimal(text: &str) -> Option<u128> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u128::MAX))
}
