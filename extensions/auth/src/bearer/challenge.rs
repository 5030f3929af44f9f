//! What a client is told that has to bring a token of another issuer (distribution token specification, RFC 6750
//! section 3).

use http::{HeaderValue, Method, request::Parts};
use orlop_api::{
    access::Bearer,
    protocol::{Query, Route},
};

/// Where tokens come from, as clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    realm: String,
    service: String,
}

/// Why a realm cannot be told to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected visible ASCII characters without quotation marks and backslashes, at least one")]
pub struct RealmError;

/// Why a client is asked, although it brought a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    NoToken,
    InvalidToken,
    InsufficientScope,
}

impl Realm {
    pub fn new(realm: &str, service: &str) -> Result<Self, RealmError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        let is_text = |text: &str| !text.is_empty() && text.bytes().all(is_plain);
        match is_text(realm) && is_text(service) {
            true => Ok(Realm { realm: realm.to_owned(), service: service.to_owned() }),
            false => Err(RealmError),
        }
    }

    pub fn place(&self) -> Bearer {
        Bearer { realm: self.realm.clone(), service: self.service.clone() }
    }

    /// `Bearer realm="...",service="...",scope="repository:NAME:pull"`, with the scope that the request takes.
    pub fn challenge(&self, head: &Parts, reason: Reason) -> HeaderValue {
        let Realm { realm, service } = self;
        let mut text = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
        text.push_str(&suffix(head, reason));
        HeaderValue::from_str(&text).expect("visible ASCII")
    }
}

/// The scope that a request takes, and why it is asked for.
pub fn suffix(head: &Parts, reason: Reason) -> String {
    let mut text = scope(head).map_or(String::new(), |scope| format!(",scope=\"{scope}\""));
    match reason {
        Reason::NoToken => {}
        Reason::InvalidToken => text.push_str(",error=\"invalid_token\""),
        Reason::InsufficientScope => text.push_str(",error=\"insufficient_scope\""),
    }
    text
}

/// Names of repositories have no characters that would end the text.
fn scope(head: &Parts) -> Option<String> {
    let route = Route::parse(head.uri.path()).ok()?;
    let Some(repository) = route.repository() else {
        return matches!(route, Route::Catalog).then(|| "registry:catalog:*".to_owned());
    };
    let actions = match (&head.method, &route) {
        (&Method::GET | &Method::HEAD, Route::Upload { .. }) => "pull,push",
        (&Method::GET | &Method::HEAD, _) => "pull",
        // Giving up an upload is part of pushing.
        (&Method::DELETE, Route::Manifest { .. } | Route::Blob { .. }) => "delete",
        _ => "pull,push",
    };
    let mounted = match route {
        Route::UploadStart { .. } => Query::parse(head.uri.query()).ok().and_then(|query| query.mount().ok()?),
        _ => None,
    };
    let from = mounted.and_then(|mount| mount.from).map_or(String::new(), |from| format!(" repository:{from}:pull"));
    Some(format!("repository:{repository}:{actions}{from}"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_scope_is_what_the_request_takes() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let scope = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path.replace("DIGEST", &digest));
            scope(&request.body(()).expect("a request").into_parts().0).unwrap_or_default()
        };
        assert_eq!(scope("GET", "/v2/"), "");
        assert_eq!(scope("GET", "/v2/_catalog"), "registry:catalog:*");
        assert_eq!(scope("GET", "/v2/a/b/manifests/latest"), "repository:a/b:pull");
        assert_eq!(scope("HEAD", "/v2/a/b/blobs/DIGEST"), "repository:a/b:pull");
        assert_eq!(scope("PUT", "/v2/a/b/manifests/latest"), "repository:a/b:pull,push");
        assert_eq!(scope("POST", "/v2/a/b/blobs/uploads/"), "repository:a/b:pull,push");
        assert_eq!(scope("DELETE", "/v2/a/b/blobs/uploads/1"), "repository:a/b:pull,push");
        assert_eq!(scope("DELETE", "/v2/a/b/manifests/latest"), "repository:a/b:delete");
        let mount = scope("POST", "/v2/a/blobs/uploads/?mount=DIGEST&from=b/c");
        assert_eq!(mount, "repository:a:pull,push repository:b/c:pull");
        assert_eq!(scope("POST", "/v2/a/blobs/uploads/?mount=DIGEST&from=%22"), "repository:a:pull,push");
    }

    #[test]
    fn nothing_ends_the_quoted_texts() {
        for (realm, service) in [("", "a"), ("a", ""), ("a\"", "a"), ("a", "a\\"), ("a b", "a"), ("a\r\n", "a")] {
            assert_eq!(Realm::new(realm, service), Err(RealmError), "{realm:?} {service:?}");
        }
        let head = Request::get("/v2/a/tags/list").body(()).expect("a request").into_parts().0;
        let realm = Realm::new("https://t.example/token", "r.example").expect("a realm");
        assert_eq!(
            realm.challenge(&head, Reason::InsufficientScope),
            "Bearer realm=\"https://t.example/token\",service=\"r.example\",scope=\"repository:a:pull\",\
             error=\"insufficient_scope\""
        );
    }
}
