//! The registry under load: where it is and what every request to it carries.

use std::{fmt, str::FromStr};

use hyper::{Uri, header::HeaderValue};

/// A registry's address, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub https: bool,
    /// The value of `Host`.
    pub authority: HeaderValue,
    /// What comes before `/v2/` in every path; empty or `/some/path`.
    pub prefix: String,
}

/// `http://host:port`, `https://host`, or `host:port`, which is plain HTTP.
impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            |why: &str| format!("{text:?} is no registry URL: {why}; expected http://HOST:PORT or https://HOST");
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|error| refused(&format!("{error}")))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(refused("the scheme is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| refused("there is no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("credentials belong into --auth-creds"));
        }
        if uri.query().is_some() {
            return Err(refused("it has a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refused("there is no host"));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() != authority.host() => {
                return Err(refused("the port is no number up to 65535"));
            }
            None if https => 443,
            None => 80,
        };
        let prefix = uri.path().trim_end_matches('/').trim_end_matches("/v2").to_owned();
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| refused("the host is not ASCII"))?;
        Ok(Self { host, port, https, authority, prefix })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        // Made from the text of a URL, so it is text.
        write!(f, "{scheme}://{}{}", self.authority.to_str().unwrap_or(&self.host), self.prefix)
    }
}

/// A user's name and password for basic authentication (RFC 7617), ready to send.
#[derive(Clone)]
pub struct Credentials(pub HeaderValue);

impl FromStr for Credentials {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains(':') {
            return Err("credentials are USER:PASSWORD; there is no colon".to_owned());
        }
        let mut value = HeaderValue::from_str(&format!("Basic {}", base64(text.as_bytes())))
            .map_err(|error| format!("credentials cannot be sent: {error}"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Never shows the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().chain([&0; 3]).take(3).fold(0_usize, |word, &byte| word << 8 | usize::from(byte));
        for digit in 0..4 {
            let letter = ALPHABET[word >> (18 - 6 * digit) & 63];
            text.push(if digit <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            ("http://127.0.0.1:5000", "127.0.0.1", 5000, false, ""),
            ("127.0.0.1:5000", "127.0.0.1", 5000, false, ""),
            ("localhost:8080/", "localhost", 8080, false, ""),
            ("https://registry.example", "registry.example", 443, true, ""),
            ("http://[::1]:80/registry/v2/", "::1", 80, false, "/registry"),
        ];
        for (text, host, port, https, prefix) in cases {
            let target: Target = text.parse().expect(text);
            assert_eq!((target.host.as_str(), target.port, target.https), (host, port, https), "{text}");
            assert_eq!(target.prefix, prefix, "{text}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_reason() {
        for (text, part) in [
            ("ftp://host", "scheme"),
            ("http://", "is no registry URL"),
            ("http://user:pass@host", "--auth-creds"),
            ("http://host:99999", "the port"),
            ("http://host:", "the port"),
            ("http://host/?a=b", "query"),
        ] {
            let error = text.parse::<Target>().expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        let credentials: Credentials = "Aladdin:open sesame".parse().expect("a pair");
        assert_eq!(credentials.0, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!("nobody".parse::<Credentials>().is_err());
    }
}
