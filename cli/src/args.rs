//! The command line: what `orlop` accepts, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    config::{Address, Flags},
    exit,
};

/// Orlop stores container images and other OCI artifacts and serves them to registry clients.
#[derive(Debug, Parser)]
#[command(name = "orlop", version, about, after_help = exit::HELP, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a store to registry clients until SIGTERM, SIGINT or SIGHUP.
    #[command(after_help = exit::HELP)]
    Serve(Serve),
    /// Read a whole store that no process has open, and report every broken invariant.
    #[command(after_help = exit::HELP)]
    Check(Check),
    /// Remove from a store that no process has open what nothing needs any more.
    #[command(after_help = exit::HELP)]
    Gc(Gc),
    /// Make a lost index again from the journal and the files of a store that no process has open.
    #[command(after_help = exit::HELP)]
    Rebuild(Rebuild),
    /// Say whether a configuration file is accepted, without starting anything.
    #[command(after_help = exit::HELP)]
    Verify(Verify),
    /// Say for each tag of a repository which retention rule keeps it or why it would be deleted.
    #[command(after_help = exit::HELP)]
    Retention(Retention),
    /// Say how many bytes each repository has, and how much of each quota is used.
    #[command(after_help = exit::HELP)]
    Usage(Usage),
    /// Load a registry, any registry, and report throughput and latency.
    #[command(after_help = exit::HELP)]
    Bench(Box<bench::Flags>),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file in JSON, with zot's key names. Without it: ./orlop-data served on
    /// 127.0.0.1:8080.
    pub config: Option<PathBuf>,

    /// Directory of the store; made if it is not there. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one. Overrides http.address and http.port.
    #[arg(long, value_name = "HOST:PORT")]
    pub addr: Option<Address>,

    /// Print how to push a first image, also when standard error is not a terminal.
    #[arg(long)]
    pub hint: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file that names the store.
    pub config: Option<PathBuf>,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Gc {
    /// Configuration file that names the store.
    pub config: Option<PathBuf>,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Print what would be removed, and why, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Do not wait for storage.gcDelay. Pushes and mounts of the last storage.gcLease of serving
    /// are still respected.
    #[arg(long)]
    pub now: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Rebuild {
    /// Configuration file that names the store.
    pub config: Option<PathBuf>,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Also if there is an index: it is moved aside, to index.old-N, and never removed.
    #[arg(long)]
    pub replace: bool,

    /// Also if the journal has no base; then only what changed since it was begun comes back.
    #[arg(long)]
    pub partial: bool,

    /// Hash the bytes of every blob, which reads the whole store. Without it, the lengths of files
    /// are compared.
    #[arg(long)]
    pub verify: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Configuration file in JSON, with zot's key names.
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct Retention {
    /// Configuration file with the policies (storage.retention); it names the store, too.
    pub config: PathBuf,

    /// The repository whose tags are explained. No process may have the store open.
    #[arg(long, value_name = "REPO")]
    pub explain: String,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Usage {
    /// Configuration file that names the store.
    pub config: Option<PathBuf>,

    /// Directory of the store. Overrides storage.rootDirectory. No process may have it open.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Serve {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: self.addr.clone() }
    }
}

impl Gc {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: None }
    }
}

impl Rebuild {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: None }
    }
}

impl Retention {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: None }
    }
}

impl Usage {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: None }
    }
}

impl Check {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: None }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_takes_a_file_and_flags() {
        let arguments =
            Arguments::try_parse_from(["orlop", "serve", "c.json", "--root", "/r", "--addr", "[::1]:0", "--hint"]);
        let Ok(Arguments { command: Command::Serve(serve) }) = arguments else {
            panic!("not parsed as serve: {arguments:?}");
        };
        assert_eq!(serve.config, Some("c.json".into()));
        assert_eq!(serve.root, Some("/r".into()));
        assert_eq!(serve.addr, Some(Address { host: "::1".into(), port: 0 }));
        assert!(serve.hint);
    }

    #[test]
    fn a_bad_address_is_refused() {
        for addr in ["8080", "host:", "host:65536", ":8080", "::1:8080", "host:http", ""] {
            let parsed = Arguments::try_parse_from(["orlop", "serve", "--addr", addr]);
            assert!(parsed.is_err(), "{addr:?} was accepted");
        }
    }
}
