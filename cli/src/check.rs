//! `orlop check`: reads a whole store that nobody has open.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
};

/// Prints the report to standard output. Out: [`Exit::Findings`] if an invariant is broken.
/// Errors: bad configuration; the store cannot be opened or read.
pub async fn run(arguments: &args::Check) -> Result<ExitCode, Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    let root = &config.root;
    // Opening a store makes the directory; a check of a mistyped path must not succeed like that.
    if let Err(error) = std::fs::read_dir(root) {
        return Err(Failure::new(Exit::Root, format!("cannot read the root {}: {error}", root.display())));
    }
    let report = orlop_engine::check::check(root).await.map_err(|error| Failure::engine(root, &error))?;
    // The exit code is the answer; a reader that went away (`| head`) does not change it.
    let _ = writeln!(io::stdout(), "{}", report.to_string().trim_end());
    Ok(match report.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => Exit::Findings.into(),
    })
}
