use crate::config::{Config, parse};

fn parse(text: &str) -> Result<Config, String> {
    let mut config = Config::default();
    parse::apply(&mut config, text.as_bytes()).map(|()| config).map_err(|error| error.to_string())
}

fn auth(text: &str) -> Result<Config, String> {
    parse(&format!(r#"{{"http": {{"auth": {text}}}}}"#))
}

/// What opening says, which reads the files.
fn opened(text: &str) -> Result<(), String> {
    let config = auth(text).expect("accepted");
    config.access.open(std::path::Path::new("store"), None).map(drop).map_err(|failure| failure.to_string())
}

#[cfg(feature = "openid")]
#[test]
fn providers_of_a_file_of_zot_are_taken_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("credentials.json");
    std::fs::write(&path, r#"{"clientid": "id", "clientsecret": "sentinel"}"#).expect("written");
    let text = format!(
        r#"{{
            "sessionDriver": {{"name": "local"}},
            "secureSession": true,
            "openid": {{
                "providers": {{
                    "github": {{"clientid": "id", "clientsecret": "sentinel", "scopes": ["read:org", "user", "repo"]}},
                    "google": {{
                        "issuer": "https://accounts.google.com", "credentialsFile": {path:?}, "keypath": "",
                        "scopes": ["openid", "email"]
                    }},
                    "oidc": {{
                        "name": "Corporate SSO", "issuer": "https://login.example.org", "credentialsFile": {path:?},
                        "scopes": ["openid", "profile", "email", "groups"],
                        "claimMapping": {{"username": "preferred_username", "groups": "roles"}}
                    }}
                }},
                "callbackAllowOrigins": ["https://ui.example.org"]
            }}
        }}"#
    );
    let config = auth(&text).unwrap_or_else(|error| panic!("refused: {error}"));
    assert_eq!(config.notes.len(), 1, "{:?}", config.notes);
    assert!(config.notes[0].contains("github.clientsecret") && !config.notes[0].contains("sentinel"));
    assert!(config.access.has_users() && config.access.options.secure_sessions);
    assert!(config.access.open(std::path::Path::new("store"), None).is_ok_and(|auth| auth.is_some()));
    std::fs::write(&path, r#"{"clientsecret": "sentinel"}"#).expect("written");
    let error = opened(&text).expect_err("refused");
    assert!(error.contains("google.credentialsFile") && error.contains("no clientid"), "{error}");
    assert!(!error.contains("sentinel"), "{error}");
}

#[cfg(feature = "openid")]
#[test]
fn providers_that_could_not_be_used_are_refused() {
    let ok = r#""clientid": "id", "scopes": ["email"]"#;
    for (text, part) in [
        (format!(r#"{{"oidc": {{{ok}}}}}"#), "issuer"),
        (r#"{"oidc": {"issuer": "https://a", "scopes": ["email"]}}"#.to_owned(), "clientid"),
        (r#"{"github": {"clientid": "id"}}"#.to_owned(), "scopes"),
        (format!(r#"{{"oidc": {{{ok}, "issuer": "login.example.org"}}}}"#), "expected https://"),
        (format!(r#"{{"oidc": {{{ok}, "issuer": "https://a", "keypath": "/key"}}}}"#), "private key"),
        (format!(r#"{{"oidc": {{{ok}, "issuer": "https://a", "authurl": "https://a"}}}}"#), "github only"),
        (format!(r#"{{"github": {{{ok}, "issuer": "https://a"}}}}"#), "OpenID Connect only"),
        (format!(r#"{{"github": {{{ok}, "authurl": "https://a"}}}}"#), "tokenurl"),
        (format!(r#"{{"github": {{{ok}, "clientSecrets": "x"}}}}"#), "unknown key"),
        (format!(r#"{{"a/b": {{{ok}, "issuer": "https://a"}}}}"#), "no name"),
        (format!(r#"{{"oidc": {{{ok}, "issuer": "https://a", "claimMapping": {{"email": "x"}}}}}}"#), "claimMapping"),
    ] {
        let Err(error) = auth(&format!(r#"{{"openid": {{"providers": {text}}}}}"#)) else { panic!("accepted: {text}") };
        assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
    }
    let error = auth(r#"{"openid": {"callbackAllowOrigins": ["https://a/b"]}}"#).map(drop).expect_err("refused");
    assert!(error.contains("no origin"), "{error}");
    let text = format!(r#"{{"openid": {{"providers": {{"oidc": {{{ok}, "issuer": "http://a"}}}}}}}}"#);
    assert!(auth(&text).is_ok_and(|config| config.notes.iter().any(|note| note.contains("https"))));
}

#[test]
fn keys_of_sessions_are_read_when_it_starts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (users, keys) = (directory.path().join("htpasswd"), directory.path().join("keys.json"));
    std::fs::write(&users, "").expect("written");
    let text = format!(r#"{{"htpasswd": {{"path": {users:?}}}, "sessionKeysFile": {keys:?}}}"#);
    let error = opened(&text).expect_err("refused");
    assert!(error.contains("sessionKeysFile") && error.contains("cannot be read"), "{error}");
    for (content, part) in [
        (r#"{"hashKey": "sentinel"}"#, "at least 16"),
        (r#"{"encryptKey": "sentinel sentinel sentinel"}"#, "at least 16"),
        (r#"{"hashKey": ["sentinel"]}"#, "expected a string, found a list"),
        (r#"{"hashKey": "sentinel sentinel sentinel", "key": "sentinel"}"#, "hashKey and encryptKey"),
        (r#"["sentinel"]"#, "an object"),
        ("sentinel", "no JSON at line 1"),
    ] {
        std::fs::write(&keys, content).expect("written");
        let error = opened(&text).expect_err("refused");
        assert!(error.contains(part) && !error.contains("sentinel\""), "{part:?} is not in: {error}");
    }
    std::fs::write(&keys, r#"{"hashKey": "sentinel sentinel sentinel", "encryptKey": "x"}"#).expect("written");
    assert_eq!(opened(&text), Ok(()));
}

#[cfg(feature = "openid")]
#[test]
fn logins_are_below_the_base_path() {
    let openid = r#""auth": {"openid": {"providers": {"github": {"clientid": "a", "clientsecret": "b", "scopes": ["read:org"]}}}}"#;
    for (first, last) in [(r#""basePath": "/registry", "#, ""), ("", r#", "basePath": "/registry""#)] {
        let text = format!(r#"{{"http": {{{first}"externalUrl": "https://a.example", {openid}{last}}}}}"#);
        let config = Config::parse(std::path::Path::new("c.json"), text.as_bytes(), false);
        let config = config.unwrap_or_else(|error| panic!("refused: {error}"));
        assert_eq!(config.access.options.base_path, "/registry", "in any order");
    }
}

#[test]
fn sessions_are_kept_here() {
    assert!(auth(r#"{"sessionDriver": {"name": "local"}}"#).is_ok());
    for (text, part) in [
        (r#"{"name": "redis", "url": "redis://a:1", "keyprefix": "x"}"#, "sessions in redis"),
        (r#"{"name": "memory"}"#, "expected \"local\""),
        (r#"{"name": "local", "url": "x"}"#, "sessionDriver"),
    ] {
        let error = auth(&format!(r#"{{"sessionDriver": {text}}}"#)).map(drop).expect_err("refused");
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn origins_are_whole() {
    assert!(parse(r#"{"http": {"allowOrigin": "https://ui.example.org,http://localhost:3000"}}"#).is_ok());
    assert!(parse(r#"{"http": {"allowOrigin": ""}}"#).is_ok_and(|config| config.allow_origin.is_none()));
    let error = parse(r#"{"http": {"allowOrigin": "ui.example.org"}}"#).map(drop).expect_err("refused");
    assert!(error.contains("no origin"), "{error}");
    assert!(parse(r#"{"extensions": {"mgmt": {"enable": true}}}"#).is_ok_and(|config| config.notes.is_empty()));
}
