//! `http.auth.bearer`, with zot's keys and meaning: tokens that others have issued.
//!
//! In: the value of the key. Out: the options of what checks the tokens; expressions compiled, so that a mistake in
//! one shows when the file is read. `issuer` and `audience` are added here: zot looks at neither in the tokens of a
//! token server.

use std::path::PathBuf;

use orlop_auth::bearer::{
    Authorities, DistributionOptions, Expected, ForeignOptions, Mapping, ProviderOptions, Realm, UpstreamOptions,
};

use super::{Config, error::ErrorKind, tree::Node, value::Value};

/// The key.
pub const KEY: &str = "http.auth.bearer";

/// The most providers, audiences of one, and expressions of one.
const ENTRIES_MAX: usize = 64;

/// Sets what the file says about tokens.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    const KEYS: &[&str] =
        &["realm", "service", "cert", "issuer", "audience", "oidc", "upstreamTokenEndpoint", "awsSecretsManager"];
    let root = Node::new(path, value);
    let (mut realm, mut service, mut keys, mut expected) = (None, None, None, Expected::default());
    let mut options = ForeignOptions::default();
    root.each_key(KEYS, |key, node| {
        match key {
            "realm" => realm = text(&node)?,
            "service" => service = text(&node)?,
            "cert" => keys = text(&node)?.map(PathBuf::from),
            "issuer" => expected.issuer = text(&node)?.map(str::to_owned),
            "audience" => expected.audiences = text(&node)?.map(str::to_owned).into_iter().collect(),
            "oidc" => options.providers = node.each("a list of providers", ENTRIES_MAX, provider)?,
            "upstreamTokenEndpoint" => options.upstream = Some(upstream(&node)?),
            _ => return Err(ErrorKind::Unsupported { key: node.path, feature: "secrets of AWS" }),
        }
        Ok(())
    })?;
    options.realm = match (realm, service) {
        (None, None) => None,
        (Some(realm), service) => {
            let service = service.ok_or_else(|| root.unusable("it has a \"realm\" and no \"service\""))?;
            let told = Realm::new(realm, service);
            Some(told.map_err(|error| root.unusable(format!("realm {realm:?} with service {service:?}: {error}")))?)
        }
        (None, Some(_)) => return Err(root.unusable("it has a \"service\" and no \"realm\"")),
    };
    if keys.is_none() && (expected.issuer.is_some() || !expected.audiences.is_empty()) {
        let reason = "\"issuer\" and \"audience\" are asked of tokens that \"cert\" is for, which is missing";
        return Err(root.unusable(reason));
    }
    if keys.is_some() && options.realm.is_none() {
        return Err(root.unusable("it has a \"cert\" and no \"realm\": clients would not know where to get a token"));
    }
    if options.upstream.is_some() && options.providers.is_empty() {
        return Err(root.unusable("\"upstreamTokenEndpoint\" is for what \"oidc\" does not know, which is missing"));
    }
    options.distribution = keys.map(|keys| DistributionOptions { keys, expected });
    if options.is_empty() {
        return Err(root.unusable("nothing says which tokens are right; expected \"cert\" or \"oidc\""));
    }
    config.access.foreign = Some(options);
    Ok(())
}

fn provider(node: Node<'_>) -> Result<ProviderOptions, ErrorKind> {
    let mut options = ProviderOptions {
        issuer: String::new(),
        audiences: Vec::new(),
        mapping: Mapping::default(),
        authorities: Authorities::System,
        skip_issuer: false,
    };
    let keys = &[
        "issuer",
        "audiences",
        "claimMapping",
        "certificateAuthority",
        "certificateAuthorityFile",
        "skipIssuerVerification",
    ];
    node.each_key(keys, |key, node| {
        let mut authorities = |found: Option<Authorities>| match (&options.authorities, found) {
            (Authorities::System, Some(found)) => {
                options.authorities = found;
                Ok(())
            }
            (_, None) => Ok(()),
            _ => Err(node.unusable("expected either \"certificateAuthority\" or \"certificateAuthorityFile\"")),
        };
        match key {
            "issuer" => options.issuer = address(&node)?,
            "audiences" => options.audiences = node.each("a list of strings", ENTRIES_MAX, |node| some(&node))?,
            "claimMapping" => options.mapping = mapping(&node)?,
            "certificateAuthority" => authorities(text(&node)?.map(|pem| Authorities::Text(pem.to_owned())))?,
            "certificateAuthorityFile" => authorities(text(&node)?.map(|path| Authorities::File(path.into())))?,
            _ => options.skip_issuer = node.bool()?,
        }
        Ok(())
    })?;
    match (options.issuer.is_empty(), options.audiences.is_empty()) {
        (true, _) => Err(node.unusable("it has no \"issuer\"")),
        (_, true) => Err(node.unusable("it has no \"audiences\": it would take tokens that are meant for others")),
        _ => Ok(options),
    }
}

