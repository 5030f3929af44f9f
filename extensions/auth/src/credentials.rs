//! What a request brings to show who sends it (RFC 9110 section 11.6.2, RFC 7617, RFC 6750).

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use orlop_api::protocol::base64;

/// The longest value of the header in bytes that is looked at.
const CREDENTIALS_BYTES_MAX: usize = 8 << 10;

/// What a request brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    None,
    Password { user: String, password: String },
    Token(String),
}

/// Credentials that mean nothing, or that could be taken to mean two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Credentials {
    /// Reads the header. A name and a password that are both empty are none: there are clients that send them when
    /// they have no others.
    pub fn of(headers: &HeaderMap) -> Result<Self, Malformed> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(Credentials::None) };
        // Whoever reads the second of two would let somebody else in.
        if values.next().is_some() {
            return Err(Malformed);
        }
        Credentials::read(value)
    }

    fn read(value: &HeaderValue) -> Result<Self, Malformed> {
        let text = value.to_str().ok().filter(|text| text.len() <= CREDENTIALS_BYTES_MAX).ok_or(Malformed)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Malformed)?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() && !rest.contains(' ') {
            return Ok(Credentials::Token(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Malformed);
        }
        let text = String::from_utf8(base64::decode(rest).ok_or(Malformed)?).map_err(|_| Malformed)?;
        if text.chars().any(char::is_control) {
            return Err(Malformed);
        }
        match text.split_once(':').ok_or(Malformed)? {
            ("", "") => Ok(Credentials::None),
            ("", _) => Err(Malformed),
            (user, password) => Ok(Credentials::Password { user: user.to_owned(), password: password.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Credentials, Malformed> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        Credentials::of(&headers)
    }

    fn password(user: &str, password: &str) -> Result<Credentials, Malformed> {
        Ok(Credentials::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn what_clients_send_is_read() {
        assert_eq!(of(&[]), Ok(Credentials::None));
        assert_eq!(of(&["Basic Og=="]), Ok(Credentials::None), "as skopeo sends without credentials");
        assert_eq!(of(&["Basic YWxpY2U6c2VjcmV0"]), password("alice", "secret"));
        assert_eq!(of(&["basic  YWxpY2U6c2VjcmV0 "]), password("alice", "secret"));
        assert_eq!(of(&["Basic YTpiOmM="]), password("a", "b:c"), "a colon in the password");
        assert_eq!(of(&["Basic YTo="]), password("a", ""));
        assert_eq!(of(&["Basic w6Q6w7Y="]), password("\u{e4}", "\u{f6}"));
        assert_eq!(of(&["Bearer abc.def"]), Ok(Credentials::Token("abc.def".into())));
    }

    #[test]
    fn what_has_no_one_meaning_is_refused() {
        let long = format!("Bearer {}", "a".repeat(CREDENTIALS_BYTES_MAX));
        for value in [
            "",
            "Basic",
            "Basic ",
            "BasicYWxpY2U6c2VjcmV0",
            "Basic !!!!",
            "Basic YWxpY2U",
            "Basic YWxpY2U=",
            "Basic OnNlY3JldA==",
            "Basic YQA6Yg==",
            "Basic /zpi",
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Digest YTpi",
            &long,
        ] {
            assert_eq!(of(&[value]), Err(Malformed), "{value}");
        }
        assert_eq!(of(&["Basic YTpi", "Basic YTpi"]), Err(Malformed), "two, even if they are the same");
        assert_eq!(of(&["Basic YTpi", "Bearer a"]), Err(Malformed));
    }
}
