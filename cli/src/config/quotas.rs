//! `storage.quotas`, a key of our own: how many bytes repositories may have.

use orlop_engine::{Namespace, QUOTAS_MAX, Quota};

use super::{Config, error::ErrorKind, tree::Node, value::Value};

pub const KEY: &str = "storage.quotas";

/// Sets the quotas.
pub fn set(config: &mut Config, path: &str, value: &Value) -> Result<(), ErrorKind> {
    let list = Node::new(path, value);
    let quotas = list.each("a list of quotas", QUOTAS_MAX, quota)?;
    for (index, quota) in quotas.iter().enumerate() {
        if quotas[..index].iter().any(|earlier| earlier.prefix == quota.prefix) {
            return Err(list.unusable(format!("the prefix {:?} has two quotas; keep one of them", quota.prefix)));
        }
    }
    config.engine.quotas = quotas;
    Ok(())
}

fn quota(node: Node<'_>) -> Result<Quota, ErrorKind> {
    let (mut prefix, mut bytes) = (None, None);
    node.each_key(&["prefix", "bytes"], |key, node| {
        match key {
            "prefix" => prefix = Some(repository(&node)?),
            _ => bytes = Some(node.whole("a whole number of bytes")?),
        }
        Ok(())
    })?;
    match (prefix, bytes) {
        (Some(prefix), Some(bytes)) => Ok(Quota { prefix, bytes }),
        _ => Err(node.unusable("a quota needs \"prefix\" (\"\" is for all repositories) and \"bytes\"")),
    }
}

/// The empty prefix, or a repository name without slashes at its ends.
fn repository(node: &Node<'_>) -> Result<String, ErrorKind> {
    let text = node.text("the beginning of repository names as a string")?;
    let has_empty_part = !text.is_empty() && text.split('/').any(str::is_empty);
    if has_empty_part || (!text.is_empty() && Namespace::new(text).is_err()) {
        return Err(
            node.unusable(format!("{text:?} is not the beginning of repository names, expected such as \"team/app\""))
        );
    }
    Ok(text.to_owned())
}
