//! Which pages of other origins may read answers (WHATWG Fetch, "CORS protocol").
//!
//! In: the origins that the operator names. Out: the fields that tell a browser. Whoever is not named gets none, and
//! his browser keeps the answer from him. Nothing is decided here about who may do what.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, ORIGIN, VARY,
    },
    request::Parts,
};

/// The most origins that can be named.
const ORIGINS_MAX: usize = 64;

/// What a page may send beside what every page may; zot's list.
const FIELDS: HeaderValue = HeaderValue::from_static("Authorization,content-type,X-ZOT-API-CLIENT");

/// The origins whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    allowed: Allowed,
    /// Whether browsers may send what they keep for this registry: cookies, passwords.
    takes_credentials: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Everybody,
    These(Vec<HeaderValue>),
}

/// Why a text names no origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error("{0:?} is no origin: expected http:// or https://, a host, perhaps a port, and nothing after it")]
    Origin(String),
    #[error("expected either \"*\" or origins, not both")]
    Mixed,
    #[error("expected at most {ORIGINS_MAX} origins")]
    TooMany,
}

impl Cors {
    /// Reads origins with commas in between, or `*` for everybody. Credentials are for origins that are named, never
    /// for everybody.
    pub fn new(text: &str, has_logins: bool) -> Result<Self, CorsError> {
        let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names == ["*"] {
            return Ok(Cors { allowed: Allowed::Everybody, takes_credentials: false });
        }
        if names.contains(&"*") {
            return Err(CorsError::Mixed);
        }
        if names.len() > ORIGINS_MAX {
            return Err(CorsError::TooMany);
        }
        let origins = names.into_iter().map(origin).collect::<Result<_, _>>()?;
        Ok(Cors { allowed: Allowed::These(origins), takes_credentials: has_logins })
    }

    /// Adds to an answer whether the page that sent the request may read it. The whole origin is compared: neither
    /// a part of it nor another scheme or port will do.
    pub fn allow(&self, head: &Parts, headers: &mut HeaderMap) {
        let origin = match &self.allowed {
            Allowed::Everybody => HeaderValue::from_static("*"),
            Allowed::These(origins) => {
                headers.append(VARY, HeaderValue::from_name(ORIGIN));
                let Some(origin) = head.headers.get(ORIGIN).filter(|origin| origins.contains(origin)) else { return };
                origin.clone()
            }
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.takes_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if head.method == Method::OPTIONS
            && let Some(methods) = headers.get(ALLOW).cloned()
        {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, FIELDS);
        }
    }
}

/// As browsers write it (RFC 6454 section 6.2): lower case, without a slash at the end.
fn origin(name: &str) -> Result<HeaderValue, CorsError> {
    let text = name.strip_suffix('/').unwrap_or(name).to_ascii_lowercase();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let is_origin = host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain));
    HeaderValue::from_str(&text).ok().filter(|_| is_origin).ok_or_else(|| CorsError::Origin(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(cors: &Cors, method: Method, origin: &str) -> HeaderMap {
        let request = Request::builder().method(method).header(ORIGIN, origin).body(()).expect("a request");
        let mut headers = HeaderMap::from_iter([(ALLOW, HeaderValue::from_static("GET, HEAD"))]);
        cors.allow(&request.into_parts().0, &mut headers);
        headers
    }

    #[test]
    fn only_whole_origins_that_are_named_may_read() {
        let cors = Cors::new("https://Ui.example/, http://localhost:3000", true).expect("origins");
        let headers = asked(&cors, Method::GET, "https://ui.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://ui.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_METHODS), "only who asks first is told");
        for origin in [
            "https://ui.example.evil.org",
            "https://evil-ui.example",
            "http://ui.example",
            "https://ui.example:8443",
            "https://sub.ui.example",
            "null",
            "*",
            "",
        ] {
            let headers = asked(&cors, Method::OPTIONS, origin);
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
            assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), "{origin}");
            assert_eq!(headers[VARY], "origin", "a cache must not give it to others");
        }
    }

    #[test]
    fn who_asks_first_is_told_methods_and_fields() {
        let cors = Cors::new("https://ui.example", false).expect("an origin");
        let headers = asked(&cors, Method::OPTIONS, "https://ui.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], FIELDS);
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), "there is nobody to log in");
    }

    #[test]
    fn everybody_comes_without_credentials() {
        let cors = Cors::new("*", true).expect("everybody");
        let headers = asked(&cors, Method::GET, "https://evil.example");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn what_names_no_origin_is_refused() {
        for text in ["ui.example", "ftp://a", "https://a/b", "https://", "https://u@a", "https://a?b", "null"] {
            assert_eq!(Cors::new(text, true), Err(CorsError::Origin(text.to_owned())), "{text}");
        }
        assert_eq!(Cors::new("*, https://a", true), Err(CorsError::Mixed));
        assert_eq!(Cors::new(&"https://a,".repeat(ORIGINS_MAX + 1), true), Err(CorsError::TooMany));
    }
}
