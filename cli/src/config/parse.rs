//! Walks a configuration document and applies every key.
//!
//! In: the bytes of a file. Out: a [`Config`] with the file's values over the defaults. What has
//! become true: every key in the file was known, appeared once, and took effect.

use super::{
    Config,
    error::ErrorKind,
    keys::{self, Found},
    limits,
    value::Value,
};

/// Applies the document to `config`. On an error `config` is partly changed: drop it.
pub fn apply(config: &mut Config, text: &[u8]) -> Result<(), ErrorKind> {
    let document = Value::parse(text).map_err(ErrorKind::Syntax)?;
    section(config, "", &document)?;
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
                (known.set)(config, value).map_err(|problem| ErrorKind::Value { key, problem })?;
            }
            Some(Found::Tree(tree)) => (tree.set)(config, &key, value)?,
            Some(Found::Limit(limit)) => {
                limits::set(config, limit, value).map_err(|problem| ErrorKind::Value { key, problem })?;
            }
            Some(Found::Unsupported(feature)) => return Err(ErrorKind::Unsupported { key, feature }),
            None => {
                let nearest = keys::nearest(&key);
                return Err(ErrorKind::Unknown { key, nearest });
            }
        }
    }
    Ok(())
}
