//! What is said of every key: what it takes, what it is for, and when a change of it takes effect.
//!
//! In: nothing. Out: rows for the schema and for the reloading of a file. A key of [`keys::KEYS`] or [`keys::TREES`]
//! without a row here does not compile.

use super::{
    keys::{self, Found},
    schema::trees,
};

/// A value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Text,
    Path,
    Flag,
    /// zot's switch for what is always on.
    True,
    Whole,
    Bytes,
    /// Go's grammar.
    Duration,
    /// A string or a number.
    Port,
    OneOf(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A list of any of these.
    Some(&'static [&'static str]),
}

/// When a change of a key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// As soon as the file was read again.
    Live,
    /// With the next start.
    Restart,
}

/// A key that takes one value.
pub struct Row {
    pub path: &'static str,
    pub takes: Takes,
    pub effect: Effect,
    pub about: &'static str,
}

/// A key that takes a document of its own.
pub struct TreeRow {
    pub path: &'static str,
    pub schema: fn() -> serde_json::Value,
    pub effect: Effect,
    pub about: &'static str,
}

const fn row(path: &'static str, takes: Takes, effect: Effect, about: &'static str) -> Row {
    Row { path, takes, effect, about }
}

use Effect::{Live, Restart};
use Takes::{Bytes, Duration, Flag, OneOf, Path, Port, Text, Texts, True, Whole};

const LEVELS: Takes = OneOf(&["trace", "debug", "info", "warn", "error", "fatal", "panic"]);
const BACKENDS: Takes = OneOf(&["auto", "ring", "threads"]);
const OPERATORS: Takes = OneOf(&["loopback", "anywhere", "nowhere"]);
const HEADERS: Takes = OneOf(&["X-Forwarded-For", "Forwarded"]);
const COMPAT: Takes = Takes::Some(&["docker2s2"]);

pub const ROWS: &[Row] = &[
    row("distSpecVersion", Text, Live, "The version of the distribution specification; another one is noted."),
    row("storage.rootDirectory", Path, Restart, "Directory of the store; made if it is not there."),
    row("storage.dedupe", True, Live, "Every blob is stored once."),
    row("storage.commit", True, Live, "Nothing is acknowledged before it is on disk."),
    row("storage.io", BACKENDS, Restart, "How the disk is read and written."),
    row("storage.inlineBytesMax", Bytes, Live, "Content up to this size is kept in the index; at most 1 MiB."),
    row("storage.blobBytesMax", Bytes, Live, "The largest blob."),
    row("storage.reserveBytes", Bytes, Restart, "What pushes leave free on the disk."),
    row("storage.cacheBytes", Bytes, Restart, "Memory for the blocks of the index."),
    row("storage.hotBytes", Bytes, Restart, "Memory for what is pulled again and again; 0 for none."),
    row("storage.uploadMemoryBytes", Bytes, Restart, "Memory for bytes on their way to the disk."),
    row("storage.readerMemoryBytes", Bytes, Restart, "Memory for what readers hold before each gets less at a time."),
    row("storage.sparseManifests", Flag, Live, "Accept manifests that name content the repository does not have."),
    row("storage.gc", Flag, Live, "Whether collections begin by themselves."),
    row("storage.gcDelay", Duration, Live, "How long content stays after it lost what kept it."),
    row("storage.gcInterval", Duration, Live, "From the end of a collection to the next; \"0\": one after the start."),
    row("storage.gcTimeWindow", Text, Live, "The part of the day, in UTC, for collections, such as \"01:00-08:00\"."),
    row("storage.gcLease", Duration, Live, "How long whoever was told that content is there can rely on it."),
    row("storage.maxRepos", Whole, Live, "The most repositories; 0 for no limit."),
    row("http.address", Text, Restart, "Host name or IP address to listen on."),
    row("http.port", Port, Restart, "Port to listen on; 0 takes a free one."),
    row("http.realm", Text, Live, "What people are shown when they are asked for a password."),
    row("http.externalUrl", Text, Live, "Where clients reach the registry, if it is not where it listens."),
    row("http.auth.htpasswd.path", Path, Live, "File of users with the hashes of their passwords."),
    row("http.auth.failDelay", Whole, Live, "Seconds that whoever brings wrong credentials waits, 0 to 60."),
    row("http.auth.failuresMax", Whole, Live, "Failed logins of an address before it has to wait; 0 for no limit."),
    row("http.auth.apikey", Flag, Live, "Whether users may make keys for their programs."),
    row(
        "http.auth.sessionKeysFile",
        Path,
        Live,
        "File with the keys of sessions; without it they end with the process.",
    ),
    row("http.auth.secureSession", Flag, Live, "Cookies are for TLS only, also where a proxy ends it."),
    row("http.allowOrigin", Text, Live, "Pages of which origins may read answers."),
    row("http.sharedUploads", Flag, Live, "Uploads belong to their repository, and not to whoever began them."),
    row("http.trustedProxies", Texts, Live, "Addresses and networks of proxies that are believed."),
    row("http.forwardedHeader", HEADERS, Live, "The field in which proxies say who the client is."),
    row("http.basePath", Text, Live, "The path that all routes are below, such as \"/registry\"."),
    row("http.readTimeout", Duration, Live, "Time a client may take to send more of a request."),
    row("http.writeTimeout", Duration, Live, "Time a client may take to accept more of an answer."),
    row("http.compat", COMPAT, Live, "Docker's media types, which are always accepted."),
    row("http.operators", OPERATORS, Live, "From where operators may ask, without access control."),
    row("http.tls.cert", Path, Live, "Certificate and intermediate certificates, PEM; with it HTTPS is served."),
    row("http.tls.key", Path, Live, "Private key of the certificate, PEM."),
    row("http.tls.cacert", Path, Live, "Authorities of the certificates that clients may show, PEM."),
    row("log.level", LEVELS, Live, "The least severe lines that are written."),
    row("log.output", Path, Live, "File that log lines are appended to; standard output without it."),
    row("log.audit", Path, Live, "File for who changed what; none without it."),
    row("log.access", Path, Live, "File for requests; without it they are in the log."),
    row("extensions.mgmt.enable", Flag, Live, "The ways to log in are always told."),
    row("extensions.apikey.enable", Flag, Live, "Has no effect; the key is http.auth.apikey."),
    row("extensions.metrics.enable", True, Live, "Metrics are always counted."),
    row("extensions.metrics.prometheus.path", OneOf(&["/metrics"]), Live, "Where metrics are."),
];

