//! `orlop check`: reads a whole store that nobody has open.

use std::process::ExitCode;

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
    offline,
};

/// Prints the report to standard output. Out: [`Exit::Findings`] if an invariant is broken.
/// Errors: bad configuration; the store cannot be opened or read.
pub async fn run(arguments: &args::Check) -> Result<ExitCode, Failure> {
    let config = Config::load(arguments.config.as_deref(), arguments.flags())?;
    let root = &config.root;
    offline::require_root(root)?;
    let report = orlop_engine::check::check(root).await.map_err(|error| Failure::engine(root, &error))?;
    offline::print(&format!("{}\n", report.to_string().trim_end()));
    Ok(match report.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => Exit::Findings.into(),
    })
}