/// The address of a provider, as it is in its tokens.
fn address(node: &Node<'_>) -> Result<String, ErrorKind> {
    let text = node.text("an address such as \"https://token.actions.githubusercontent.com\"")?;
    let is_address = |scheme: &str| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#', '"', '\\']);
    match (is_address("https://") || is_address("http://")) && is_plain {
        true => Ok(text.to_owned()),
        false => Err(node.unusable(format!("{text:?}: expected https:// or http://, a host, and perhaps a path"))),
    }
}

#[cfg(feature = "conditions")]
fn mapping(node: &Node<'_>) -> Result<Mapping, ErrorKind> {
    use orlop_auth::{Expression, bearer::VARIABLES};

    let expression = |node: &Node<'_>| {
        let text = node.text("an expression as a string")?;
        Expression::compile(text, &VARIABLES).map_err(|error| node.unusable(format!("{text:?}: {error}")))
    };
    let optional = |node: &Node<'_>| match text(node)? {
        Some(_) => expression(node).map(Some),
        None => Ok(None),
    };
    let mut mapping = Mapping::default();
    let to = &mut mapping.expressions;
    node.each_key(&["variables", "validations", "username", "groups"], |key, node| {
        match key {
            "variables" => {
                to.variables = node.each("a list of variables", ENTRIES_MAX, |node| {
                    let (mut name, mut value) = (String::new(), None);
                    node.each_key(&["name", "expression"], |key, node| {
                        match key {
                            "name" => name = some(&node)?,
                            _ => value = Some(expression(&node)?),
                        }
                        Ok(())
                    })?;
                    let value = value.ok_or_else(|| node.unusable("it has no \"expression\""))?;
                    if name.is_empty() { Err(node.unusable("it has no \"name\"")) } else { Ok((name, value)) }
                })?;
            }
            "validations" => {
                to.validations = node.each("a list of validations", ENTRIES_MAX, |node| {
                    let (mut holds, mut message) = (None, String::new());
                    node.each_key(&["expression", "message"], |key, node| {
                        match key {
                            "expression" => holds = Some(expression(&node)?),
                            _ => message = node.text("a string")?.to_owned(),
                        }
                        Ok(())
                    })?;
                    Ok((holds.ok_or_else(|| node.unusable("it has no \"expression\""))?, message))
                })?;
            }
            "username" => to.username = optional(&node)?,
            _ => to.groups = optional(&node)?,
        }
        Ok(())
    })?;
    Ok(mapping)
}

#[cfg(not(feature = "conditions"))]
fn mapping(node: &Node<'_>) -> Result<Mapping, ErrorKind> {
    Err(ErrorKind::Unsupported { key: node.path.clone(), feature: "a build without expressions" })
}

fn upstream(node: &Node<'_>) -> Result<UpstreamOptions, ErrorKind> {
    let (mut realm, mut service, mut allows_http) = (None, None, false);
    node.each_key(&["realm", "service", "allowInsecureHttp"], |key, node| {
        match key {
            "realm" => realm = Some(some(&node)?),
            "service" => service = text(&node)?.map(str::to_owned),
            _ => allows_http = node.bool()?,
        }
        Ok(())
    })?;
    let realm = realm.ok_or_else(|| node.unusable("it has no \"realm\""))?;
    let options = UpstreamOptions::new(&realm, service, allows_http);
    options.map_err(|error| node.unusable(format!("{realm:?}: {error}")))
}

/// Empty is none, as in zot.
fn text<'v>(node: &Node<'v>) -> Result<Option<&'v str>, ErrorKind> {
    Ok(Some(node.text("a string")?).filter(|text| !text.is_empty()))
}

