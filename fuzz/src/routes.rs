//! Paths against one pattern per endpoint, with every way to place the repository name tried.

use orlop_api::protocol::{Account, Route, RouteError, route::Health};

use crate::slow;

pub fn run(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    let expected = slow(path);
    match Route::parse(path) {
        Ok(route) => {
            // The route's own path is the decoded path: nothing was dropped or taken twice.
            let canonical = canonical(&route);
            assert_eq!(expected.as_deref(), Some(&*canonical), "accepted {path:?}");
            assert_eq!(Route::parse(&canonical), Ok(route.clone()));
            assert!(!route.allow().is_empty());
        }
        Err(error) => {
            assert_eq!(expected, None, "refused {path:?}: {error}");
            if error != RouteError::NotARoute {
                assert!(path.starts_with("/v2/"), "{path:?}: {error}");
            }
        }
    }
}

fn canonical(route: &Route) -> String {
    match route {
        Route::Base => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::Tags { name } => format!("/v2/{name}/tags/list"),
        Route::Manifest { name, reference } => format!("/v2/{name}/manifests/{reference}"),
        Route::Blob { name, digest } => format!("/v2/{name}/blobs/{digest}"),
        Route::UploadStart { name } => format!("/v2/{name}/blobs/uploads/"),
        Route::Upload { name, id } => format!("/v2/{name}/blobs/uploads/{id}"),
        Route::Referrers { name, digest } => format!("/v2/{name}/referrers/{digest}"),
        Route::Health(Health::Live) => "/livez".to_owned(),
        Route::Health(Health::Ready) => "/readyz".to_owned(),
        Route::Health(Health::Started) => "/startupz".to_owned(),
        Route::Metrics => "/metrics".to_owned(),
        Route::Token => "/zot/auth/token".to_owned(),
        Route::Account(Account::Login) => "/zot/auth/login".to_owned(),
        Route::Account(Account::Callback { provider }) => format!("/zot/auth/callback/{provider}"),
        Route::Account(Account::Logout) => "/zot/auth/logout".to_owned(),
        Route::Account(Account::ApiKeys) => "/zot/auth/apikey".to_owned(),
        Route::Extensions => "/v2/_oci/ext/discover".to_owned(),
        Route::Management => "/v2/_zot/ext/mgmt".to_owned(),
        Route::Collection => "/v2/_orlop/gc".to_owned(),
        Route::Scrub => "/v2/_orlop/scrub".to_owned(),
    }
}

/// The canonical path of the endpoint that `path` names.
fn slow(path: &str) -> Option<String> {
    match path {
        "/v2" => return Some("/v2/".to_owned()),
        "/v2/"
        | "/v2/_catalog"
        | "/v2/_orlop/gc"
        | "/v2/_orlop/scrub"
        | "/livez"
        | "/readyz"
        | "/startupz"
        | "/v2/_oci/ext/discover"
        | "/v2/_zot/ext/mgmt"
        | "/metrics"
        | "/zot/auth/token"
        | "/zot/auth/login"
        | "/zot/auth/logout"
        | "/zot/auth/apikey" => {
            return Some(path.to_owned());
        }
        _ => {}
    }
    if let Some(provider) = path.strip_prefix("/zot/auth/callback/") {
        let is_known = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
        let is_name = (1..=64).contains(&provider.len()) && provider.chars().all(is_known);
        return is_name.then(|| path.to_owned());
    }
    let raw = path.strip_prefix("/v2/")?;
    if raw.to_lowercase().contains("%2f") {
        return None;
    }
    let rest = slow::percent_decode(raw)?;
    let named = |at: &usize| {
        let (name, tail) = rest.split_at(*at);
        slow::is_name(name) && is_endpoint(tail)
    };
    let mut places = rest.match_indices('/').map(|(at, _)| at).filter(named);
    let place = places.next()?;
    assert_eq!(places.next(), None, "{path:?} has two readings");
    let start = if rest[place..] == *"/blobs/uploads" { "/" } else { "" };
    Some(format!("/v2/{rest}{start}"))
}

fn is_endpoint(tail: &str) -> bool {
    let after = |prefix| tail.strip_prefix(prefix);
    let is_upload_id =
        |text: &str| text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    matches!(tail, "/tags/list" | "/blobs/uploads")
        || after("/manifests/").is_some_and(|text| slow::is_tag(text) || slow::is_digest(text))
        || after("/blobs/").is_some_and(slow::is_digest)
        || after("/referrers/").is_some_and(slow::is_digest)
        || after("/blobs/uploads/").is_some_and(is_upload_id)
}
