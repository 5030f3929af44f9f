//! `orlop import`: takes over what another registry stores, in place.
//!
//! ```text
//!   source        repositories, manifests and tags as files show them: zot, distribution, layout
//!     v times       when each counts as pushed
//!     v repository  images after their blobs, indexes after their manifests
//!     v target      files linked into the store, manifests committed as by a push
//!     v report      what came in and what could not, as a table or JSON
//! ```

use std::process::ExitCode;

use orlop_api::protocol::Repository;
use orlop_engine::{Engine, Moment};

use crate::{
    args,
    config::Config,
    exit::{Exit, Failure},
    log,
    offline::{self, Stop, shown},
    open_files,
};

mod distribution;
mod layout;
mod report;
mod repository;
mod source;
mod target;
mod times;
mod transfer;
mod tree;
mod zot;

pub use source::Kind;

use report::Report;
use source::Source;
use target::Target;
use times::Ages;
use transfer::{Transfer, Wishes};

/// Prints what was taken over to standard output; progress goes to standard error. A signal ends
/// it between two objects. Out: [`Exit::Findings`] if something could not be taken over.
/// Errors: bad configuration; the source cannot be read; the store cannot be opened or written.
pub async fn run(arguments: &args::Import) -> Result<ExitCode, Failure> {
    let config = Config::load(Some(&arguments.config), arguments.flags())?;
    log::start_beside(&config.log)?;
    open_files::raise_limit();
    let name = arguments.repository.as_deref().map(Repository::parse).transpose();
    let name = name.map_err(|error| Failure::new(Exit::Configuration, format!("--repository: {error}")))?;
    let source = Source::open(&arguments.source, arguments.kind, name)?;
    tracing::info!(kind = ?source.kind(), source = %arguments.source.display(), "importing");
    let root = &config.root;
    let inline_bytes_max = config.engine.inline_bytes_max;
    let engine = match arguments.dry_run {
        true => None,
        false => {
            let opened = Engine::open(root, config.engine.clone()).await;
            Some(opened.map_err(|error| Failure::engine(root, &error))?)
        }
    };
    let started = engine.as_ref().map_or(Moment::default(), Engine::clock);
    let target = Target::new(engine.clone(), root.clone(), inline_bytes_max, arguments.copy);
    let wishes = Wishes {
        ages: if arguments.file_ages { Ages::FromFiles } else { Ages::FromImport },
        overwrite_tags: arguments.overwrite_tags,
        sparse_manifests: config.policy.sparse_manifests,
    };
    let stop = Stop::listen();
    let imported = Transfer::new(source, target, wishes, started, stop.sender()).run().await;
    let closed = match engine {
        Some(engine) => engine.close().await.map_err(|error| Failure::engine(root, &error)),
        None => Ok(()),
    };
    let report = Report { dry_run: arguments.dry_run, ..imported? };
    closed?;
    offline::print(&format!("{}\n", shown(&report, arguments.json)));
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { Exit::Findings.into() })
}
