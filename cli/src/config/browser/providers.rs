//! `http.auth.openid`: where browsers log in.

use std::path::PathBuf;

use orlop_auth::{Claims, Outbound, ProviderKind, ProviderOptions};

use super::{OPENID, secrets, unusable};
use crate::{
    config::{error::ErrorKind, tree::Node},
    exit::{Exit, Failure},
};

/// The provider that speaks OAuth 2.0; all others speak OpenID Connect.
const GITHUB: &str = "github";

/// The most providers, scopes and origins.
const ENTRIES_MAX: usize = 64;

/// The longest name of a provider, in bytes: it is a part of a path.
const NAME_BYTES_MAX: usize = orlop_api::protocol::route::PROVIDER_BYTES_MAX;

const KEYS: &[&str] = &[
    "credentialsFile",
    "clientid",
    "clientsecret",
    "name",
    "keypath",
    "issuer",
    "authurl",
    "tokenurl",
    "apiurl",
    "scopes",
    "claimMapping",
];

/// Providers as the file describes them.
#[derive(Default)]
pub struct Providers {
    all: Vec<Entry>,
    origins: Vec<String>,
}

/// One of them.
#[derive(Default)]
struct Entry {
    name: String,
    label: String,
    credentials: Option<PathBuf>,
    client_id: String,
    client_secret: Option<String>,
    issuer: Option<String>,
    authorize: Option<String>,
    token: Option<String>,
    api: Option<String>,
    scopes: Vec<String>,
    claims: Option<Claims>,
}

impl Providers {
    pub fn read(node: &Node<'_>) -> Result<Self, ErrorKind> {
        let mut providers = Providers::default();
        node.each_key(&["providers", "callbackAllowOrigins"], |key, node| {
            match key {
                "providers" => node.each_entry(ENTRIES_MAX, |name, node| {
                    providers.all.push(entry(name, &node)?);
                    Ok(())
                })?,
                _ => providers.origins = texts(&node, "a list of origins")?,
            }
            Ok(())
        })?;
        // A mistake shows when the file is read, and not when somebody wants to log in.
        let options = providers.all.iter().map(|entry| entry.options(entry.client_id.clone(), None)).collect();
        orlop_auth::Providers::check(options, &providers.origins).map_err(|error| node.unusable(error))?;
        Ok(providers)
    }

    pub fn are_there(&self) -> bool {
        !self.all.is_empty()
    }

    /// Reads the files with secrets. Errors: one that cannot be used.
    pub fn open(&self) -> Result<orlop_auth::Providers, Failure> {
        let failed = |error: String| Failure::new(Exit::Configuration, format!("\"{OPENID}\": {error}"));
        let mut read = Vec::new();
        for entry in &self.all {
            let (mut id, mut secret) = (entry.client_id.clone(), entry.client_secret.clone());
            if let Some(path) = &entry.credentials {
                let key = format!("{OPENID}.providers.{}.credentialsFile", entry.name);
                secrets(&key, path, &["clientid", "clientsecret"], |name, text| match name {
                    "clientid" => id = text.to_owned(),
                    _ => secret = Some(text.to_owned()),
                })?;
                if id.is_empty() {
                    return Err(unusable(&key, path, "it has no clientid"));
                }
            }
            read.push(entry.options(id, secret));
        }
        let outbound = Outbound::new(None).map_err(|error| failed(error.to_string()))?;
        orlop_auth::Providers::open(read, &self.origins, outbound).map_err(|error| failed(error.to_string()))
    }

    /// What is right and still not good.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for entry in &self.all {
            let key = format!("{OPENID}.providers.{}", entry.name);
            if entry.client_secret.is_some() {
                notes.push(format!("{key}.clientsecret: a secret is better kept in a credentialsFile"));
            }
            let addresses = [&entry.issuer, &entry.authorize, &entry.token, &entry.api];
            if addresses.into_iter().flatten().any(|address| address.starts_with("http://")) {
                notes.push(format!("{key}: without https whoever is on the way can log in as anybody"));
            }
        }
        notes
    }
}

