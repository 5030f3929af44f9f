//! Every key of a configuration file: what it takes and what it sets.
//!
//! Names are zot's where zot has the key, so that a plain registry's file can be taken over.
//! Keys of zot for features that are not there are listed too: they are refused by name.
//! Sections are not listed; each part before a dot is one.

use std::path::PathBuf;

use orlop_api::{Cors, Operators, limits::Limit};
use tracing::level_filters::LevelFilter;

#[cfg(feature = "bearer")]
use super::bearer;
#[cfg(feature = "ldap")]
use super::ldap;
#[cfg(feature = "telemetry")]
use super::traces;
use super::{
    Config, address, collection,
    duration::{self, GoDuration},
    error::ErrorKind,
    front, limits, nearest, quotas, retention, scrub,
    value::{Problem, Value},
};
#[cfg(feature = "auth")]
use super::{access, browser, mtls};

/// A key that takes effect.
pub struct Key {
    /// From the top of the file, in its documented spelling; compared without case.
    pub path: &'static str,
    /// Checks the value and puts it into the configuration.
    pub set: fn(&mut Config, &Value) -> Result<(), Problem>,
}

/// A key whose value is a document of its own.
pub struct Tree {
    /// As [`Key::path`].
    pub path: &'static str,
    /// Checks the value, which was found at the path given, and puts it into the configuration.
    pub set: fn(&mut Config, &str, &Value) -> Result<(), ErrorKind>,
}

