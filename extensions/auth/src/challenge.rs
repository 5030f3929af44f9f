//! What a client is told that has to say who it is (RFC 7617 section 2, RFC 6750 section 3, distribution token
//! specification).

use http::{
    HeaderValue,
    header::{HOST, USER_AGENT},
    request::Parts,
    uri::Scheme,
};
use orlop_api::server::Peer;

/// Where tokens are given out.
pub const TOKEN_PATH: &str = "/zot/auth/token";

/// What the realm is called if the configuration does not say.
pub const REALM_DEFAULT: &str = "Authorization Required";

/// Where clients reach the registry, such as `https://registry.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected http:// or https://, a host, perhaps a port, and nothing after it")]
pub struct OriginError;

impl Origin {
    pub fn new(text: &str) -> Result<Self, OriginError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(OriginError)?;
        if is_host(host) { Ok(Origin(text.to_owned())) } else { Err(OriginError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

/// A name or an address with an optional port: nothing that ends a quoted string, or begins a path.
fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// `Basic realm="..."`.
pub fn basic(realm: &str) -> HeaderValue {
    let mut text = String::from("Basic realm=\"");
    for character in realm.chars().filter(|character| character.is_ascii_graphic() || *character == ' ') {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    HeaderValue::from_str(&text).expect("visible ASCII and spaces")
}

/// `Bearer realm="...",service="..."`, with the address of the token endpoint as the client sees it: the configured
/// one, or that of the request, below the path that all routes are below. `None` if that is not known.
pub fn bearer(head: &Parts, external: Option<&Origin>, base_path: &str) -> Option<HeaderValue> {
    let origin = origin(head, external)?;
    let service = origin.split_once("://").map_or("", |(_, host)| host);
    HeaderValue::from_str(&format!("Bearer realm=\"{origin}{base_path}{TOKEN_PATH}\",service=\"{service}\"")).ok()
}

/// Where the client sees the registry: the configured address, or that of the request. `None` if that is not known.
pub fn origin(head: &Parts, external: Option<&Origin>) -> Option<String> {
    if let Some(Origin(origin)) = external {
        return Some(origin.clone());
    }
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| head.uri.authority().map(|authority| authority.as_str()))?;
    let scheme = head.extensions.get::<Peer>().map_or(Scheme::HTTP, |peer| peer.scheme.clone());
    is_host(host).then(|| format!("{scheme}://{host}"))
}

/// Whether this is Docker, which sends credentials only if `/v2/` asked for them, and gives up if that asked for a
/// password and there is none (zot issues 2928 and 3538).
pub fn is_docker(head: &Parts) -> bool {
    let agent = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    agent.starts_with("docker/") || agent.contains("Docker-Client")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request = headers.iter().fold(Request::get("/v2/"), |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_realm_stays_within_its_quotes() {
        assert_eq!(basic("zot"), r#"Basic realm="zot""#);
        assert_eq!(basic("a\"\\\r\nb \u{e4}"), r#"Basic realm="a\"\\b ""#);
    }

    #[test]
    fn tokens_are_where_the_client_sees_the_registry() {
        let bearer = |headers: &[(&str, &str)], external: Option<&str>| {
            let external = external.map(|text| Origin::new(text).expect("an origin"));
            bearer(&head(headers), external.as_ref(), "").map(|value| value.to_str().expect("ASCII").to_owned())
        };
        let plain = r#"Bearer realm="http://a:5000/zot/auth/token",service="a:5000""#;
        assert_eq!(bearer(&[("host", "a:5000")], None).as_deref(), Some(plain));
        let outside = r#"Bearer realm="https://r.example/zot/auth/token",service="r.example""#;
        assert_eq!(bearer(&[("host", "a:5000")], Some("https://r.example/")).as_deref(), Some(outside));
        let below = super::bearer(&head(&[("host", "a")]), None, "/registry").expect("known");
        assert_eq!(below, r#"Bearer realm="http://a/registry/zot/auth/token",service="a""#);
        assert_eq!(bearer(&[("host", "a\",realm=\"b")], None), None);
        assert_eq!(bearer(&[("x-forwarded-host", "evil"), ("x-forwarded-proto", "https")], None), None);
        assert_eq!(bearer(&[], None), None);
    }

    #[test]
    fn origins_have_no_path() {
        for text in ["r.example", "ftp://r", "https://", "https://r/a", "https://u@r", "https://r\"", "https://r//"] {
            assert_eq!(Origin::new(text), Err(OriginError), "{text}");
        }
        assert!(Origin::new("http://[::1]:80").is_ok());
    }

    #[test]
    fn docker_is_known_by_its_name() {
        let is = |agent: &str| is_docker(&head(&[("user-agent", agent)]));
        assert!(is("docker/27.1.1 go/go1.21 kernel/6.1 UpstreamClient(Docker-Client/27.1.1 \\(linux\\))"));
        assert!(is("Docker-Client/24.0 (linux)") && !is("containerd/1.7") && !is("my-docker/1") && !is(""));
    }
}
