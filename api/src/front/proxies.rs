//! Who the client is, if a proxy stands between.
//!
//! In: the address that a connection comes from, and the header in which proxies say for whom they ask. Out: the
//! client. A header says something only if a proxy that is trusted has sent it, and of a list only what trusted
//! proxies have added to it, which is at its end: anybody can begin a list.

use std::net::{IpAddr, SocketAddr};

use http::uri::Scheme;

use super::Network;

/// Entries of a list that are looked at, from its end.
const HOPS_MAX: usize = 32;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";

/// The header in which the trusted proxies say for whom they ask. The other one is what somebody before them says,
/// and not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed; nobody by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Vec<Network>,
    pub header: ForwardedBy,
}

/// A header that a trusted proxy passed on and that cannot be read. Whoever began it may have seen to it that what
/// the proxy has added is hidden: nobody is served who hides like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// What is known of a request that a trusted proxy passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The last one in the row that is no trusted proxy; or, if it is not told, the last proxy that is known.
    pub client: IpAddr,
    /// `None` if it is not told.
    pub scheme: Option<Scheme>,
}

impl Proxies {
    /// Whether connections from there are a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Looks behind a trusted proxy. `values` gives the values of a header field, by its name in lower case, in their
    /// order.
    pub fn see<'a>(&self, proxy: IpAddr, values: impl Fn(&str) -> Vec<&'a [u8]>) -> Result<Seen, Unreadable> {
        match self.header {
            ForwardedBy::XForwardedFor => {
                let hops = values(X_FORWARDED_FOR);
                let hops = hops.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
                let (client, _) = self.last_stranger(proxy, hops.map(|hop| (address(text(hop)), ())));
                let scheme = values(X_FORWARDED_PROTO).first().and_then(|value| {
                    let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
                    scheme(text(first))
                });
                Ok(Seen { client, scheme })
            }
            ForwardedBy::Forwarded => {
                let mut elements = Vec::new();
                for value in values(FORWARDED) {
                    let value = std::str::from_utf8(value).map_err(|_| Unreadable)?;
                    elements.extend(self::elements(value).ok_or(Unreadable)?);
                }
                let hops = elements.into_iter().rev().map(|element| (element.client, element.scheme));
                let (client, scheme) = self.last_stranger(proxy, hops);
                Ok(Seen { client, scheme: scheme.flatten() })
            }
        }
    }

    /// The first of `hops`, which go back from the last proxy, that is not trusted, with what was said along with
    /// it. Where the row breaks off, whoever was there last.
    fn last_stranger<T>(&self, proxy: IpAddr, hops: impl Iterator<Item = (Option<IpAddr>, T)>) -> (IpAddr, Option<T>) {
        let mut last = (proxy, None);
        for (hop, said) in hops.take(HOPS_MAX) {
            let Some(hop) = hop else { break };
            last = (hop, Some(said));
            if !self.trusts(hop) {
                break;
            }
        }
        last
    }
}

/// One element of `Forwarded` (RFC 7239 section 4).
#[derive(Default)]
struct Element {
    /// `None` if it is not told, or unknown, or hidden (section 6).
    client: Option<IpAddr>,
    scheme: Option<Scheme>,
}

/// The elements of a field. `None` if a quoted string has no end, or a pair no name.
fn elements(value: &str) -> Option<Vec<Element>> {
    let mut elements = vec![Element::default()];
    let mut rest = value;
    loop {
        let (name, behind) = match rest.find(['=', ';', ',']) {
            Some(at) if rest.as_bytes()[at] == b'=' => (rest[..at].trim(), &rest[at + 1..]),
            // A list may have empty elements (RFC 9110 section 5.6.1), and does at its end.
            Some(at) if rest[..at].trim().is_empty() => ("", &rest[at..]),
            None if rest.trim().is_empty() => return Some(elements),
            _ => return None,
        };
        let (value, behind) = if name.is_empty() { (String::new(), behind) } else { token_or_quoted(behind)? };
        let element = elements.last_mut()?;
        if name.eq_ignore_ascii_case("for") {
            element.client = address(&value);
        } else if name.eq_ignore_ascii_case("proto") {
            element.scheme = scheme(&value);
        }
        let behind = behind.trim_start();
        match behind.as_bytes().first() {
            None => return Some(elements),
            Some(b';') => {}
            Some(b',') => elements.push(Element::default()),
            Some(_) => return None,
        }
        rest = &behind[1..];
    }
}

