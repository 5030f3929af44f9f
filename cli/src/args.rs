//! The command line: what `orlop` accepts, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    config::{Address, Flags},
    exit, import,
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
    /// Serve a store to registry clients until SIGTERM or SIGINT.
    #[command(after_help = exit::HELP)]
    Serve(Serve),
    /// Read a whole store that no process has open, and report every broken invariant.
    #[command(after_help = exit::HELP)]
    Check(Check),
    /// Remove from a store that no process has open what nothing needs any more.
    #[command(after_help = exit::HELP)]
    Gc(Gc),
    /// Read a whole store that no process has open, and set aside and list every damaged blob.
    #[command(after_help = exit::HELP)]
    Scrub(Scrub),
    /// Make a lost index again from the journal and the files of a store that no process has open.
    #[command(after_help = exit::HELP)]
    Rebuild(Rebuild),
    /// Say whether a configuration file is accepted, without starting anything.
    #[command(after_help = exit::HELP)]
    Verify(Verify),
    /// Print the JSON Schema of configuration files, for editors and checks.
    #[command(after_help = exit::HELP)]
    Schema,
    /// Say for each tag of a repository which retention rule keeps it or why it would be deleted.
    #[command(after_help = exit::HELP)]
    Retention(Retention),
    /// Say how many bytes each repository has, and how much of each quota is used.
    #[command(after_help = exit::HELP)]
    Usage(Usage),
    /// Take over what zot, distribution or an OCI layout stores, by hard links, into a store that no
    /// process has open.
    #[command(after_help = exit::HELP)]
    Import(Box<Import>),
    /// Give a repository of a store that no process has open as an OCI layout, by hard links.
    #[command(after_help = exit::HELP)]
    Export(Export),
    /// Load a registry, any registry, and report throughput and latency.
    #[command(after_help = exit::HELP)]
    Bench(Box<bench::Flags>),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file in JSON, TOML or YAML, with zot's key names. Without it: ./orlop-data
    /// served on 127.0.0.1:8080. It is read again when it changes, and at SIGHUP.
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

    /// Take no notice of zot's keys for features that are not there, except for a line of the log
    /// for each. What would let somebody do more than the file says stays an error.
    #[arg(long)]
    pub ignore_unsupported: bool,
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
pub struct Scrub {
    /// Configuration file that names the store.
    pub config: Option<PathBuf>,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Read at most so many bytes in a second; without it, as many as the machine gives.
    #[arg(long, value_name = "BYTES")]
    pub rate: Option<u64>,

    /// Go on where an interrupted pass stopped, instead of from the start.
    #[arg(long)]
    pub resume: bool,

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
    /// Configuration file in JSON, TOML or YAML, with zot's key names.
    pub config: PathBuf,

    /// As for `serve`: zot's keys for features that are not there are listed, and no error.
    #[arg(long)]
    pub ignore_unsupported: bool,
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

#[derive(Debug, Args)]
pub struct Import {
    /// Configuration file that names the store, which is made if it is not there. It must be on the
    /// same file system as ROOT.
    pub config: PathBuf,

    /// What to take over: zot's storage.rootDirectory, distribution's rootdirectory, or an OCI
    /// layout. Its registry should be stopped, or import once more after it is. Nothing in it is
    /// changed.
    #[arg(value_name = "ROOT")]
    pub source: PathBuf,

    /// What ROOT is; without it, what its files show.
    #[arg(long = "as", value_name = "KIND")]
    pub kind: Option<import::Kind>,

    /// The repository that a single OCI layout becomes.
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Say what there is and which parts are missing, without opening the store. Blobs are not
    /// read, so damage in them is not found.
    #[arg(long)]
    pub dry_run: bool,

    /// Copy files that cannot be hard-linked.
    #[arg(long)]
    pub copy: bool,

    /// Move tags that the store has with another manifest, also where the store's were pushed
    /// later.
    #[arg(long)]
    pub overwrite_tags: bool,

    /// Count ages for retention from the times of the files, not from the import. Wrong file times
    /// or a wrong clock can then expire tags at once.
    #[arg(long)]
    pub file_ages: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// Configuration file that names the store.
    pub config: PathBuf,

    /// A repository, or one of its tags.
    #[arg(value_name = "REPO[:TAG]")]
    pub what: String,

    /// Directory of the layout: new, empty, or a layout that is brought up to date. On the same
    /// file system as the store. Its blobs are the store's own files: do not write to them.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Directory of the store. Overrides storage.rootDirectory.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Manifests without a tag as well.
    #[arg(long)]
    pub all: bool,

    /// Copy blobs that cannot be hard-linked.
    #[arg(long)]
    pub copy: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Serve {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), address: self.addr.clone(), ignore_unsupported: self.ignore_unsupported }
    }
}

impl Gc {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Scrub {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Rebuild {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Retention {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Import {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Export {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Usage {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
    }
}

impl Check {
    /// What the flags say about the configuration.
    pub fn flags(&self) -> Flags {
        Flags { root: self.root.clone(), ..Flags::default() }
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
