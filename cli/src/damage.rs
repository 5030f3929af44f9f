//! Damaged blobs, for people and for programs.
//!
//! In: the engine's list, and who is affected. Out: the rows of a table, or a JSON document. To push the
//! images that are named here again heals them.

use std::fmt::Write;

use orlop_engine::{
    Engine, Result,
    damage::{Affected, Damaged},
};
use serde_json::{Value, json};

/// Damaged blobs that are listed at most; the number of all is beside them.
const LISTED_MAX: usize = 1_000;

/// A damaged blob and whom it hurts.
pub struct Listed {
    damaged: Damaged,
    affected: Vec<Affected>,
}

/// The first damaged blobs in the order of their digests. Errors: those of reading.
pub async fn list(engine: &Engine) -> Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for damaged in engine.damaged(None, LISTED_MAX).await? {
        let affected = engine.affected(&damaged.digest).await?;
        listed.push(Listed { damaged, affected });
    }
    Ok(listed)
}

/// One object for each blob.
pub fn document(listed: &[Listed]) -> Value {
    let repository = |affected: &Affected| {
        json!({
            "repository": affected.namespace.as_str(), "tags": affected.names, "more_tags": affected.has_more,
        })
    };
    let blob = |Listed { damaged, affected }: &Listed| {
        json!({
            "digest": damaged.digest.to_string(),
            "size": damaged.size,
            "flaw": damaged.flaw.as_str(),
            "offset": damaged.offset,
            "found_unix_ms": damaged.found.unix_ms,
            "found_by": damaged.finder.as_str(),
            "quarantined": damaged.quarantined,
            "affected": affected.iter().map(repository).collect::<Vec<_>>(),
        })
    };
    listed.iter().map(blob).collect()
}

/// A row for each tag that cannot be pulled, as in zot; repositories without one, and blobs without a
/// repository, have a row with a dash.
pub fn table(listed: &[Listed]) -> String {
    let mut text = String::new();
    if listed.is_empty() {
        return text;
    }
    let mut row = |repository: &str, tag: &str, blob: &str, error: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{repository:<32}  {tag:<24}  {blob:<71}  {error}");
    };
    row("REPOSITORY", "TAG", "AFFECTED BLOB", "ERROR");
    for Listed { damaged, affected } in listed {
        let (blob, error) = (damaged.digest.to_string(), error(damaged));
        if affected.is_empty() {
            row("-", "-", &blob, &error);
        }
        for Affected { namespace, names, has_more } in affected {
            for name in names {
                row(namespace.as_str(), name, &blob, &error);
            }
            if names.is_empty() || *has_more {
                row(namespace.as_str(), if *has_more { "..." } else { "-" }, &blob, &error);
            }
        }
    }
    text
}

fn error(damaged: &Damaged) -> String {
    let mut error = format!("{} at byte {} of {}", damaged.flaw.as_str(), damaged.offset, damaged.size);
    if let Some(file) = &damaged.quarantined {
        let _ = write!(error, ", kept as quarantine/{file}");
    }
    error
}
