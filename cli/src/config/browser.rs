//! `http.auth.openid`, `http.auth.sessionKeysFile` and `http.auth.sessionDriver`, with zot's keys and meaning: how
//! browsers log in, and what becomes of their sessions.
//!
//! In: the values of the keys. Out: what the authorizer takes. Files with secrets are named here, and read when the
//! server starts.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use orlop_auth::{Sealer, Sessions};

use super::{
    Config,
    error::ErrorKind,
    tree::Node,
    value::{Problem, Value},
};
use crate::exit::{Exit, Failure};

#[cfg(feature = "openid")]
mod providers;

/// The key of the providers.
pub const OPENID: &str = "http.auth.openid";

/// The key of the file with the keys of sessions.
pub const SESSION_KEYS: &str = "http.auth.sessionKeysFile";

/// The key of where sessions are kept.
pub const SESSION_DRIVER: &str = "http.auth.sessionDriver";

/// The longest file with secrets, in bytes.
const SECRETS_BYTES_MAX: u64 = 64 << 10;

/// What the file says about browsers.
#[derive(Default)]
pub struct Browser {
    session_keys: Option<PathBuf>,
    #[cfg(feature = "openid")]
    providers: providers::Providers,
}

impl Browser {
    /// Whether anybody can log in elsewhere.
    pub fn has_providers(&self) -> bool {
        #[cfg(feature = "openid")]
        return self.providers.are_there();
        #[cfg(not(feature = "openid"))]
        false
    }

    /// Reads the files with secrets. Errors: one that cannot be used.
    pub fn open(&self, options: &mut orlop_auth::Options) -> Result<(), Failure> {
        if let Some(path) = &self.session_keys {
            options.sessions = Some(Arc::new(sessions(path)?));
        }
        #[cfg(feature = "openid")]
        if self.providers.are_there() {
            options.providers = Some(self.providers.open()?);
        }
        Ok(())
    }

    /// What the operator should know of keys that are right each by itself.
    pub fn notes(&self, has_users: bool) -> Vec<String> {
        let mut notes = Vec::new();
        if self.session_keys.is_some() && !has_users {
            notes.push(format!("{SESSION_KEYS} seals nothing: there are no logins without authentication"));
        }
        #[cfg(feature = "openid")]
        notes.extend(self.providers.notes());
        notes
    }
}

pub fn set_keys(config: &mut Config, path: PathBuf) {
    config.access.browser.session_keys = Some(path);
}

/// Sets the providers.
#[cfg(feature = "openid")]
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    config.access.browser.providers = providers::Providers::read(&Node::new(path, value))?;
    Ok(())
}

#[cfg(not(feature = "openid"))]
pub fn set(_: &mut Config, path: &str, _: &Value) -> Result<(), ErrorKind> {
    Err(ErrorKind::Unsupported { key: path.to_owned(), feature: "a build without browser login" })
}

/// Sessions are sealed into cookies: there is nothing to keep them in.
pub fn set_driver(_: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let node = Node::new(path, value);
    let entries = value.object().map_err(|problem| ErrorKind::Value { key: path.to_owned(), problem })?;
    let name = entries.iter().find(|(key, _)| key.eq_ignore_ascii_case("name"));
    match name.map(|(_, name)| name.text("\"local\"")).transpose() {
        // The other keys are redis's own.
        Ok(Some("redis")) => Err(ErrorKind::Unsupported { key: path.to_owned(), feature: "sessions in redis" }),
        _ => node.each_key(&["name"], |_, node| match node.text("\"local\"")? {
            "local" => Ok(()),
            other => Err(node.unusable(format!("{other:?} is not known, expected \"local\""))),
        }),
    }
}

fn sessions(path: &Path) -> Result<Sessions, Failure> {
    let (mut key, mut more) = (String::new(), String::new());
    secrets(SESSION_KEYS, path, &["hashKey", "encryptKey"], |name, text| match name {
        "hashKey" => key = text.to_owned(),
        _ => more = text.to_owned(),
    })?;
    let sealer = Sealer::of(&key, &more).map_err(|error| unusable(SESSION_KEYS, path, &format!("hashKey: {error}")))?;
    Ok(Sessions::with(sealer))
}

/// Reads a file with secrets: a JSON object of texts. Errors name the file, and show nothing of what is in it.
fn secrets(
    key: &str,
    path: &Path,
    known: &'static [&'static str],
    mut take: impl FnMut(&str, &str),
) -> Result<(), Failure> {
    let mut text = Vec::new();
    let file = File::open(path).and_then(|file| file.take(SECRETS_BYTES_MAX + 1).read_to_end(&mut text));
    file.map_err(|error| unusable(key, path, &format!("it cannot be read: {error}")))?;
    if text.len() as u64 > SECRETS_BYTES_MAX {
        return Err(unusable(key, path, &format!("it is longer than {SECRETS_BYTES_MAX} bytes")));
    }
    let value = Value::parse(&text).map_err(|error| {
        // What serde_json says of what it found may be a part of a secret.
        unusable(key, path, &format!("it is no JSON at line {}", error.line()))
    })?;
    Node::new("", &value)
        .each_key(known, |name, node| {
            take(name, node.text("a string")?);
            Ok(())
        })
        .map_err(|error| match error {
            ErrorKind::Value { key: name, problem: Problem::Type { expected, found } } => {
                unusable(key, path, &format!("{}: expected {expected}, found {found}", name.trim_start_matches('.')))
            }
            _ => unusable(key, path, &format!("expected an object with {}, each once", known.join(" and "))),
        })
}

fn unusable(key: &str, path: &Path, reason: &str) -> Failure {
    Failure::new(Exit::Configuration, format!("\"{key}\": {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests;