/// What a path in a file stands for.
pub enum Found {
    Section,
    Key(&'static Key),
    Tree(&'static Tree),
    /// A limit of the section [`limits::SECTION`].
    Limit(&'static Limit),
    /// A key of zot, with the feature it belongs to.
    Unsupported(&'static str),
}

/// The version of the OCI distribution specification that is implemented.
const DISTRIBUTION_VERSION: &str = "1.1.1";

/// The most that `orlop_engine::Options::inline_bytes_max` allows.
const INLINE_BYTES_LIMIT: usize = 1 << 20;

/// The one value zot knows for `http.compat`.
const COMPAT_DOCKER: &str = "docker2s2";

pub const KEYS: &[Key] = &[
    Key { path: "distSpecVersion", set: dist_spec_version },
    Key { path: "storage.rootDirectory", set: |config, value| path(value).map(|path| config.root = path) },
    Key { path: "storage.dedupe", set: |_, value| always_on(value, "every blob is stored once") },
    Key { path: "storage.commit", set: |_, value| always_on(value, "nothing is acknowledged before it is on disk") },
    Key { path: "storage.io", set: storage_io },
    Key { path: "storage.inlineBytesMax", set: inline_bytes_max },
    Key { path: "storage.blobBytesMax", set: blob_bytes_max },
    Key {
        path: "storage.reserveBytes",
        set: |config, value| bytes(value).map(|bytes| config.engine.reserve_bytes = Some(bytes as u64)),
    },
    Key {
        path: "storage.cacheBytes",
        set: |config, value| bytes(value).map(|bytes| config.engine.cache_bytes = bytes),
    },
    Key {
        path: "storage.hotBytes",
        set: |config, value| bytes(value).map(|bytes| config.engine.hot_bytes_max = bytes),
    },
    Key {
        path: "storage.uploadMemoryBytes",
        set: |config, value| bytes(value).map(|bytes| config.engine.upload_memory_bytes_max = bytes),
    },
    Key {
        path: "storage.readerMemoryBytes",
        set: |config, value| bytes(value).map(|bytes| config.engine.reader_memory_bytes_max = bytes),
    },
    Key {
        path: "storage.sparseManifests",
        set: |config, value| value.bool().map(|sparse| config.policy.sparse_manifests = sparse),
    },
    Key { path: "storage.gc", set: |config, value| value.bool().map(|is_on| config.collection.is_on = is_on) },
    Key { path: "storage.gcDelay", set: collection::set_delay },
    Key { path: "storage.gcInterval", set: collection::set_interval },
    Key { path: "storage.gcTimeWindow", set: collection::set_window },
    Key { path: "storage.gcLease", set: collection::set_lease },
    Key { path: "storage.maxRepos", set: max_repos },
    Key { path: "http.address", set: http_address },
    Key { path: "http.port", set: http_port },
    Key { path: "http.realm", set: http_realm },
    #[cfg(feature = "auth")]
    Key { path: "http.externalUrl", set: access::set_external_url },
    #[cfg(feature = "auth")]
    Key { path: access::HTPASSWD, set: |config, value| path(value).map(|path| access::set_htpasswd(config, &path)) },
    #[cfg(feature = "auth")]
    Key { path: "http.auth.failDelay", set: access::set_fail_delay },
    #[cfg(feature = "auth")]
    Key { path: access::API_KEYS, set: |config, value| value.bool().map(|is_on| config.access.api_keys = is_on) },
    #[cfg(feature = "auth")]
    Key { path: "extensions.apikey.enable", set: extensions_apikey },
    #[cfg(feature = "auth")]
    Key { path: "http.auth.failuresMax", set: access::set_failures_max },
    #[cfg(feature = "auth")]
    Key { path: browser::SESSION_KEYS, set: |config, value| path(value).map(|path| browser::set_keys(config, path)) },
    #[cfg(feature = "auth")]
    Key {
        path: "http.auth.secureSession",
        set: |config, value| value.bool().map(|is_on| config.access.options.secure_sessions = is_on),
    },
    Key { path: "http.allowOrigin", set: allow_origin },
    Key { path: "http.readTimeout", set: |config, value| limits::set_read_timeout(config, timeout(value)?) },
    Key { path: "http.writeTimeout", set: |config, value| limits::set_write_timeout(config, timeout(value)?) },
    Key { path: "http.compat", set: http_compat },
    Key { path: "http.operators", set: http_operators },
    Key { path: "http.tls.cert", set: |config, value| path(value).map(|path| config.tls.cert = Some(path)) },
    Key { path: "http.tls.key", set: |config, value| path(value).map(|path| config.tls.key = Some(path)) },
    Key {
        path: "http.sharedUploads",
        set: |config, value| value.bool().map(|shared| config.policy.shared_uploads = shared),
    },
    Key { path: "http.trustedProxies", set: front::set_trusted_proxies },
    Key { path: "http.forwardedHeader", set: front::set_forwarded_header },
    Key { path: "http.basePath", set: front::set_base_path },
    #[cfg(feature = "auth")]
    Key { path: "http.tls.cacert", set: |config, value| path(value).map(|path| mtls::set_authorities(config, path)) },
    Key { path: "log.level", set: log_level },
    Key { path: "log.output", set: |config, value| file(value).map(|file| config.log.output = file) },
    Key { path: "log.audit", set: |config, value| file(value).map(|file| config.log.audit = file) },
    Key { path: "log.access", set: |config, value| file(value).map(|file| config.log.access = file) },
    Key { path: "extensions.mgmt.enable", set: management },
    Key { path: "extensions.metrics.enable", set: |_, value| always_on(value, "metrics are always counted") },
    Key { path: "extensions.metrics.prometheus.path", set: metrics_path },
];

pub const TREES: &[Tree] = &[
    Tree { path: retention::KEY, set: retention::set },
    Tree { path: quotas::KEY, set: quotas::set },
    Tree { path: scrub::KEY, set: scrub::set },
    #[cfg(feature = "ldap")]
    Tree { path: ldap::KEY, set: ldap::set },
    Tree { path: front::RATES, set: front::set_rates },
    #[cfg(feature = "auth")]
    Tree { path: mtls::KEY, set: mtls::set },
    #[cfg(feature = "auth")]
    Tree { path: access::KEY, set: access::set },
    #[cfg(feature = "auth")]
    Tree { path: browser::OPENID, set: browser::set },
    #[cfg(feature = "auth")]
    Tree { path: browser::SESSION_DRIVER, set: browser::set_driver },
    #[cfg(feature = "bearer")]
    Tree { path: bearer::KEY, set: bearer::set },
    #[cfg(feature = "telemetry")]
    Tree { path: traces::KEY, set: traces::set },
];

/// Keys of zot that cannot be honoured, and those of parts that this build does not have, each with the feature it
/// belongs to.
pub const UNSUPPORTED: &[(&str, &str)] = &[
    ("storage.subPaths", "several roots"),
    ("storage.remoteCache", "remote storage"),
    ("storage.storageDriver", "remote storage"),
    ("storage.cacheDriver", "remote storage"),
    ("storage.redirectBlobURL", "remote storage"),
    ("storage.fastRestart", "zot's metadata database"),
    #[cfg(not(feature = "auth"))]
    ("http.externalUrl", "a build without authentication"),
    #[cfg(not(feature = "auth"))]
    ("http.tls.cacert", "a build without authentication"),
    #[cfg(not(feature = "auth"))]
    ("http.auth", "a build without authentication"),
    #[cfg(not(feature = "auth"))]
    ("http.accessControl", "a build without access control"),
    #[cfg(not(feature = "telemetry"))]
    ("log.traces", "a build without traces"),
    #[cfg(all(feature = "auth", not(feature = "ldap")))]
    ("http.auth.ldap", "a build without LDAP"),
    #[cfg(all(feature = "auth", not(feature = "bearer")))]
    ("http.auth.bearer", "a build without tokens of other issuers"),
    #[cfg(feature = "auth")]
    ("scheduler", "background tasks"),
    ("cluster", "clusters"),
    ("extensions.search", "search"),
    ("extensions.sync", "mirroring"),
    ("extensions.lint", "lint"),
    ("extensions.ui", "the web interface"),
    #[cfg(not(feature = "auth"))]
    ("extensions.apikey", "a build without authentication"),
    ("extensions.userprefs", "user preferences"),
    ("extensions.imagetrust", "signature verification"),
    ("extensions.trust", "signature verification"),
    ("extensions.events", "events"),
];

/// Keys of zot below which everything keeps somebody out or says who somebody is: without it more would be allowed
/// than the file says. They are never ignored.
const PROTECTIVE: &[&str] = &[
    "http.accessControl",
    "http.auth.bearer",
    "http.auth.htpasswd",
    "http.auth.ldap",
    "http.auth.mtls",
    "http.auth.openid",
    "http.tls",
];

/// Whether a key must not be ignored. A section that could hold such a key must not either.
pub fn is_protective(path: &str) -> bool {
    let is_in = |key: &&str| path.eq_ignore_ascii_case(key) || below(path, key).is_some() || below(key, path).is_some();
    PROTECTIVE.iter().any(is_in)
}

/// What `path` stands for, if it is known.
pub fn find(path: &str) -> Option<Found> {
    if let Some(key) = KEYS.iter().find(|key| key.path.eq_ignore_ascii_case(path)) {
        return Some(Found::Key(key));
    }
    if let Some(tree) = TREES.iter().find(|tree| tree.path.eq_ignore_ascii_case(path)) {
        return Some(Found::Tree(tree));
    }
    if let Some((_, feature)) = UNSUPPORTED.iter().find(|(key, _)| key.eq_ignore_ascii_case(path)) {
        return Some(Found::Unsupported(feature));
    }
    if let Some(limit) = below(path, limits::SECTION).and_then(limits::find) {
        return Some(Found::Limit(limit));
    }
    let mut paths = KEYS.iter().map(|key| key.path).chain(TREES.iter().map(|tree| tree.path));
    let is_section = path.eq_ignore_ascii_case(limits::SECTION) || paths.any(|known| below(known, path).is_some());
    is_section.then_some(Found::Section)
}

/// The known key that `path` was probably meant to be.
pub fn nearest(path: &str) -> String {
    let sections =
        ["storage", "http", "http.tls", "http.auth", limits::SECTION, "log", "extensions"].map(str::to_owned);
    let trees = TREES.iter().map(|tree| tree.path);
    let keys = KEYS.iter().map(|key| key.path).chain(trees).map(str::to_owned);
    nearest::nearest(path, sections.into_iter().chain(keys).chain(limits::paths())).expect("the list is not empty")
}

/// The part of `path` below `section`.
fn below<'path>(path: &'path str, section: &str) -> Option<&'path str> {
    let (head, rest) = path.split_at_checked(section.len())?;
    if head.eq_ignore_ascii_case(section) { rest.strip_prefix('.') } else { None }
}

/// zot overwrites another version with a warning; so do we.
fn dist_spec_version(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let version = value.text("a string such as \"1.1.1\"")?;
    if version != DISTRIBUTION_VERSION {
        config.notes.push(format!("distSpecVersion is {version:?}; this version implements {DISTRIBUTION_VERSION}"));
    }
    Ok(())
}

/// A switch of zot that cannot be turned off here.
fn always_on(value: &Value, reason: &str) -> Result<(), Problem> {
    match value.bool()? {
        true => Ok(()),
        false => Err(Problem::Unsupported(format!("it cannot be false, {reason}"))),
    }
}

fn storage_io(config: &mut Config, value: &Value) -> Result<(), Problem> {
    use orlop_engine::io::Backend;
    const EXPECTED: &str = "\"auto\", \"ring\" or \"threads\"";
    let name = value.text(EXPECTED)?;
    config.engine.backend = match name.to_ascii_lowercase().as_str() {
        "auto" => Backend::Auto,
        "ring" => Backend::Ring,
        "threads" => Backend::Threads,
        _ => return Err(unusable(name, EXPECTED)),
    };
    Ok(())
}

/// Inline content passes through the index's write-ahead log.
fn inline_bytes_max(config: &mut Config, value: &Value) -> Result<(), Problem> {
    match bytes(value)? {
        bytes if bytes <= INLINE_BYTES_LIMIT => config.engine.inline_bytes_max = bytes,
        bytes => return Err(Problem::Unusable(format!("{bytes} is out of range, expected 0 to {INLINE_BYTES_LIMIT}"))),
    }
    Ok(())
}

fn blob_bytes_max(config: &mut Config, value: &Value) -> Result<(), Problem> {
    match value.whole("a whole number of bytes")? {
        0 => Err(Problem::Unusable("0 would refuse every blob, expected 1 or more".to_owned())),
        bytes => {
            config.engine.blob_bytes_max = bytes;
            Ok(())
        }
    }
}

/// Zero is no limit, as in zot.
fn max_repos(config: &mut Config, value: &Value) -> Result<(), Problem> {
    config.engine.namespaces_max = Some(value.whole("a whole number")?).filter(|max| *max > 0);
    Ok(())
}

fn http_address(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let host = value.text("a host name or IP address as a string")?;
    config.address.host = address::parse_host(host).map_err(Problem::Unusable)?;
    Ok(())
}

/// A string in zot, where "" lets the kernel choose as "0" does. A number is clear as well.
fn http_port(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let port = match value {
        Value::Text(text) if text.is_empty() => 0,
        Value::Text(text) => address::parse_port(text).map_err(Problem::Unusable)?,
        Value::Whole(number) => address::parse_port(&number.to_string()).map_err(Problem::Unusable)?,
        other => return Err(other.is_not("a port as a string or number")),
    };
    config.address.port = port;
    Ok(())
}

/// Only a request for credentials shows the realm.
#[cfg(feature = "auth")]
fn http_realm(config: &mut Config, value: &Value) -> Result<(), Problem> {
    config.access.options.realm = Some(value.text("a string")?.to_owned());
    Ok(())
}

#[cfg(not(feature = "auth"))]
fn http_realm(config: &mut Config, value: &Value) -> Result<(), Problem> {
    value.text("a string")?;
    config.notes.push("http.realm is never shown: this build asks nobody for credentials".to_owned());
    Ok(())
}

/// As in zot, where it moved away from.
#[cfg(feature = "auth")]
fn extensions_apikey(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let is_on = value.bool()?;
    let note = format!("extensions.apikey.enable is {is_on} and has no effect; the key is {}", access::API_KEYS);
    config.notes.push(note);
    Ok(())
}

/// Pages of which origins may read answers; empty is none.
fn allow_origin(config: &mut Config, value: &Value) -> Result<(), Problem> {
    let text = value.text("origins as a string, with commas in between, or \"*\"")?;
    Cors::new(text, false).map_err(|error| Problem::Unusable(error.to_string()))?;
    config.allow_origin = Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(())
}

/// zot has no such switch any more, and its files still do.
fn management(config: &mut Config, value: &Value) -> Result<(), Problem> {
    if !value.bool()? {
        config.notes.push("extensions.mgmt is always on: it tells how to log in, and nothing secret".to_owned());
    }
    Ok(())
}

/// zot can be told another path; here there is one.
fn metrics_path(_: &mut Config, value: &Value) -> Result<(), Problem> {
    const PATH: &str = "/metrics";
    match value.text("a path as a string")? {
        PATH => Ok(()),
        other => Err(Problem::Unsupported(format!("metrics are at {PATH:?}, not at {other:?}"))),
    }
}

/// From where operators may begin a collection over HTTP.
fn http_operators(config: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "\"loopback\", \"anywhere\" or \"nowhere\"";
    let name = value.text(EXPECTED)?;
    config.policy.operators = match name.to_ascii_lowercase().as_str() {
        "loopback" => Operators::Loopback,
        "anywhere" => Operators::Anywhere,
        "nowhere" => Operators::Nowhere,
        _ => return Err(unusable(name, EXPECTED)),
    };
    Ok(())
}

/// Docker's media types are always accepted; the list may say so.
fn http_compat(_: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "a list that may contain \"docker2s2\"";
    for entry in value.list(EXPECTED)? {
        let name = entry.text(EXPECTED)?;
        if name != COMPAT_DOCKER {
            return Err(unusable(name, EXPECTED));
        }
    }
    Ok(())
}

/// zot's names. Nothing is logged above `error` here, so its two higher levels mean that one.
fn log_level(config: &mut Config, value: &Value) -> Result<(), Problem> {
    const EXPECTED: &str = "\"trace\", \"debug\", \"info\", \"warn\", \"error\", \"fatal\" or \"panic\"";
    let name = value.text(EXPECTED)?;
    config.log.level = match name.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        _ => return Err(unusable(name, EXPECTED)),
    };
    Ok(())
}

/// A path; empty is none, as in zot.
fn file(value: &Value) -> Result<Option<PathBuf>, Problem> {
    match value.text("a path as a string")? {
        "" => Ok(None),
        _ => path(value).map(Some),
    }
}

fn path(value: &Value) -> Result<PathBuf, Problem> {
    match value.text("a path as a string")? {
        "" => Err(Problem::Unusable("the path is empty".to_owned())),
        path if path.contains('\0') => Err(Problem::Unusable("the path has a NUL character".to_owned())),
        path => Ok(PathBuf::from(path)),
    }
}

fn bytes(value: &Value) -> Result<usize, Problem> {
    let bytes = value.whole("a whole number of bytes")?;
    usize::try_from(bytes)
        .map_err(|_| Problem::Unusable(format!("{bytes} bytes are more than this machine can address")))
}

/// `None`: no limit, which zot writes as zero or less.
fn timeout(value: &Value) -> Result<Option<std::time::Duration>, Problem> {
    let text = value.text(duration::EXPECTED)?;
    match GoDuration::parse(text) {
        Ok(duration) => Ok(duration.positive()),
        Err(reason) => Err(Problem::Unusable(format!("{reason}; expected {}", duration::EXPECTED))),
    }
}

fn unusable(found: &str, expected: &str) -> Problem {
    Problem::Unusable(format!("{found:?} is not known, expected {expected}"))
}
