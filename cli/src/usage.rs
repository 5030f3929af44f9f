//! `orlop usage CONFIG`: how many bytes repositories have, and how much of the quotas is used.
//!
//! In: a store that no process has open. Out: a table or JSON. Bytes are logical: a blob counts once
//! in each repository that has it, although it is stored once.

use orlop_engine::{NamespaceSize, QuotaUse, Survey};
use serde_json::{Value, json};

use crate::{args, config::Config, exit::Failure, offline};

/// Prints to standard output. Errors: bad configuration; the store cannot be opened or read.
pub fn run(arguments: &args::Usage) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    let root = &config.root;
    offline::require_root(root)?;
    let read = || {
        let survey = Survey::open(root)?;
        Ok((survey.quotas()?, survey.sizes()?))
    };
    let (quotas, sizes) = read().map_err(|error| Failure::engine(root, &error))?;
    let text = match arguments.json {
        true => format!("{:#}\n", document(&quotas, &sizes)),
        false => table(&quotas, &sizes),
    };
    offline::print(&text);
    Ok(())
}

fn document(quotas: &[QuotaUse], sizes: &[NamespaceSize]) -> Value {
    let quota = |quota: &QuotaUse| json!({"prefix": quota.prefix, "usedBytes": quota.used_bytes, "limitBytes": quota.max_bytes});
    let size = |size: &NamespaceSize| json!({"repository": size.namespace.as_str(), "bytes": size.bytes});
    let quotas: Vec<Value> = quotas.iter().map(quota).collect();
    let sizes: Vec<Value> = sizes.iter().map(size).collect();
    json!({"quotas": quotas, "repositories": sizes})
}

fn table(quotas: &[QuotaUse], sizes: &[NamespaceSize]) -> String {
    let mut text = String::new();
    if !quotas.is_empty() {
        text.push_str(&format!("{:>20}  {:>20}  QUOTA\n", "USED BYTES", "LIMIT BYTES"));
    }
    for QuotaUse { prefix, used_bytes, max_bytes } in quotas {
        let prefix = if prefix.is_empty() { "(all repositories)" } else { prefix };
        text.push_str(&format!("{used_bytes:>20}  {max_bytes:>20}  {prefix}\n"));
    }
    text.push_str(&format!("{:>20}  REPOSITORY\n", "BYTES"));
    for NamespaceSize { namespace, bytes } in sizes {
        text.push_str(&format!("{bytes:>20}  {namespace}\n"));
    }
    text
}
