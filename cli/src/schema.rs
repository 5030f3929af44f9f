//! `orlop schema`: what a configuration file may have, as a JSON Schema.

use std::io::{self, Write};

use crate::{
    config::schema,
    exit::{Exit, Failure},
};

/// Prints the schema. Errors: standard output takes no more.
pub fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&schema::document()).expect("keys are strings");
    writeln!(io::stdout().lock(), "{text}")
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot print the schema: {error}")))
}
