//! What browsers keep for the registry (RFC 6265).

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// The longest field in bytes that is looked at.
const FIELD_BYTES_MAX: usize = 64 << 10;

/// Which requests browsers send cookies with.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The path that the registry is below; empty if it has the host for itself.
    pub base_path: &'a str,
    /// Over TLS only.
    pub is_secure: bool,
}

impl<'a> Site<'a> {
    /// The path of cookies for all of the registry, and for nothing beside it (RFC 6265 section 5.1.4).
    pub fn path(self) -> &'a str {
        if self.base_path.is_empty() { "/" } else { self.base_path }
    }
}

/// A cookie that is given to a browser.
pub struct Cookie<'a> {
    pub name: &'a str,
    /// Percent-encoded where it would end the value or begin something else.
    pub value: &'a str,
    pub path: &'a str,
    /// Zero: the browser forgets it.
    pub lifetime: Duration,
    /// Whether scripts are kept from it.
    pub is_hidden: bool,
    /// Whether it is sent over TLS only.
    pub is_secure: bool,
}

impl Cookie<'_> {
    /// The value of `Set-Cookie`. Pages of other sites send it along with nothing but links (RFC 6265bis section
    /// 5.6.7.1: a login that comes back from a provider is one).
    pub fn value(&self) -> HeaderValue {
        let mut text = format!("{}=", self.name);
        for byte in self.value.bytes() {
            match byte {
                // What a value may have (RFC 6265 section 4.1.1), except for the percent sign.
                b'!' | b'#' | b'$' | b'&'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~' => {
                    text.push(char::from(byte))
                }
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text.push_str(&format!("; Path={}; Max-Age={}; SameSite=Lax", self.path, self.lifetime.as_secs()));
        text.push_str(if self.is_hidden { "; HttpOnly" } else { "" });
        text.push_str(if self.is_secure { "; Secure" } else { "" });
        HeaderValue::from_str(&text).expect("visible ASCII and spaces")
    }
}

/// The value of a cookie that a request brings. `None` also if there are two of one name: one may be of somebody
/// else, such as another host of the same domain.
pub fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut found = None;
    let fields = headers.get_all(COOKIE).iter();
    for field in fields.filter_map(|field| field.to_str().ok()).filter(|field| field.len() <= FIELD_BYTES_MAX) {
        for pair in field.split(';') {
            let Some((_, value)) = pair.split_once('=').filter(|(key, _)| key.trim() == name) else { continue };
            if found.replace(value.trim()).is_some() {
                return None;
            }
        }
    }
    found
}

/// Whether a request brings a cookie of this name, whatever its value.
pub fn has(headers: &HeaderMap, name: &str) -> bool {
    let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';'));
    pairs.any(|pair| pair.split_once('=').is_some_and(|(key, _)| key.trim() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[&'static str]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_static(field))).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = headers(&["a=1; session=x=y; b", "xsession=2; Session=3"]);
        assert_eq!(read(&headers, "session"), Some("x=y"));
        assert_eq!(read(&headers, "sess"), None);
        assert!(has(&headers, "session") && !has(&headers, "ession"));
    }

    #[test]
    fn two_of_one_name_are_none() {
        assert_eq!(read(&headers(&["session=1; session=2"]), "session"), None);
        assert_eq!(read(&headers(&["session=1", "session=1"]), "session"), None);
        assert!(has(&headers(&["session=1", "session=1"]), "session"));
    }

    #[test]
    fn a_value_stays_within_its_place() {
        let cookie = Cookie {
            name: "user",
            value: "a b;\"\u{e4}\r\n,\\%=@",
            path: "/",
            lifetime: Duration::from_secs(7200),
            is_hidden: false,
            is_secure: true,
        };
        let expected = "user=a%20b%3B%22%C3%A4%0D%0A%2C%5C%25=@; Path=/; Max-Age=7200; SameSite=Lax; Secure";
        assert_eq!(cookie.value(), expected);
        let cookie = Cookie { is_hidden: true, is_secure: false, value: "", lifetime: Duration::ZERO, ..cookie };
        assert_eq!(cookie.value(), "user=; Path=/; Max-Age=0; SameSite=Lax; HttpOnly");
    }
}