pub const TREE_ROWS: &[TreeRow] = &[
    TreeRow {
        path: "storage.retention",
        schema: trees::retention,
        effect: Live,
        about: "Which tags and untagged manifests stay.",
    },
    TreeRow {
        path: "storage.quotas",
        schema: trees::quotas,
        effect: Live,
        about: "How many bytes repositories may have.",
    },
    TreeRow {
        path: "extensions.scrub",
        schema: trees::scrub,
        effect: Live,
        about: "When and how fast everything stored is read and compared.",
    },
    TreeRow {
        path: "http.accessControl",
        schema: trees::access_control,
        effect: Live,
        about: "Who may do what in which repositories.",
    },
    TreeRow { path: "http.auth.ldap", schema: trees::ldap, effect: Live, about: "A directory that knows users." },
    TreeRow { path: "http.auth.bearer", schema: trees::bearer, effect: Live, about: "Tokens of other issuers." },
    TreeRow {
        path: "http.auth.openid",
        schema: trees::openid,
        effect: Live,
        about: "Providers where browsers log in.",
    },
    TreeRow {
        path: "http.auth.sessionDriver",
        schema: trees::session_driver,
        effect: Live,
        about: "Where sessions are kept.",
    },
    TreeRow {
        path: "http.auth.mtls",
        schema: trees::mtls,
        effect: Live,
        about: "What of a certificate is the name of its user.",
    },
    TreeRow {
        path: "log.traces",
        schema: trees::traces,
        effect: Restart,
        about: "Which requests are written down as spans of traces, and the collector that gets them.",
    },
    TreeRow {
        path: "http.ratelimit",
        schema: trees::rate_limit,
        effect: Live,
        about: "How many requests of a client are answered in a second.",
    },
];

/// Limits that a running server cannot change.
const FIXED_LIMITS: [&str; 1] = ["accept_queue_max"];

/// What is said of the key at this path, in its documented spelling.
pub fn row_of(path: &str) -> &'static Row {
    ROWS.iter().find(|row| row.path == path).expect("compared below, when this was compiled")
}

/// The same of a key with a document of its own.
pub fn tree_row_of(path: &str) -> &'static TreeRow {
    TREE_ROWS.iter().find(|row| row.path == path).expect("compared below, when this was compiled")
}

/// When a change of what was found takes effect; nothing for sections and what is not supported.
pub fn effect_of(found: &Found) -> Option<Effect> {
    match found {
        Found::Key(key) => Some(row_of(key.path).effect),
        Found::Tree(tree) => Some(tree_row_of(tree.path).effect),
        Found::Limit(limit) if FIXED_LIMITS.contains(&limit.name) => Some(Restart),
        Found::Limit(_) => Some(Live),
        Found::Section | Found::Unsupported(_) => None,
    }
}

const fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

const _: () = {
    let mut at = 0;
    while at < keys::KEYS.len() {
        let mut row = 0;
        while row < ROWS.len() && !is_same(ROWS[row].path, keys::KEYS[at].path) {
            row += 1;
        }
        assert!(row < ROWS.len(), "a key of KEYS has no row in ROWS, which say what it takes and when it takes effect");
        at += 1;
    }
    let mut at = 0;
    while at < keys::TREES.len() {
        let mut row = 0;
        while row < TREE_ROWS.len() && !is_same(TREE_ROWS[row].path, keys::TREES[at].path) {
            row += 1;
        }
        assert!(row < TREE_ROWS.len(), "a key of TREES has no row in TREE_ROWS, which say what it takes");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(feature = "auth", feature = "telemetry"))]
    fn every_row_is_of_a_key() {
        let rows =
            ROWS.iter().map(|row| (row.path, row.about)).chain(TREE_ROWS.iter().map(|row| (row.path, row.about)));
        let mut seen = Vec::new();
        for (path, about) in rows {
            assert!(matches!(keys::find(path), Some(Found::Key(_) | Found::Tree(_))), "{path} is no key");
            assert!(!seen.contains(&path), "{path} is described twice");
            assert!(about.ends_with('.'), "{about:?} is no sentence");
            seen.push(path);
        }
    }

    #[test]
    fn the_limits_that_stay_are_limits() {
        for name in FIXED_LIMITS {
            let path = format!("{}.{name}", super::super::limits::SECTION);
            let found = keys::find(&path).expect("a limit");
            assert_eq!(effect_of(&found), Some(Restart), "{name}");
        }
    }
}
