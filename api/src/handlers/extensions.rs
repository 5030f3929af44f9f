//! What clients of zot ask for beside the specification: which extensions there are, and how one can log in.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::reply;
use crate::{
    access::{Access, Ways},
    body::ResponseBody,
};

/// The version of the distribution specification that is implemented.
const DISTRIBUTION_VERSION: &str = "1.1.1";

/// `GET /v2/_oci/ext/discover` (distribution specification, "Extensions API").
pub fn discover() -> Response<ResponseBody> {
    let document = json!({ "extensions": [{
        "name": "_zot",
        "url": "https://github.com/project-zot/zot/blob/main/pkg/extensions/_zot.md",
        "description": "those of zot's extensions that Orlop has",
        "endpoints": ["/v2/_zot/ext/mgmt"],
    }]});
    reply::json(StatusCode::OK, document.to_string())
}

/// `GET /v2/_zot/ext/mgmt`. Everybody may ask: a page that wants to show a login has to know which. It has names
/// and addresses, and nothing that is secret.
pub fn management(access: Option<&dyn Access>) -> Response<ResponseBody> {
    let http = match access.map(|access| auth(&access.ways())) {
        Some(auth) if !auth.is_empty() => json!({ "auth": auth }),
        _ => json!({}),
    };
    let document = json!({
        "distSpecVersion": DISTRIBUTION_VERSION,
        "commit": "",
        "releaseTag": concat!("v", env!("CARGO_PKG_VERSION")),
        "binaryType": "orlop",
        "http": http,
    });
    reply::json(StatusCode::OK, document.to_string())
}

/// The shape is zot's: what there is not is left out.
fn auth(ways: &Ways) -> Map<String, Value> {
    let mut auth = Map::new();
    if ways.password {
        auth.insert("htpasswd".to_owned(), json!({}));
    }
    if let Some(bearer) = &ways.bearer {
        auth.insert("bearer".to_owned(), json!({ "realm": bearer.realm, "service": bearer.service }));
    }
    if !ways.providers.is_empty() {
        let labelled = ways.providers.iter().map(|provider| {
            let label = if provider.label.is_empty() { json!({}) } else { json!({ "name": provider.label }) };
            (provider.name.clone(), label)
        });
        auth.insert("openid".to_owned(), json!({ "providers": labelled.collect::<Map<_, _>>() }));
    }
    if ways.api_keys {
        auth.insert("apikey".to_owned(), json!(true));
    }
    auth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Bearer, Provider};

    #[test]
    fn ways_are_shown_as_by_zot() {
        let shown = |ways: &Ways| Value::Object(auth(ways)).to_string();
        assert_eq!(shown(&Ways::default()), "{}");
        let provider = |name: &str, label: &str| Provider { name: name.to_owned(), label: label.to_owned() };
        let ways = Ways {
            password: true,
            bearer: Some(Bearer { realm: "https://a/token".to_owned(), service: "a".to_owned() }),
            providers: vec![provider("github", ""), provider("oidc", "Our login")],
            api_keys: true,
        };
        let expected = json!({
            "htpasswd": {},
            "bearer": { "realm": "https://a/token", "service": "a" },
            "openid": { "providers": { "github": {}, "oidc": { "name": "Our login" } } },
            "apikey": true,
        });
        assert_eq!(shown(&ways), expected.to_string());
    }
}
