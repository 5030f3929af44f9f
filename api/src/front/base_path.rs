//! The path that all routes are below, where the registry is a part of a larger site.

use http::{HeaderMap, HeaderValue, Uri, header, uri};

/// The longest path in bytes.
const BYTES_MAX: usize = 255;

/// A path such as `/registry`; empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// Why a text is no such path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a path such as /registry: parts of letters, digits, '-', '_' and '.', no '/' at its end")]
pub struct BasePathError;

/// Headers that name paths of this server.
const WITH_PATHS: [header::HeaderName; 2] = [header::LOCATION, header::LINK];

/// What the paths in those headers begin with: those that lead elsewhere are left alone.
const OWN_PATHS: &str = "/v2/";

impl BasePath {
    /// Empty, or `/`, is none.
    pub fn new(text: &str) -> Result<Self, BasePathError> {
        if matches!(text, "" | "/") {
            return Ok(BasePath::default());
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // A path of dots is another one for proxies and clients.
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain);
        let parts = text.strip_prefix('/').ok_or(BasePathError)?;
        match text.len() <= BYTES_MAX && parts.split('/').all(is_part) {
            true => Ok(BasePath(text.to_owned())),
            false => Err(BasePathError),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same address as the routes know it. `None` if it is not below this path.
    pub(crate) fn strip(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path_and_query()?.as_str().strip_prefix(&self.0)?;
        if !rest.starts_with('/') {
            return None;
        }
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(rest.parse().ok()?);
        parts.scheme = uri.scheme().cloned();
        parts.authority = uri.authority().cloned();
        Uri::from_parts(parts).ok()
    }

    /// Leads clients to paths as they have to ask for them.
    pub(crate) fn prefix(&self, headers: &mut HeaderMap) {
        for name in WITH_PATHS {
            let Some(text) = headers.get(&name).and_then(|value| value.to_str().ok()) else { continue };
            // A Link has its path in angle brackets (RFC 8288 section 3).
            let (bracket, path) = text.split_at(usize::from(text.starts_with('<')));
            if path.starts_with(OWN_PATHS)
                && let Ok(value) = HeaderValue::try_from([bracket, &self.0, path].concat())
            {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_stripped_and_nothing_else() {
        let base = BasePath::new("/a/registry").expect("a path");
        let strip = |text: &str| base.strip(&text.parse().expect("an address")).map(|uri| uri.to_string());
        for (outside, inside) in [
            ("/a/registry/v2/", Some("/v2/")),
            ("/a/registry/v2/x/tags/list?n=1&last=a%2Fb", Some("/v2/x/tags/list?n=1&last=a%2Fb")),
            ("http://h:1/a/registry/v2/", Some("http://h:1/v2/")),
            ("/a/registry/", Some("/")),
            ("/a/registry", None),
            ("/a/registry?x", None),
            ("/a/registryv2/", None),
            ("/v2/", None),
            ("/A/registry/v2/", None),
            ("//a/registry/v2/", None),
        ] {
            assert_eq!(strip(outside).as_deref(), inside, "{outside}");
        }
    }

    #[test]
    fn clients_are_led_back() {
        let base = BasePath::new("/r").expect("a path");
        for (name, value, led) in [
            ("location", "/v2/a/blobs/uploads/1", "/r/v2/a/blobs/uploads/1"),
            ("link", "</v2/_catalog?n=1>; rel=\"next\"", "</r/v2/_catalog?n=1>; rel=\"next\""),
            ("location", "https://elsewhere/v2/", "https://elsewhere/v2/"),
            ("location", "//elsewhere/v2/", "//elsewhere/v2/"),
            ("etag", "/v2/", "/v2/"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            base.prefix(&mut headers);
            assert_eq!(headers[name], led);
        }
    }

    #[test]
    fn a_path_is_plain() {
        for text in ["", "/"] {
            assert!(BasePath::new(text).is_ok_and(|base| base.is_empty()));
        }
        let long = "/a".repeat(128);
        for text in ["a", "/a/", "//a", "/a//b", "/a b", "/a?b", "/a#b", "/%61", "/..", "/a/./b", "/\u{e4}", &long] {
            assert_eq!(BasePath::new(text), Err(BasePathError), "{text}");
        }
    }
}
