//! Where to listen: a host and a port, not yet looked up.

use std::{fmt, str::FromStr};

/// A host name or IP address, and a port. Port 0 lets the kernel choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Without brackets, also for IPv6.
    pub host: String,
    pub port: u16,
}

impl FromStr for Address {
    type Err = String;

    /// Reads `HOST:PORT`; an IPv6 host is in brackets.
    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected HOST:PORT such as 127.0.0.1:8080 or [::1]:8080";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            None if host.contains(':') => return Err(format!("{EXPECTED}; an IPv6 address needs brackets")),
            None => host,
        };
        Ok(Self { host: parse_host(host)?, port: parse_port(port)? })
    }
}

/// Brackets come back around an IPv6 host.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Accepts anything a resolver can be asked for. Whether it exists is known when listening.
pub fn parse_host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the host is empty; use 127.0.0.1 for this machine or 0.0.0.0 for every interface".to_owned());
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '[' | ']' | '@')) {
        return Err(format!("{text:?} is not a host name or IP address"));
    }
    Ok(text.to_owned())
}

/// Reads a decimal port number.
pub fn parse_port(text: &str) -> Result<u16, String> {
    let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if decimal => Ok(port),
        _ => Err(format!("{text:?} is not a port, expected a number from 0 (any free port) to 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_hosts_of_every_kind() {
        for text in ["127.0.0.1:8080", "localhost:0", "[::1]:65535", "registry.example.com:443"] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn says_what_was_expected() {
        let cases = [
            ("8080", "HOST:PORT"),
            (":8080", "0.0.0.0"),
            ("::1:80", "brackets"),
            ("host:+80", "65535"),
            ("host:65536", "65535"),
            ("ho st:80", "host name"),
            ("http://host:80", "brackets"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
