//! `http.auth.ldap`, with zot's keys and meaning: a directory that knows users.

use std::path::PathBuf;

use orlop_auth::ldap::{LOGIN_TIME_MAX, LdapOptions, REMEMBERED, Security};

use super::{Config, address, error::ErrorKind, tree::Node, value::Value};

/// The key of the directory.
pub const KEY: &str = "http.auth.ldap";

const KEYS: &[&str] = &[
    "credentialsFile",
    "address",
    "port",
    "insecure",
    "startTLS",
    "skipVerify",
    "cacert",
    "baseDN",
    "userAttribute",
    "userFilter",
    "userGroupAttribute",
    "subtreeSearch",
];

/// Sets the directory.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let mut options = LdapOptions {
        host: String::new(),
        port: 0,
        security: Security::Tls,
        authorities: None,
        skip_verify: false,
        credentials: None,
        base: String::new(),
        subtree: false,
        user_attribute: String::new(),
        user_filter: None,
        group_attribute: None,
        remembered: REMEMBERED,
        login_time_max: LOGIN_TIME_MAX,
    };
    let (mut is_insecure, mut asks_for_tls, mut port) = (false, false, None);
    let directory = Node::new(path, value);
    directory.each_key(KEYS, |key, node| {
        match key {
            "credentialsFile" => options.credentials = file(&node)?,
            "address" => {
                let text = node.text("a host name or IP address as a string")?;
                options.host = address::parse_host(text).map_err(|reason| node.unusable(reason))?;
            }
            "port" => port = self::port(&node)?,
            "insecure" => is_insecure = node.bool()?,
            "startTLS" => asks_for_tls = node.bool()?,
            "skipVerify" => options.skip_verify = node.bool()?,
            "cacert" => options.authorities = file(&node)?,
            "baseDN" => options.base = node.text("the name of an entry as a string")?.to_owned(),
            "userAttribute" => options.user_attribute = node.text("the name of an attribute as a string")?.to_owned(),
            "userFilter" => options.user_filter = some(node.text("a filter as a string")?),
            "userGroupAttribute" => options.group_attribute = some(node.text("the name of an attribute as a string")?),
            _ => options.subtree = node.bool()?,
        }
        Ok(())
    })?;
    for (key, text) in
        [("address", &options.host), ("baseDN", &options.base), ("userAttribute", &options.user_attribute)]
    {
        if text.is_empty() {
            return Err(directory.unusable(format!("a directory needs {key:?}")));
        }
    }
    options.security = match (is_insecure, asks_for_tls) {
        (false, _) => Security::Tls,
        (true, true) => Security::StartTls,
        (true, false) => Security::Plain,
    };
    options.port = port.unwrap_or(options.security.port());
    options.check().map_err(|error| directory.unusable(error))?;
    config.notes.extend(notes(&options, asks_for_tls));
    config.access.ldap = Some(options);
    Ok(())
}

/// What the operator should know of a directory that is accepted.
fn notes(options: &LdapOptions, asks_for_tls: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |text: &str| notes.push(format!("{KEY}: {text}"));
    match options.security {
        Security::Plain => note("\"insecure\" without \"startTLS\" sends every password where others can read it"),
        _ if options.skip_verify => note("with \"skipVerify\" whoever answers for the directory learns every password"),
        _ => {}
    }
    if options.security == Security::Tls && asks_for_tls {
        note("\"startTLS\" has no effect without \"insecure\": the connection begins with TLS");
    }
    if options.authorities.is_some() && (options.skip_verify || options.security == Security::Plain) {
        note("\"cacert\" has no effect: no certificate is checked");
    }
    notes
}

/// As in zot a number; 0 is the one that directories listen on.
fn port(node: &Node<'_>) -> Result<Option<u16>, ErrorKind> {
    let number = node.whole("a port as a number")?;
    let port = u16::try_from(number);
    let port = port.map_err(|_| node.unusable(format!("{number} is not a port, expected a number from 0 to 65535")))?;
    Ok(Some(port).filter(|port| *port != 0))
}

fn file(node: &Node<'_>) -> Result<Option<PathBuf>, ErrorKind> {
    let text = node.text("a path as a string")?;
    match text.contains('\0') {
        true => Err(node.unusable("the path has a NUL character")),
        false => Ok(some(text).map(PathBuf::from)),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(ldap: &str) -> Result<Config, String> {
        Config::parse(Path::new("c.json"), format!(r#"{{"http": {{"auth": {{"ldap": {ldap}}}}}}}"#).as_bytes(), false)
            .map_err(|error| error.to_string())
    }

    fn options(ldap: &str) -> (LdapOptions, Vec<String>) {
        let config = parse(ldap).unwrap_or_else(|error| panic!("refused: {error}"));
        (config.access.ldap.expect("a directory"), config.notes)
    }

    #[test]
    fn a_directory_of_zot_is_taken_over() {
        let (options, notes) = options(
            r#"{
                "credentialsFile": "config-ldap-credentials.json",
                "address": "ldap.example.org",
                "port": 389,
                "startTLS": false,
                "baseDN": "ou=Users,dc=example,dc=org",
                "userAttribute": "uid",
                "userGroupAttribute": "memberOf",
                "skipVerify": true,
                "subtreeSearch": true
            }"#,
        );
        assert_eq!((&*options.host, options.port, options.security), ("ldap.example.org", 389, Security::Tls));
        assert_eq!(options.credentials.as_deref(), Some(Path::new("config-ldap-credentials.json")));
        assert_eq!(options.group_attribute.as_deref(), Some("memberOf"));
        assert!(options.subtree && options.skip_verify && options.user_filter.is_none());
        assert!(notes.len() == 1 && notes[0].contains("skipVerify"), "{notes:?}");
    }

    #[test]
    fn passwords_are_kept_from_others_unless_it_is_said_twice() {
        let of = |more: &str| options(&format!(r#"{{"address": "a", "baseDN": "b", "userAttribute": "uid"{more}}}"#));
        let security = |more: &str| (of(more).0.security, of(more).0.port, of(more).1.len());
        assert_eq!(security(""), (Security::Tls, 636, 0));
        assert_eq!(security(r#", "startTLS": true"#), (Security::Tls, 636, 1));
        assert_eq!(security(r#", "insecure": true, "startTLS": true"#), (Security::StartTls, 389, 0));
        assert_eq!(security(r#", "insecure": true, "port": 3890"#), (Security::Plain, 3890, 1));
        assert_eq!(security(r#", "insecure": true, "cacert": "ca.pem""#), (Security::Plain, 389, 2));
    }

    #[test]
    fn what_names_no_users_is_refused() {
        for (text, part) in [
            ("{}", "needs \"address\""),
            (r#"{"address": "a", "userAttribute": "uid"}"#, "needs \"baseDN\""),
            (r#"{"address": "a", "baseDN": "b"}"#, "needs \"userAttribute\""),
            (r#"{"address": "ldap://a"}"#, "not a host name"),
            (r#"{"address": "a", "port": 65536}"#, "0 to 65535"),
            (r#"{"address": "a", "baseDN": "b", "userAttribute": "uid="}"#, "no name of an attribute"),
            (r#"{"address": "a", "baseDN": "b", "userAttribute": "u", "userFilter": "(("}"#, "RFC 4515"),
            (r#"{"address": "a", "bindDN": "b"}"#, "unknown key"),
        ] {
            let Err(error) = parse(text) else { panic!("accepted: {text}") };
            assert!(error.contains(part) && error.contains(KEY), "{part:?} is not in: {error}");
        }
    }
}
