//! Walks a configuration document and applies every key.
//!
//! In: the tree of a file. Out: a [`Config`] with the file's values over the defaults. What has
//! become true: every key in the file was known, appeared once, and took effect, or was asked to be ignored and is
//! named in the notes.

use super::{
    Config,
    error::ErrorKind,
    keys::{self, Found},
    limits,
    value::{Problem, Value},
};

/// Applies a text in JSON to `config`. On an error `config` is partly changed: drop it.
#[cfg(test)]
pub fn apply(config: &mut Config, text: &[u8]) -> Result<(), ErrorKind> {
    apply_document(config, &super::document::read(std::path::Path::new("c.json"), text)?)
}

/// Applies the document to `config`. On an error `config` is partly changed: drop it.
pub fn apply_document(config: &mut Config, document: &Value) -> Result<(), ErrorKind> {
    section(config, "", document)?;
    config.validate().map_err(ErrorKind::Inconsistent)?;
    config.settle();
    config.note();
    Ok(())
}

/// Applies one object. The depth of the recursion is that of the known keys, because an unknown
/// section ends it.
fn section(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let entries = value.object().map_err(|problem| {
        let key = if path.is_empty() { "the document" } else { path }.to_owned();
        ErrorKind::Value { key, problem }
    })?;
    for (index, (name, value)) in entries.iter().enumerate() {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // Quadratic only in the number of known keys: everything before was known and unequal.
        if entries[..index].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(ErrorKind::Duplicate { key });
        }
        // A dot inside a name must not pass for a level of its own.
        let found = if name.contains('.') { None } else { keys::find(&key) };
        match found {
            Some(Found::Section) => section(config, &key, value)?,
            Some(Found::Key(known)) => {
                (known.set)(config, value).or_else(|problem| unless_ignored(config, key, problem))?;
            }
            Some(Found::Tree(tree)) => {
                (tree.set)(config, &key, value).or_else(|error| unless_whole(config, &key, error))?;
            }
            Some(Found::Limit(limit)) => {
                limits::set(config, limit, value).map_err(|problem| ErrorKind::Value { key, problem })?;
            }
            Some(Found::Unsupported(feature)) if !config.ignores_unsupported => {
                return Err(ErrorKind::Unsupported { key, feature });
            }
            Some(Found::Unsupported(feature)) if keys::is_protective(&key) => {
                return Err(ErrorKind::Protective { key, feature });
            }
            Some(Found::Unsupported(feature)) => {
                config.notes.push(format!("{key:?} is ignored: it is not supported by this version ({feature})"));
            }
            None => {
                let nearest = keys::nearest(&key);
                return Err(ErrorKind::Unknown { key, nearest });
            }
        }
    }
    Ok(())
}

/// A value that asks for what is not there is a mistake like any other, except if such are to be ignored.
fn unless_ignored(config: &mut Config, key: String, problem: Problem) -> Result<(), ErrorKind> {
    match problem {
        Problem::Unsupported(reason) if config.ignores_unsupported && !keys::is_protective(&key) => {
            config.notes.push(format!("{key:?} is ignored: it is not supported by this version ({reason})"));
            Ok(())
        }
        problem => Err(ErrorKind::Value { key, problem }),
    }
}

/// A document that is not supported as a whole, at `path`, can be ignored like any key; a part of one cannot, since
/// the rest of it may have taken effect. Says why it was not if that was asked for.
fn unless_whole(config: &mut Config, path: &str, error: ErrorKind) -> Result<(), ErrorKind> {
    match error {
        ErrorKind::Unsupported { key, feature } if config.ignores_unsupported && keys::is_protective(&key) => {
            Err(ErrorKind::Protective { key, feature })
        }
        ErrorKind::Unsupported { key, feature } if config.ignores_unsupported && key == path => {
            config.notes.push(format!("{key:?} is ignored: it is not supported by this version ({feature})"));
            Ok(())
        }
        error => Err(error),
    }
}
