//! Paths: the raw path of a request comes in, the `Route` it names comes out, with every part of it
//! checked. The method is not looked at; `Route::allows` answers for it afterwards.
//!
//! Repository names contain slashes and may contain the protocol's own words (`a/blobs/uploads` is
//! a repository), so a path is read from its end, where the words are unambiguous.
//!
//! A path is decoded once. What would give it a second reading elsewhere (an encoded slash,
//! backslash, percent sign or NUL, bytes that are not UTF-8, dot segments, empty segments) names
//! no route.

use std::borrow::Cow;

use http::Method;
use orlop_engine::digest::{Digest, ParseError};

use super::{
    name::{NameError, Repository},
    percent,
    reference::{Reference, ReferenceError, TagError},
};

/// The longest upload id in bytes that is looked up; ids are given out by the engine.
pub const UPLOAD_ID_BYTES_MAX: usize = 64;

/// The longest name of a provider in a path, in bytes.
pub const PROVIDER_BYTES_MAX: usize = 64;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/` (end-1), and `/v2`.
    Base,
    /// `/v2/_catalog`: the repositories; not in the specification, but clients know it.
    Catalog,
    /// `/v2/<name>/tags/list` (end-8).
    Tags { name: Repository },
    /// `/v2/<name>/manifests/<reference>` (end-3, end-7, end-9).
    Manifest { name: Repository, reference: Reference },
    /// `/v2/<name>/blobs/<digest>` (end-2, end-10).
    Blob { name: Repository, digest: Digest },
    /// `/v2/<name>/blobs/uploads/` (end-4, end-11), also without the last slash.
    UploadStart { name: Repository },
    /// `/v2/<name>/blobs/uploads/<id>` (end-5, end-6, end-13, end-14): 1 to
    /// `UPLOAD_ID_BYTES_MAX` letters, digits, `-` or `_`.
    Upload { name: Repository, id: String },
    /// `/v2/<name>/referrers/<digest>` (end-12).
    Referrers { name: Repository, digest: Digest },
    /// `/livez`, `/readyz`, `/startupz`.
    Health(Health),
    /// `/metrics`.
    Metrics,
    /// `/zot/auth/token`: a token for credentials, or for none; the path is zot's.
    Token,
    /// `/zot/auth/...`: what the authorizer answers itself; the paths are zot's.
    Account(Account),
    /// `/v2/_oci/ext/discover`: what is there beside the specification (distribution specification, extensions).
    Extensions,
    /// `/v2/_zot/ext/mgmt`: how one can log in; the path is zot's.
    Management,
    /// `/v2/_orlop/gc`: collection, for operators. No repository begins with an underscore.
    Collection,
    /// `/v2/_orlop/scrub`: the search for damage, and what it found, for operators.
    Scrub,
}

/// The questions a supervisor asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Live,
    Ready,
    Started,
}

/// What users do about their own accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// `/zot/auth/login`: begins a login at a provider.
    Login,
    /// `/zot/auth/callback/<provider>`: comes back from there. 1 to `PROVIDER_BYTES_MAX` letters, digits, `-` or `_`.
    Callback { provider: String },
    /// `/zot/auth/logout`.
    Logout,
    /// `/zot/auth/apikey`: the keys of a user.
    ApiKeys,
}

/// Why a path names no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("no such path; the API is under /v2/")]
    NotARoute,
    #[error(transparent)]
    NameInvalid(#[from] NameError),
    #[error(transparent)]
    DigestInvalid(#[from] ParseError),
    #[error(transparent)]
    TagInvalid(#[from] TagError),
    #[error("no such upload; start one with POST /v2/<name>/blobs/uploads/")]
    UploadUnknown,
}

impl From<ReferenceError> for RouteError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Tag(error) => RouteError::TagInvalid(error),
            ReferenceError::Digest(error) => RouteError::DigestInvalid(error),
        }
    }
}

impl Route {
    /// Reads a raw path, without the query. Linear in its length, which the server limits.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        match path {
            "/v2" | "/v2/" => return Ok(Route::Base),
            "/v2/_catalog" => return Ok(Route::Catalog),
            "/v2/_oci/ext/discover" => return Ok(Route::Extensions),
            "/v2/_zot/ext/mgmt" => return Ok(Route::Management),
            "/v2/_orlop/gc" => return Ok(Route::Collection),
            "/v2/_orlop/scrub" => return Ok(Route::Scrub),
            "/livez" => return Ok(Route::Health(Health::Live)),
            "/readyz" => return Ok(Route::Health(Health::Ready)),
            "/startupz" => return Ok(Route::Health(Health::Started)),
            "/metrics" => return Ok(Route::Metrics),
            "/zot/auth/token" => return Ok(Route::Token),
            "/zot/auth/login" => return Ok(Route::Account(Account::Login)),
            "/zot/auth/logout" => return Ok(Route::Account(Account::Logout)),
            "/zot/auth/apikey" => return Ok(Route::Account(Account::ApiKeys)),
            _ => {}
        }
        if let Some(provider) = path.strip_prefix("/zot/auth/callback/") {
            return callback(provider).ok_or(RouteError::NotARoute);
        }
        let raw = path.strip_prefix("/v2/").ok_or(RouteError::NotARoute)?;
        let rest = decode(raw).ok_or(RouteError::NotARoute)?;
        let (head, last) = rest.rsplit_once('/').ok_or(RouteError::NotARoute)?;
        let (head, word) = head.rsplit_once('/').ok_or(RouteError::NotARoute)?;
        match (word, last) {
            ("tags", "list") => Ok(Route::Tags { name: name(head)? }),
            ("blobs", "uploads") => Ok(Route::UploadStart { name: name(head)? }),
            ("uploads", _) => {
                let name = name(head.strip_suffix("/blobs").ok_or(RouteError::NotARoute)?)?;
                match last {
                    "" => Ok(Route::UploadStart { name }),
                    id => Ok(Route::Upload { name, id: upload_id(id)? }),
                }
            }
            (_, "") => Err(RouteError::NotARoute),
            ("manifests", _) => Ok(Route::Manifest { name: name(head)?, reference: Reference::parse(last)? }),
            ("blobs", _) => Ok(Route::Blob { name: name(head)?, digest: last.parse()? }),
            ("referrers", _) => Ok(Route::Referrers { name: name(head)?, digest: last.parse()? }),
            _ => Err(RouteError::NotARoute),
        }
    }

    /// The repository the route is in.
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Route::Tags { name }
            | Route::Manifest { name, .. }
            | Route::Blob { name, .. }
            | Route::UploadStart { name }
            | Route::Upload { name, .. }
            | Route::Referrers { name, .. } => Some(name),
            Route::Base
            | Route::Catalog
            | Route::Health(_)
            | Route::Metrics
            | Route::Token
            | Route::Account(_)
            | Route::Extensions
            | Route::Management
            | Route::Collection
            | Route::Scrub => None,
        }
    }

    /// The path with names in the places of what differs from one request to the next.
    pub const fn template(&self) -> &'static str {
        match self {
            Route::Base => "/v2/",
            Route::Catalog => "/v2/_catalog",
            Route::Tags { .. } => "/v2/<name>/tags/list",
            Route::Manifest { .. } => "/v2/<name>/manifests/<reference>",
            Route::Blob { .. } => "/v2/<name>/blobs/<digest>",
            Route::UploadStart { .. } => "/v2/<name>/blobs/uploads/",
            Route::Upload { .. } => "/v2/<name>/blobs/uploads/<id>",
            Route::Referrers { .. } => "/v2/<name>/referrers/<digest>",
            Route::Health(Health::Live) => "/livez",
            Route::Health(Health::Ready) => "/readyz",
            Route::Health(Health::Started) => "/startupz",
            Route::Metrics => "/metrics",
            Route::Token => "/zot/auth/token",
            Route::Account(Account::Login) => "/zot/auth/login",
            Route::Account(Account::Callback { .. }) => "/zot/auth/callback/<provider>",
            Route::Account(Account::Logout) => "/zot/auth/logout",
            Route::Account(Account::ApiKeys) => "/zot/auth/apikey",
            Route::Extensions => "/v2/_oci/ext/discover",
            Route::Management => "/v2/_zot/ext/mgmt",
            Route::Collection => "/v2/_orlop/gc",
            Route::Scrub => "/v2/_orlop/scrub",
        }
    }

    /// The methods the route answers, as the value of an Allow header (RFC 9110 section 10.2.1).
    pub const fn allow(&self) -> &'static str {
        match self {
            Route::Base
            | Route::Catalog
            | Route::Tags { .. }
            | Route::Referrers { .. }
            | Route::Health(_)
            | Route::Metrics
            | Route::Extensions
            | Route::Management
            | Route::Account(Account::Login | Account::Callback { .. }) => "GET, HEAD",
            Route::Manifest { .. } => "GET, HEAD, PUT, DELETE",
            Route::Blob { .. } => "GET, HEAD, DELETE",
            Route::UploadStart { .. } | Route::Account(Account::Logout) => "POST",
            Route::Account(Account::ApiKeys) => "GET, HEAD, POST, DELETE",
            Route::Collection | Route::Scrub | Route::Token => "GET, HEAD, POST",
            Route::Upload { .. } => "GET, HEAD, PATCH, PUT, DELETE",
        }
    }

    /// False: the answer is 405 with the Allow header. What is never refused is OPTIONS, which every route answers
    /// alike and without looking at anything.
    pub fn allows(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let path = percent::decode(raw).ok()?;
    // A slash that was encoded shows as one more slash than there was.
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    let hidden_slash = slashes(&path) != slashes(raw);
    let ambiguous = path.bytes().any(|byte| matches!(byte, b'%' | b'\\' | 0));
    let mut segments = path.split('/').rev();
    // The last segment may be empty: uploads start at a path that ends with a slash.
    let last_is_dots = segments.next().is_some_and(is_dots);
    let others_are_dots = segments.any(|segment| segment.is_empty() || is_dots(segment));
    (!hidden_slash && !ambiguous && !last_is_dots && !others_are_dots).then_some(path)
}

fn is_dots(segment: &str) -> bool {
    segment == "." || segment == ".."
}

fn name(text: &str) -> Result<Repository, RouteError> {
    Ok(Repository::parse(text)?)
}

fn callback(provider: &str) -> Option<Route> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_name = !provider.is_empty() && provider.len() <= PROVIDER_BYTES_MAX && provider.bytes().all(known);
    is_name.then(|| Route::Account(Account::Callback { provider: provider.to_owned() }))
}

fn upload_id(text: &str) -> Result<String, RouteError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() > UPLOAD_ID_BYTES_MAX || !text.bytes().all(known) {
        return Err(RouteError::UploadUnknown);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::reference::Tag;
    use orlop_engine::digest::Algorithm;
    use proptest::prelude::*;

    fn repository(text: &str) -> Repository {
        Repository::parse(text).unwrap()
    }

    fn tag(text: &str) -> Reference {
        Reference::Tag(Tag::parse(text).unwrap())
    }

    #[test]
    fn every_endpoint_has_its_path() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let name = || repository("a/b");
        for (path, route) in [
            ("/v2".to_owned(), Route::Base),
            ("/v2/".to_owned(), Route::Base),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/_oci/ext/discover".to_owned(), Route::Extensions),
            ("/v2/_zot/ext/mgmt".to_owned(), Route::Management),
            ("/v2/_orlop/gc".to_owned(), Route::Collection),
            ("/v2/_orlop/scrub".to_owned(), Route::Scrub),
            ("/v2/a/b/tags/list".to_owned(), Route::Tags { name: name() }),
            ("/v2/a/b/manifests/v1".to_owned(), Route::Manifest { name: name(), reference: tag("v1") }),
            (
                format!("/v2/a/b/manifests/{digest}"),
                Route::Manifest { name: name(), reference: Reference::Digest(digest) },
            ),
            (format!("/v2/a/b/blobs/{digest}"), Route::Blob { name: name(), digest }),
            (format!("/v2/a/b/blobs/sha256%3A{}", digest.hex()), Route::Blob { name: name(), digest }),
            (format!("/v2/a/b/referrers/{digest}"), Route::Referrers { name: name(), digest }),
            ("/v2/a/b/blobs/uploads/".to_owned(), Route::UploadStart { name: name() }),
            ("/v2/a/b/blobs/uploads".to_owned(), Route::UploadStart { name: name() }),
            ("/v2/a/b/blobs/uploads/0-9_Z".to_owned(), Route::Upload { name: name(), id: "0-9_Z".to_owned() }),
            ("/livez".to_owned(), Route::Health(Health::Live)),
            ("/readyz".to_owned(), Route::Health(Health::Ready)),
            ("/startupz".to_owned(), Route::Health(Health::Started)),
            ("/metrics".to_owned(), Route::Metrics),
            ("/zot/auth/token".to_owned(), Route::Token),
            ("/zot/auth/login".to_owned(), Route::Account(Account::Login)),
            ("/zot/auth/callback/oidc".to_owned(), Route::Account(Account::Callback { provider: "oidc".to_owned() })),
            ("/zot/auth/logout".to_owned(), Route::Account(Account::Logout)),
            ("/zot/auth/apikey".to_owned(), Route::Account(Account::ApiKeys)),
        ] {
            let template = route.template();
            assert_eq!(Route::parse(&path), Ok(route), "{path}");
            assert!(has_form(&path, template), "{path} is not of the form {template}");
        }
    }

    /// Whether a path is what a template stands for.
    fn has_form(path: &str, template: &str) -> bool {
        let mut rest = path;
        for (at, fixed) in template.split('>').map(|part| part.split('<').next().unwrap()).enumerate() {
            match rest.find(fixed.trim_end_matches('/')) {
                Some(found) if at > 0 || found == 0 => rest = &rest[found + fixed.trim_end_matches('/').len()..],
                _ => return false,
            }
        }
        template.ends_with('>') || rest.is_empty() || rest == "/"
    }

    #[test]
    fn names_may_contain_the_words_of_the_protocol() {
        for (path, route) in [
            ("/v2/a/blobs/uploads/tags/list", Route::Tags { name: repository("a/blobs/uploads") }),
            ("/v2/tags/list/tags/list", Route::Tags { name: repository("tags/list") }),
            ("/v2/tags/tags/list", Route::Tags { name: repository("tags") }),
            (
                "/v2/a/blobs/uploads/manifests/list",
                Route::Manifest { name: repository("a/blobs/uploads"), reference: tag("list") },
            ),
            ("/v2/a/tags/manifests/list", Route::Manifest { name: repository("a/tags"), reference: tag("list") }),
            ("/v2/a/manifests/uploads", Route::Manifest { name: repository("a"), reference: tag("uploads") }),
            ("/v2/a/blobs/uploads/blobs/uploads/", Route::UploadStart { name: repository("a/blobs/uploads") }),
            ("/v2/a/blobs/blobs/uploads", Route::UploadStart { name: repository("a/blobs") }),
            ("/v2/a/blobs/uploads/uploads", Route::Upload { name: repository("a"), id: "uploads".to_owned() }),
        ] {
            assert_eq!(Route::parse(path), Ok(route), "{path}");
        }
    }

    #[test]
    fn paths_with_a_second_reading_are_no_routes() {
        for path in [
            "",
            "/",
            "v2/",
            "/v1/",
            "/v2//",
            "/v2/a",
            "/v2/a/",
            "/v2/a/tags",
            "/v2/a/tags/list/",
            "/v2/_catalog/",
            "/v2/tags/list",
            "/v2//tags/list",
            "/v2/blobs/uploads/",
            "/v2//blobs/uploads/",
            "/v2/uploads/x",
            "/v2/a/uploads/x",
            "/v2/a/manifests/",
            "/v2/a/blobs/",
            "/v2/a/blobs/uploads//",
            "/v2/a//manifests/x",
            "/v2/../manifests/x",
            "/v2/./manifests/x",
            "/v2/%2e%2e/manifests/x",
            "/v2/.%2e/manifests/x",
            "/v2/%252e%252e/manifests/x",
            "/v2/%2e%2e%2fa/manifests/x",
            "/v2/..%5ca/manifests/x",
            "/v2/a%2Fb/manifests/x",
            "/v2/a%00/manifests/x",
            "/v2/%c0%ae/manifests/x",
            "/v2/a\\b/manifests/x",
            "/v2/a/manifests/..",
            "/v2/a/manifests/%2e",
            "/v2/a/manifests/x%",
            "/v2/a/manifests/%zz",
            "/v2/a/tags/%6cist/",
            "//etc/passwd",
            "/%2F%2F..%2F..%2Fetc%2Fpasswd",
            "/livez/",
            "/LIVEZ",
            "/v2/_catalog%00",
        ] {
            assert_eq!(Route::parse(path), Err(RouteError::NotARoute), "{path}");
        }
    }

    #[test]
    fn bad_parts_are_named() {
        for path in ["/v2/A/tags/list", "/v2/-a/manifests/x", "/v2/%D0%B0/blobs/x", "/v2/a..b/blobs/uploads/"] {
            assert!(matches!(Route::parse(path), Err(RouteError::NameInvalid(_))), "{path}");
        }
        let long = format!("/v2/{}/tags/list", "a".repeat(64 * 1024));
        assert_eq!(Route::parse(&long), Err(RouteError::NameInvalid(NameError::Length { found: 65536 })));
        for path in ["/v2/a/blobs/x", "/v2/a/manifests/a:b", "/v2/a/referrers/x", "/v2/a/blobs/sha256:E3"] {
            assert!(matches!(Route::parse(path), Err(RouteError::DigestInvalid(_))), "{path}");
        }
        for path in ["/v2/a/manifests/-x", "/v2/a/manifests/latest%0d%0aSet-Cookie", "/v2/a/manifests/%20"] {
            assert!(matches!(Route::parse(path), Err(RouteError::TagInvalid(_))), "{path}");
        }
        for path in ["/v2/a/blobs/uploads/a.b", &format!("/v2/a/blobs/uploads/{}", "0".repeat(65))] {
            assert_eq!(Route::parse(path), Err(RouteError::UploadUnknown), "{path}");
        }
    }

    #[test]
    fn methods_follow_the_endpoints() {
        let route = Route::parse("/v2/a/blobs/uploads/").unwrap();
        assert!(route.allows(&Method::POST));
        assert!(!route.allows(&Method::GET));
        let route = Route::parse("/v2/a/manifests/x").unwrap();
        assert_eq!(route.allow(), "GET, HEAD, PUT, DELETE");
        assert!(!route.allows(&Method::POST) && !route.allows(&Method::from_bytes(b"GE").unwrap()));
    }

    /// One pattern per endpoint, every way to place the name tried.
    fn slow(path: &str) -> Option<(String, &'static str)> {
        let rest = path.strip_prefix("/v2/")?;
        for (at, _) in rest.match_indices('/') {
            let (name, tail) = (&rest[..at], &rest[at..]);
            let kind = match tail {
                "/tags/list" => "tags",
                "/blobs/uploads" | "/blobs/uploads/" => "start",
                _ if tail.strip_prefix("/blobs/uploads/").is_some_and(|id| !id.contains('/')) => "upload",
                _ if tail.strip_prefix("/manifests/").is_some_and(|tag| Tag::parse(tag).is_ok()) => "manifest",
                _ => continue,
            };
            if Repository::parse(name).is_ok() {
                return Some((name.to_owned(), kind));
            }
        }
        None
    }

    proptest! {
        #[test]
        fn agrees_with_the_patterns(
            words in prop::collection::vec(
                prop::sample::select(vec!["a", "b-c", "tags", "list", "blobs", "uploads", "manifests", ""]), 1..8),
        ) {
            let path = format!("/v2/{}", words.join("/"));
            let found = match Route::parse(&path) {
                Ok(Route::Tags { name }) => Some((name.to_string(), "tags")),
                Ok(Route::UploadStart { name }) => Some((name.to_string(), "start")),
                Ok(Route::Upload { name, .. }) => Some((name.to_string(), "upload")),
                Ok(Route::Manifest { name, .. }) => Some((name.to_string(), "manifest")),
                _ => None,
            };
            prop_assert_eq!(found, slow(&path), "{}", path);
        }

        #[test]
        fn encoding_a_path_does_not_change_its_route(word in "[a-z]{1,8}", tag in "[a-z._-]{1,8}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let plain = Route::parse(&format!("/v2/{word}/manifests/{tag}"));
            let encoded = Route::parse(&format!("/v2/{}/manifests/{}", encode(&word), encode(&tag)));
            prop_assert_eq!(plain, encoded);
        }
    }
}