/// A value and what follows it (RFC 9110 section 5.6.4).
fn token_or_quoted(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return Some((text[..end].trim_end().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

/// Text that is none says nothing.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// An address, perhaps in brackets, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address: IpAddr = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

fn scheme(text: &str) -> Option<Scheme> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("https") => Some(Scheme::HTTPS),
        text if text.eq_ignore_ascii_case("http") => Some(Scheme::HTTP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: ForwardedBy) -> Proxies {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a range"));
        Proxies { trusted: trusted.to_vec(), header }
    }

    fn see(header: ForwardedBy, fields: &[(&str, &str)]) -> (String, Option<Scheme>) {
        let values = |name: &str| {
            let named = fields.iter().filter(|(field, _)| *field == name);
            named.map(|(_, value)| value.as_bytes()).collect()
        };
        match proxies(header).see("10.0.0.1".parse().expect("an address"), values) {
            Ok(seen) => (seen.client.to_string(), seen.scheme),
            Err(Unreadable) => ("unreadable".to_owned(), None),
        }
    }

    #[test]
    fn the_last_stranger_is_the_client() {
        for (value, client) in [
            ("192.0.2.1", "192.0.2.1"),
            ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("203.0.113.9,192.0.2.1 , 10.2.3.4,fd00::1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("127.0.0.1, 192.0.2.1", "192.0.2.1"),
            // All of them are trusted: the first one asks for itself.
            ("10.9.9.9, 10.2.3.4", "10.9.9.9"),
            // Where the row breaks off, whoever was there last.
            ("", "10.0.0.1"),
            ("unknown", "10.0.0.1"),
            ("192.0.2.1, ", "10.0.0.1"),
            ("192.0.2.1, <script>, 10.2.3.4", "10.2.3.4"),
            ("192.0.2.1.7", "10.0.0.1"),
        ] {
            assert_eq!(see(ForwardedBy::XForwardedFor, &[("x-forwarded-for", value)]).0, client, "{value:?}");
        }
        let two = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1, 10.1.1.1")];
        assert_eq!(see(ForwardedBy::XForwardedFor, &two).0, "192.0.2.1", "several fields are one list");
        let endless = ["192.0.2.1", &", 10.7.7.7".repeat(1_000)].concat();
        assert_eq!(see(ForwardedBy::XForwardedFor, &[("x-forwarded-for", &endless)]).0, "10.7.7.7");
        assert_eq!(see(ForwardedBy::XForwardedFor, &[]).0, "10.0.0.1");
    }

    #[test]
    fn the_scheme_is_that_of_the_client() {
        let scheme = |value| see(ForwardedBy::XForwardedFor, &[("x-forwarded-proto", value)]).1;
        assert_eq!(scheme("https"), Some(Scheme::HTTPS));
        assert_eq!(scheme("HTTPS, http"), Some(Scheme::HTTPS));
        assert_eq!(scheme("http"), Some(Scheme::HTTP));
        assert_eq!(scheme("gopher"), None);
        assert_eq!(scheme(""), None);
    }

    #[test]
    fn the_standard_header_is_read_as_it_is_written() {
        let client = |value| see(ForwardedBy::Forwarded, &[("forwarded", value)]);
        for (value, address, scheme) in [
            ("for=192.0.2.1", "192.0.2.1", None),
            ("For=\"192.0.2.1:4711\";Proto=https;by=10.0.0.1", "192.0.2.1", Some(Scheme::HTTPS)),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17", None),
            ("for=203.0.113.9;proto=http, for=192.0.2.1;proto=https, for=10.3.3.3", "192.0.2.1", Some(Scheme::HTTPS)),
            ("for=203.0.113.9, for=unknown", "10.0.0.1", None),
            ("for=203.0.113.9, for=_hidden, for=10.4.4.4", "10.4.4.4", None),
            ("for=203.0.113.9, proto=https", "10.0.0.1", None),
            ("host=\"a,b;for=1.2.3.4\";for=192.0.2.1", "192.0.2.1", None),
            ("for=203.0.113.9, host=\"\\\",for=1.2.3.4\";for=192.0.2.1", "192.0.2.1", None),
            (" for = 192.0.2.1 ; proto = https ", "192.0.2.1", Some(Scheme::HTTPS)),
            ("for=192.0.2.1;", "192.0.2.1", None),
            ("", "10.0.0.1", None),
            (",", "10.0.0.1", None),
            // What has no end could hide what the proxy has added to it.
            ("for=\"192.0.2.1", "unreadable", None),
            ("host=\"a, for=192.0.2.1", "unreadable", None),
            ("192.0.2.1", "unreadable", None),
            ("for=\"192.0.2.1\"x", "unreadable", None),
        ] {
            assert_eq!(client(value), (address.to_owned(), scheme), "{value:?}");
        }
        let cut = [("forwarded", "host=\"a"), ("forwarded", "for=192.0.2.1")];
        assert_eq!(see(ForwardedBy::Forwarded, &cut).0, "unreadable");
    }

    #[test]
    fn only_the_header_of_the_proxies_is_read() {
        let both = [("forwarded", "for=198.51.100.7;proto=https"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(see(ForwardedBy::XForwardedFor, &both), ("192.0.2.1".to_owned(), None));
        assert_eq!(see(ForwardedBy::Forwarded, &both), ("198.51.100.7".to_owned(), Some(Scheme::HTTPS)));
    }

    #[test]
    fn nobody_is_trusted_unless_it_is_said() {
        let nobody = Proxies::default();
        for address in ["127.0.0.1", "::1", "10.0.0.1"] {
            assert!(!nobody.trusts(address.parse().expect("an address")));
        }
    }
}