impl Entry {
    fn options(&self, client_id: String, client_secret: Option<String>) -> ProviderOptions {
        let kind = match &self.issuer {
            Some(issuer) => {
                ProviderKind::OpenId { issuer: issuer.clone(), claims: self.claims.clone().unwrap_or_default() }
            }
            None => ProviderKind::GitHub {
                authorize: self.authorize.clone(),
                token: self.token.clone(),
                api: self.api.clone(),
            },
        };
        let (name, label, scopes) = (self.name.clone(), self.label.clone(), self.scopes.clone());
        ProviderOptions { name, label, client_id, client_secret, scopes, kind }
    }
}

fn entry(name: &str, node: &Node<'_>) -> Result<Entry, ErrorKind> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        let reason = format!("{name:?} is no name: expected 1 to {NAME_BYTES_MAX} letters, digits, '-' or '_'");
        return Err(node.unusable(reason));
    }
    let is_github = name == GITHUB;
    let mut entry = Entry { name: name.to_owned(), ..Entry::default() };
    node.each_key(KEYS, |key, node| {
        let only = |is_right: bool, who: &str| match is_right {
            true => Ok(()),
            false => Err(node.unusable(format!("it means something for {who} only"))),
        };
        match key {
            "credentialsFile" => entry.credentials = Some(PathBuf::from(text(&node)?)),
            "clientid" => entry.client_id = text(&node)?,
            // Empty is none, as in zot.
            "clientsecret" => entry.client_secret = Some(node.text("a string")?.to_owned()).filter(|s| !s.is_empty()),
            "name" => entry.label = node.text("a string")?.to_owned(),
            "keypath" if node.text("a path as a string")?.is_empty() => {}
            "keypath" => {
                return Err(ErrorKind::Unsupported { key: node.path.clone(), feature: "clients with a private key" });
            }
            "issuer" => {
                only(!is_github, "providers of OpenID Connect")?;
                entry.issuer = Some(text(&node)?);
            }
            "authurl" => {
                only(is_github, "github")?;
                entry.authorize = Some(text(&node)?);
            }
            "tokenurl" => {
                only(is_github, "github")?;
                entry.token = Some(text(&node)?);
            }
            "apiurl" => {
                only(is_github, "github")?;
                entry.api = Some(text(&node)?);
            }
            "scopes" => entry.scopes = texts(&node, "a list of scopes")?,
            _ => {
                only(!is_github, "providers of OpenID Connect")?;
                entry.claims = Some(claims(&node)?);
            }
        }
        Ok(())
    })?;
    match () {
        () if entry.client_id.is_empty() && entry.credentials.is_none() => {
            Err(node.unusable("it needs a clientid, or a credentialsFile with one"))
        }
        () if !is_github && entry.issuer.is_none() => Err(node.unusable("it needs an issuer")),
        () if entry.scopes.is_empty() => Err(node.unusable("it needs scopes, such as \"email\"")),
        () if entry.authorize.is_some() != entry.token.is_some() => {
            Err(node.unusable("authurl and tokenurl are of one server; it needs both or neither"))
        }
        () => Ok(entry),
    }
}

fn claims(node: &Node<'_>) -> Result<Claims, ErrorKind> {
    let mut claims = Claims::default();
    node.each_key(&["username", "groups"], |key, node| {
        let claim = text(&node)?;
        match key {
            "username" => claims.username = claim,
            _ => claims.groups = claim,
        }
        Ok(())
    })?;
    Ok(claims)
}

fn text(node: &Node<'_>) -> Result<String, ErrorKind> {
    match node.text("a string")? {
        "" => Err(node.unusable("it is empty")),
        text => Ok(text.to_owned()),
    }
}

fn texts(node: &Node<'_>, expected: &'static str) -> Result<Vec<String>, ErrorKind> {
    node.each(expected, ENTRIES_MAX, |node| text(&node))
}
