//! The configuration: defaults, over them a file, over that the flags.
//!
//! In: a file with zot's key names in JSON, TOML or YAML and the flags of the command line. Out: a [`Config`]
//! whose every value was checked. A key that would have no effect is an error, never ignored unless that was asked for.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use orlop_api::{
    Policy,
    front::{ForwardedBy, Front},
    limits::Limits,
};
use orlop_gc::retention::Retention;
use tracing::level_filters::LevelFilter;

#[cfg(feature = "auth")]
pub mod access;
mod address;
#[cfg(feature = "bearer")]
mod bearer;
#[cfg(feature = "auth")]
mod browser;
pub mod changes;
mod collection;
pub mod described;
mod document;
mod duration;
mod error;
mod front;
mod keys;
#[cfg(feature = "ldap")]
mod ldap;
mod limits;
mod memory;
#[cfg(feature = "auth")]
mod mtls;
mod nearest;
mod parse;
mod quotas;
pub mod retention;
pub mod schema;
mod scrub;
#[cfg(test)]
mod tests;
#[cfg(feature = "telemetry")]
mod traces;
mod tree;
pub mod value;
#[cfg(all(test, feature = "auth"))]
mod zot;

pub use address::Address;
pub use collection::Collection;
pub use error::{Error, ErrorKind};
pub use scrub::Scrub;

/// Largest configuration file, in bytes. Most have a few hundred, 10,000 rules of access control have two million;
/// this stops a wrong path, such as a disk image, from being read into memory.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Everything that can be set from outside.
pub struct Config {
    /// Directory of the store. A relative path starts at the working directory.
    pub root: PathBuf,
    pub engine: orlop_engine::Options,
    pub address: Address,
    pub tls: Tls,
    pub limits: Limits,
    pub policy: Policy,
    /// What stands before the routes.
    pub front: Front,
    pub collection: Collection,
    pub retention: Retention,
    pub scrub: Scrub,
    #[cfg(feature = "auth")]
    pub access: access::Access,
    pub log: Log,
    /// Where traces of requests go; nowhere if there is none.
    #[cfg(feature = "telemetry")]
    pub traces: Option<orlop_telemetry::Options>,
    /// Pages of which origins may read answers, as it is written; checked.
    pub allow_origin: Option<String>,
    /// What the operator should know about the file, although it is accepted.
    pub notes: Vec<String>,
    /// The file as it was read; an empty object without one.
    pub document: value::Value,
    /// Limits that the file has set so far.
    limits_set: Vec<&'static str>,
    /// See [`Flags::ignore_unsupported`].
    ignores_unsupported: bool,
}

/// PEM files for HTTPS: both or none, see [`Tls::files`].
#[derive(Debug, Default)]
pub struct Tls {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    /// Authorities of clients' certificates.
    cacert: Option<PathBuf>,
}

/// Where log lines go.
#[derive(Debug)]
pub struct Log {
    pub level: LevelFilter,
    /// A file that is appended to; standard output if there is none.
    pub output: Option<PathBuf>,
    /// A file for who changed what; none if there is none.
    pub audit: Option<PathBuf>,
    /// A file for requests, one line each; with the other lines if there is none.
    pub access: Option<PathBuf>,
}

/// What the command line says; each value wins over the file's.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    pub root: Option<PathBuf>,
    pub address: Option<Address>,
    /// Keys of zot for features that are not there become notes, as long as that allows nobody more than the file
    /// says. Unknown keys stay errors.
    pub ignore_unsupported: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: PathBuf::from("orlop-data"),
            engine: memory::engine_options(),
            address: Address { host: "127.0.0.1".to_owned(), port: 8080 },
            tls: Tls::default(),
            limits: memory::limits(),
            policy: Policy { memory_bytes_max: Some(memory::request_bytes_max()), ..Policy::default() },
            front: Front::default(),
            collection: Collection::default(),
            retention: Retention::default(),
            scrub: Scrub::default(),
            #[cfg(feature = "auth")]
            access: access::Access::default(),
            log: Log { level: LevelFilter::INFO, output: None, audit: None, access: None },
            #[cfg(feature = "telemetry")]
            traces: None,
            allow_origin: None,
            notes: Vec::new(),
            document: value::Value::Object(Vec::new()),
            limits_set: Vec::new(),
            ignores_unsupported: false,
        }
    }
}

impl Config {
    /// The configuration from a file, if there is one, and the flags.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, Error> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let at_file = |kind| Error { file: Some(path.to_owned()), kind };
                read(path).and_then(|text| Self::parse(path, &text, flags.ignore_unsupported)).map_err(at_file)?
            }
        };
        config.root = flags.root.unwrap_or(config.root);
        config.engine.lease_epochs = config.collection.clock().lease_epochs();
        config.address = flags.address.unwrap_or(config.address);
        Ok(config)
    }

    /// What the text of a file of this name says over the defaults; see [`Flags::ignore_unsupported`].
    pub fn parse(name: &Path, text: &[u8], ignore_unsupported: bool) -> Result<Self, ErrorKind> {
        let document = document::read(name, text)?;
        let mut config = Self { ignores_unsupported: ignore_unsupported, ..Self::default() };
        parse::apply_document(&mut config, &document)?;
        config.document = document;
        Ok(config)
    }

    /// Tells one part what the keys of another one say.
    fn settle(&mut self) {
        #[cfg(feature = "auth")]
        self.access.below(&self.front.base_path);
        #[cfg(feature = "telemetry")]
        if let Some(traces) = &mut self.traces {
            traces.base_path = self.front.base_path.as_str().to_owned();
        }
    }

    /// Notes what no single key can tell.
    fn note(&mut self) {
        if !self.collection.is_on && !self.retention.policies.is_empty() {
            let note = "storage.retention is a part of collection; with storage.gc off it waits to be asked for";
            self.notes.push(note.to_owned());
        }
        if self.front.proxies.header != ForwardedBy::default() && self.front.proxies.trusted.is_empty() {
            self.notes.push("http.forwardedHeader is not read: http.trustedProxies names nobody".to_owned());
        }
        #[cfg(feature = "auth")]
        self.notes.extend(self.access.notes());
    }

    /// Checks what no single key can tell.
    fn validate(&self) -> Result<(), String> {
        #[cfg(feature = "auth")]
        if self.access.options.certificates.is_some() && self.tls.cacert.is_none() {
            return Err(format!("\"{}\" needs \"http.tls.cacert\" beside it", mtls::KEY));
        }
        if self.tls.cacert.is_some() && self.tls.cert.is_none() {
            return Err("\"http.tls.cacert\" needs \"http.tls.cert\" and \"http.tls.key\" beside it".to_owned());
        }
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), None) => Err("\"http.tls.cert\" needs \"http.tls.key\" beside it".to_owned()),
            (None, Some(_)) => Err("\"http.tls.key\" needs \"http.tls.cert\" beside it".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Tls {
    /// Authorities that clients' certificates have to lead to, if clients are asked for some.
    pub fn client_authorities(&self) -> Option<&Path> {
        self.cacert.as_deref()
    }

    /// Certificate chain and private key, if HTTPS was asked for.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.cert.as_deref()?, self.key.as_deref()?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ErrorKind> {
    let file = File::open(path).map_err(ErrorKind::Unreadable)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(ErrorKind::Unreadable)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(ErrorKind::TooLarge { bytes_max: FILE_BYTES_MAX }),
        false => Ok(text),
    }
}