fn some(node: &Node<'_>) -> Result<String, ErrorKind> {
    text(node)?.map(str::to_owned).ok_or_else(|| node.unusable("it is empty"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn parse(bearer: &str) -> Result<ForeignOptions, String> {
        let mut config = Config::default();
        let text = format!(r#"{{"http": {{"auth": {{"bearer": {bearer}}}}}}}"#);
        parse::apply(&mut config, text.as_bytes()).map_err(|error| error.to_string())?;
        assert!(config.access.is_controlled());
        Ok(config.access.foreign.expect("set"))
    }

    #[test]
    fn a_file_of_zot_with_tokens_is_taken_over() {
        let options =
            parse(r#"{"realm": "https://auth.myreg.io/auth/token", "service": "myauth", "cert": "/etc/zot/auth.crt"}"#)
                .expect("accepted");
        let distribution = options.distribution.expect("keys");
        assert_eq!(distribution.keys, PathBuf::from("/etc/zot/auth.crt"));
        assert!(distribution.expected.issuer.is_none() && distribution.expected.audiences.is_empty());
        assert!(options.realm.is_some() && options.providers.is_empty());
    }

    #[cfg(feature = "conditions")]
    #[test]
    fn a_file_of_zot_with_workload_identity_is_taken_over() {
        let options = parse(
            r#"{"realm": "https://zot.example/zot/auth/token", "service": "zot.example",
                "oidc": [{
                    "issuer": "https://kubernetes.default.svc.cluster.local",
                    "audiences": ["zot"],
                    "claimMapping": {
                        "variables": [{"name": "ns", "expression": "claims['kubernetes.io'].namespace"}],
                        "validations": [{"expression": "vars.ns == 'flux-system'", "message": "wrong namespace"}],
                        "username": "claims.iss + '/' + claims.sub",
                        "groups": "[vars.ns]"
                    },
                    "certificateAuthorityFile": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
                    "skipIssuerVerification": true
                }],
                "upstreamTokenEndpoint": {"realm": "http://auth:5001/auth", "service": "s", "allowInsecureHttp": true}}"#,
        )
        .expect("accepted");
        let [provider] = &options.providers[..] else { panic!("{:?}", options.providers) };
        assert!(provider.skip_issuer && matches!(provider.authorities, Authorities::File(_)));
        assert_eq!(provider.mapping.expressions.validations.len(), 1);
        assert!(options.upstream.is_some());
    }

    #[test]
    fn what_would_take_nothing_or_too_much_is_refused() {
        let provider = |rest: &str| format!(r#"{{"oidc": [{{"issuer": "https://i", "audiences": ["a"]{rest}}}]}}"#);
        for (text, part) in [
            ("{}", "expected \"cert\" or \"oidc\""),
            (r#"{"realm": "https://a", "service": "s"}"#, "expected \"cert\" or \"oidc\""),
            (r#"{"realm": "https://a", "cert": "c"}"#, "no \"service\""),
            (r#"{"service": "s", "cert": "c"}"#, "no \"realm\""),
            (r#"{"cert": "c"}"#, "no \"realm\""),
            (r#"{"realm": "a\"b", "service": "s", "cert": "c"}"#, "quotation marks"),
            (r#"{"issuer": "i"}"#, "which is missing"),
            (r#"{"awsSecretsManager": {"region": "x"}}"#, "http.auth.bearer.awsSecretsManager"),
            (r#"{"certs": "c"}"#, "http.auth.bearer.cert"),
            (r#"{"oidc": [{"audiences": ["a"]}]}"#, "no \"issuer\""),
            (r#"{"oidc": [{"issuer": "https://i"}]}"#, "no \"audiences\""),
            (r#"{"oidc": [{"issuer": "i", "audiences": ["a"]}]}"#, "oidc[0].issuer"),
            (r#"{"oidc": [{"issuer": "https://i", "audiences": [""]}]}"#, "audiences[0]"),
            (&provider(r#", "certificateAuthority": "a", "certificateAuthorityFile": "b""#), "either"),
            (r#"{"upstreamTokenEndpoint": {"realm": "https://a"}}"#, "which is missing"),
            (r#"{"upstreamTokenEndpoint": {"realm": "http://a"}}"#, "allowInsecureHttp"),
            (r#"{"upstreamTokenEndpoint": {}}"#, "no \"realm\""),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
        #[cfg(feature = "conditions")]
        for (mapping, part) in [
            (r#"{"username": "claims."}"#, "claimMapping.username"),
            (r#"{"username": "req.user"}"#, "\"req\""),
            (r#"{"variables": [{"name": "a"}]}"#, "variables[0]"),
            (r#"{"variables": [{"expression": "1"}]}"#, "no \"name\""),
            (r#"{"validations": [{"message": "m"}]}"#, "no \"expression\""),
        ] {
            let error = parse(&provider(&format!(r#", "claimMapping": {mapping}"#))).expect_err(mapping);
            assert!(error.contains(part) && error.lines().count() == 1, "{part:?} is not in: {error}");
        }
    }
}
