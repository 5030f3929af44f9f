//! `orlop export`: gives a repository out as an OCI layout.
//!
//! In: a store that no process has open. Out: a directory with `oci-layout`, `index.json` and
//! `blobs/`. Content with a file of its own gets a second name there; small content is written.
//! What has become true when `index.json` is replaced: everything it lists is there, and durable.

use std::process::ExitCode;

use orlop_api::protocol::{Repository, Tag};
use orlop_engine::{Engine, Error, Namespace};

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
    log,
    offline::{self, Stop, shown},
};

mod directory;
mod report;
mod walk;

use directory::Directory;
use report::Report;
use walk::{Walk, Wanted};

/// Prints what was given out to standard output; progress goes to standard error. A signal ends it
/// between two objects, and leaves `index.json` as it was. Out: [`Exit::Findings`] if content is
/// missing. Errors: bad configuration; no such repository; the store or the directory fails.
pub async fn run(arguments: &args::Export) -> Result<ExitCode, Failure> {
    let config = Config::load(Some(&arguments.config), arguments.flags())?;
    log::start_beside(&config.log)?;
    let root = &config.root;
    offline::require_root(root)?;
    let (repository, tag) = parse(&arguments.what)?;
    let namespace = Namespace::new(repository.as_str()).expect("a repository's name is one of a namespace");
    let wanted = match tag {
        Some(tag) => Wanted::Tag(tag),
        None if arguments.all => Wanted::All,
        None => Wanted::Tags,
    };
    let failed = |error: &Error| match error {
        Error::NotFound { .. } => {
            let message = format!("the store {} has no {}", root.display(), arguments.what);
            Failure::new(Exit::Configuration, message)
        }
        error => Failure::engine(root, error),
    };
    let engine = Engine::open(root, config.engine.clone()).await.map_err(|error| failed(&error))?;
    let exported = export(&engine, namespace, wanted, arguments).await;
    let closed = engine.close().await.map_err(|error| Failure::engine(root, &error));
    let report = exported.map_err(|halt| match halt {
        Halt::Store(error) => failed(&error),
        Halt::Directory(failure) => failure,
    })?;
    closed?;
    offline::print(&format!("{}\n", shown(&report, arguments.json)));
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { Exit::Findings.into() })
}

/// What ends an export early.
enum Halt {
    Store(Error),
    Directory(Failure),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Store(error)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Directory(failure)
    }
}

async fn export(
    engine: &Engine,
    namespace: Namespace,
    wanted: Wanted,
    arguments: &args::Export,
) -> Result<Report, Halt> {
    // A mistyped name leaves no directory behind.
    engine.require_namespace(&namespace).await?;
    if let Wanted::Tag(tag) = &wanted {
        engine.resolve(&namespace, tag.as_str()).await?;
    }
    let directory = Directory::open(&arguments.directory, arguments.copy)?;
    let stop = Stop::listen();
    let (entries, report) = Walk::new(engine, namespace, &directory, stop.watch()).run(&wanted).await?;
    if !report.stopped {
        directory.list(entries, matches!(wanted, Wanted::Tag(_)))?;
    }
    Ok(report)
}

/// `REPO` or `REPO:TAG`; a repository's name has no colon.
fn parse(what: &str) -> Result<(Repository, Option<Tag>), Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, format!("{what:?}: {error}"));
    let (repository, tag) = match what.split_once(':') {
        Some((repository, tag)) => (repository, Some(Tag::parse(tag).map_err(|error| bad(&error))?)),
        None => (what, None),
    };
    Ok((Repository::parse(repository).map_err(|error| bad(&error))?, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_or_one_of_its_tags() {
        let (repository, tag) = parse("a/b").expect("a repository");
        assert_eq!((repository.as_str(), tag), ("a/b", None));
        let (repository, tag) = parse("a/b:v1.0").expect("a tag");
        assert_eq!((repository.as_str(), tag.as_ref().map(Tag::as_str)), ("a/b", Some("v1.0")));
        for what in ["", "A", "a:", "a:b:c", ":b", "a@sha256:00"] {
            assert_eq!(parse(what).expect_err(what).exit, Exit::Configuration);
        }
    }
}
