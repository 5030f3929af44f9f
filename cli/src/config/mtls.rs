//! `http.tls.cacert` and `http.auth.mtls`, with zot's keys and meaning: users who show a certificate.

use std::path::PathBuf;

use orlop_auth::{Attribute, CertificateRules};
use orlop_gc::retention::NamePattern;

use super::{Config, error::ErrorKind, tree::Node, value::Value};

/// The key of the rules.
pub const KEY: &str = "http.auth.mtls";

/// The most attributes that are tried.
const ATTRIBUTES_MAX: usize = 16;

/// The last place in a list of names that may be asked for.
const INDEX_MAX: u64 = 1000;

const KEYS: &[&str] = &["identityAttributes", "uriSanPattern", "uriSanIndex", "dnsSanIndex", "emailSanIndex"];

/// With authorities clients' certificates make users, as in zot also without any rules.
pub fn set_authorities(config: &mut Config, path: PathBuf) {
    config.tls.cacert = Some(path);
    config.access.options.certificates.get_or_insert_default();
}

/// Sets which part of a certificate is the name of its user.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let mut rules = CertificateRules::default();
    Node::new(path, value).each_key(KEYS, |key, node| {
        match key {
            "identityAttributes" => {
                let attributes = node.each("a list of attributes", ATTRIBUTES_MAX, attribute)?;
                // As in zot: nothing said is the usual.
                if !attributes.is_empty() {
                    rules.attributes = attributes;
                }
            }
            "uriSanPattern" => rules.uri_pattern = pattern(&node)?,
            "uriSanIndex" => rules.uri_index = index(&node)?,
            "dnsSanIndex" => rules.dns_index = index(&node)?,
            _ => rules.email_index = index(&node)?,
        }
        Ok(())
    })?;
    config.access.options.certificates = Some(rules);
    Ok(())
}

fn attribute(node: Node<'_>) -> Result<Attribute, ErrorKind> {
    let name = node.text("an attribute as a string")?;
    Attribute::named(name).ok_or_else(|| {
        let known = "\"CommonName\", \"Subject\", \"URI\", \"DNSName\" or \"Email\"";
        node.unusable(format!("{name:?} is not known, expected {known}"))
    })
}

fn pattern(node: &Node<'_>) -> Result<Option<NamePattern>, ErrorKind> {
    let text = node.text("a regular expression as a string")?;
    if text.is_empty() {
        return Ok(None);
    }
    let pattern = NamePattern::new(text).map_err(|error| node.unusable(format!("{text:?}: {error}")))?;
    match pattern.has_group() {
        true => Ok(Some(pattern)),
        false => Err(node.unusable(format!("{text:?} has no group; put the name of the user in parentheses"))),
    }
}

fn index(node: &Node<'_>) -> Result<usize, ErrorKind> {
    let index = node.whole("a place in a list, counted from 0")?;
    let small = Some(index).filter(|index| *index <= INDEX_MAX).and_then(|index| usize::try_from(index).ok());
    small.ok_or_else(|| node.unusable(format!("{index} is too large, expected 0 to {INDEX_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(http: &str) -> Result<Config, String> {
        Config::parse(std::path::Path::new("c.json"), format!(r#"{{"http": {http}}}"#).as_bytes(), false)
            .map_err(|error| error.to_string())
    }

    fn rules(http: &str) -> CertificateRules {
        let config = parse(http).unwrap_or_else(|error| panic!("refused: {error}"));
        assert!(config.access.is_controlled() && config.tls.client_authorities().is_some());
        config.access.options.certificates.expect("rules")
    }

    #[test]
    fn authorities_alone_have_the_common_name_be_the_user() {
        let rules = rules(r#"{"tls": {"cert": "a", "key": "b", "cacert": "c"}}"#);
        assert_eq!(rules.attributes, [Attribute::CommonName]);
    }

    #[test]
    fn rules_of_zot_are_taken_over() {
        let mtls = r#"{"identityAttributes": ["url", "DN", "cn"], "uriSanPattern": "spiffe://a/ns/(.*)",
                       "uriSanIndex": 1, "dnsSanIndex": 2, "emailSanIndex": 3}"#;
        for http in [
            format!(r#"{{"tls": {{"cert": "a", "key": "b", "cacert": "c"}}, "auth": {{"mtls": {mtls}}}}}"#),
            format!(r#"{{"auth": {{"mtls": {mtls}}}, "tls": {{"cert": "a", "key": "b", "cacert": "c"}}}}"#),
        ] {
            let rules = rules(&http);
            assert_eq!(rules.attributes, [Attribute::Uri, Attribute::Subject, Attribute::CommonName]);
            assert_eq!((rules.uri_index, rules.dns_index, rules.email_index), (1, 2, 3));
            assert_eq!(rules.uri_pattern.expect("a pattern").as_str(), "spiffe://a/ns/(.*)");
        }
    }

    #[test]
    fn what_would_let_nobody_or_everybody_in_is_refused() {
        for (http, part) in [
            (r#"{"auth": {"mtls": {}}}"#, "needs \"http.tls.cacert\""),
            (r#"{"tls": {"cacert": "c"}}"#, "needs \"http.tls.cert\""),
            (r#"{"auth": {"mtls": {"identityAttributes": ["Serial"]}}}"#, "\"CommonName\""),
            (r#"{"auth": {"mtls": {"uriSanPattern": "("}}}"#, "uriSanPattern"),
            (r#"{"auth": {"mtls": {"uriSanPattern": "spiffe://a"}}}"#, "has no group"),
            (r#"{"auth": {"mtls": {"uriSanIndex": 1001}}}"#, "0 to 1000"),
            (r#"{"auth": {"mtls": {"uriSanIndex": -1}}}"#, "uriSanIndex"),
        ] {
            let Err(error) = parse(http) else { panic!("accepted: {http}") };
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
}
